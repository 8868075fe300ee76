"""Devices in bulk against a real broker that goes away, beside a client of another kind, and through a bad relay."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import msgspec
import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from firmware_sim.bulk import Bulk, BulkConfig, BulkError, BulkResult, Do, Group, TargetOf
from firmware_sim.child import python_module
from firmware_sim.devices.stamp import Stamp, seal, unseal
from oriole.wire.mqtt import Splitter
from oriole.wire.mqtt.fields import encode_variable_byte_integer

Address = tuple[str, int]
READY_S = 30.0
DRAIN_S = 4.0
PUBLISH = 0x30
RETAIN = 0x01


class Broker:
    """A real one, which can be killed and come back in its place."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            self.address: Address = server.getsockname()
        self.start()

    def start(self) -> None:
        listen = f"mqtt://{self.address[0]}:{self.address[1]}"
        self.process = subprocess.Popen(
            [*python_module("oriole", "broker", "--listen", listen)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert self.process.stdout is not None
        assert b"ready" in self.process.stdout.readline()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    if broker.process.poll() is None:
        broker.kill()


def house(address: Address, count: int, **changes: Any) -> list[Group]:
    """Meters and lamps that report each second, a remote that orders both, a desk that hears every reading."""
    common: dict[str, Any] = {"place": "f/home", "addresses": [address], "every_ns": 1_000_000_000, **changes}
    meters = Group(name="meter", kind="meter", count=count // 2, **common)
    lamps = Group(name="lamp", kind="lamp", count=count - count // 2, **common)
    targets = [TargetOf(f"f/home/{each}", group.kind) for group in (meters, lamps) for each in group.device_names()]
    office: dict[str, Any] = {**common, "place": "f/office", "count": 1, "every_ns": 20_000_000}
    remote = Group(name="phone", kind="remote", targets=targets, hears=["f/home/+/state"], **office)
    desk = Group(name="desk", kind="herald", announces="f/news", hears=["f/home/+/reading"], **office)
    return [meters, lamps, remote, desk]


def config(groups: list[Group], **changes: Any) -> BulkConfig:
    return BulkConfig(run="test", seed=3, groups=groups, **changes)


@contextlib.asynccontextmanager
async def running(of: BulkConfig) -> AsyncIterator[Bulk]:
    bulk = Bulk()
    await bulk.start(of)
    try:
        await bulk.wait_until_ready(READY_S)
        yield bulk
    finally:
        await bulk.abandon()


async def until(condition: Callable[[], bool], timeout_s: float = READY_S) -> None:
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - what another process says
            await asyncio.sleep(0.05)


async def sent_at_least(bulk: Bulk, count: int) -> None:
    await until(lambda: bulk.progress is not None and bulk.progress.sent >= count)


async def finished(bulk: Bulk) -> BulkResult:
    """Quiet, until nothing is under way, or for long enough."""
    await bulk.quiet()
    await bulk.drain(DRAIN_S)
    return await bulk.close()


def test_every_message_is_accounted_for(broker: Broker) -> None:
    async def scenario() -> BulkResult:
        async with running(config(house(broker.address, 200), sources=["127.0.0.1", "127.0.0.2"])) as bulk:
            await bulk.begin()
            await sent_at_least(bulk, 1200)
            return await finished(bulk)

    result = asyncio.run(scenario())
    assert result.adds_up
    assert result.is_clean, list(result.faults())
    assert not result.missing
    assert result.devices == 202
    assert result.due > 400
    assert result.orders == result.orders_confirmed > 50
    assert result.sent == result.accepted
    assert not result.losses
    assert result.lag.summary().count > 400
    assert set(result.latency()) >= {"meter → desk, reading", "phone → lamp, order", "lamp → phone, state"}
    assert "bulk" in result.client


@pytest.mark.parametrize("mqtt_version", [4, 5])
def test_a_broker_that_was_killed_finds_everybody_again(broker: Broker, mqtt_version: int) -> None:
    async def scenario() -> BulkResult:
        async with running(config(house(broker.address, 200, mqtt_version=mqtt_version))) as bulk:
            await bulk.begin()
            await sent_at_least(bulk, 1000)
            broker.kill()
            await until(lambda: bulk.progress is not None and not bulk.progress.connected)
            assert bulk.progress is not None
            assert "Connection refused" in bulk.progress.trouble
            broker.start()
            await bulk.wait_until_ready(READY_S)
            await sent_at_least(bulk, bulk.progress.sent + 400)
            return await finished(bulk)

    result = asyncio.run(scenario())
    assert result.adds_up
    assert result.notes["connected"] == 2 * result.devices
    assert {name for _, name, _ in result.losses} == {row.publisher for row in result.publishers}
    assert result.missed()["forgotten"] > 0
    # Accepted by a broker that keeps nothing, and killed before it delivered: a handful at most.
    assert result.missed()["lost"] + result.missed()["replaced"] < 20, list(result.faults())
    assert result.sent == result.accepted


def test_a_storm_of_devices_that_all_come_back_at_once_loses_nothing(broker: Broker) -> None:
    async def scenario() -> BulkResult:
        async with running(config(house(broker.address, 200))) as bulk:
            await bulk.begin()
            await sent_at_least(bulk, 1000)
            await bulk.do(Do(verb="roam"))
            await sent_at_least(bulk, 1200)
            await bulk.do(Do(verb="fail", to=["meter-1", "lamp-1"], values={"keeps_state": True, "silently": False}))
            await bulk.do(Do(verb="pause", to=["lamp-2"]))
            await until(lambda: bulk.progress is not None and bulk.progress.on == 200)
            await bulk.do(Do(verb="power_on", to=["meter-1", "lamp-1"], per_s=10))
            await bulk.do(Do(verb="go_on", to=["lamp-2"]))
            await until(lambda: bulk.progress is not None and bulk.progress.on == 202)
            await bulk.wait_until_ready(READY_S)
            return await finished(bulk)

    result = asyncio.run(scenario())
    assert result.is_clean, list(result.faults())
    assert not result.missing
    assert result.notes["connected"] == 2 * result.devices + 2
    assert result.not_done > 0


def test_devices_of_both_kinds_of_fleet_understand_each_other(broker: Broker) -> None:
    states: list[tuple[dict[str, Any], Stamp | None]] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, "phone-1")
    client.on_message = lambda _client, _data, message: states.append(unseal(message.payload))

    async def scenario() -> BulkResult:
        lamps = Group(name="lamp", kind="lamp", count=3, place="f/home", addresses=[broker.address])
        async with running(config([lamps], ways={"phone": "far away"})) as bulk:
            client.connect(*broker.address)
            client.subscribe("f/home/lamp-2/state", 1)
            client.loop_start()
            await until(lambda: bool(states))  # what it said when it was switched on
            for number in (1, 2):
                order = seal({"on": True}, Stamp("test", "phone-1", number, time.monotonic_ns()))
                client.publish("f/home/lamp-2/set", order, 1)
            client.publish("f/home/lamp-2/set", b"nonsense", 1)
            await until(lambda: len(states) >= 3)
            await until(lambda: bulk.progress is not None and bulk.progress.received >= 3)
            return await finished(bulk)

    try:
        result = asyncio.run(scenario())
    finally:
        client.loop_stop()
        client.disconnect()
    *said, taken_back = states
    assert taken_back == ({}, None)
    assert [values.get("obeyed") for values, _ in said] == [None, ["phone-1", 1], ["phone-1", 2]]
    assert [stamp and (stamp.run, stamp.publisher, stamp.number) for _, stamp in said] == [
        ("test", "lamp-2", 1),
        ("test", "lamp-2", 2),
        ("test", "lamp-2", 3),
    ]
    (row,) = result.outside
    assert (row.subscriber, row.publisher, row.topic) == ("lamp-2", "phone-1", "f/home/lamp-2/set")
    assert (row.numbers, row.doubled) == ([1, 3], [])
    assert result.foreign == 1
    assert result.latency()["far away → lamp, order"].count == 2
    assert result.adds_up


Tamper = Callable[[int, bytes], list[bytes]]
"""From the number of a PUBLISH and its bytes to what goes on."""


def carries(number: int, packet: bytes) -> list[bytes]:
    return [packet]


def drops(number: int, packet: bytes) -> list[bytes]:
    return [] if number == 7 else [packet]


def doubles(number: int, packet: bytes) -> list[bytes]:
    return [packet, packet] if number == 7 else [packet]


def reorders() -> Tamper:
    """Until its publisher has said more."""
    kept: list[bytes] = []

    def tamper(number: int, packet: bytes) -> list[bytes]:
        if number == 7:
            kept.append(packet)
            return []
        return [packet, *kept] if number == 27 else [packet]

    return tamper


@contextlib.asynccontextmanager
async def relay(address: Address, tamper: Tamper) -> AsyncIterator[Address]:
    """Carries a client's connections, and tampers with what the broker publishes to it."""

    over = asyncio.Event()

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*address)
        copies = [copy(reader, up_writer), copy_tampered(up_reader, writer)]
        await asyncio.wait([asyncio.create_task(each) for each in copies], return_when=asyncio.FIRST_COMPLETED)
        writer.close()
        up_writer.close()
        over.set()

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)

    async def copy_tampered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        splitter, number = Splitter(), 0
        while data := await reader.read(1 << 16):
            for first, body in splitter.split(data):
                packet = bytes((first,)) + encode_variable_byte_integer(len(body)) + body
                if first & 0xF0 == PUBLISH and not first & RETAIN:
                    number += 1
                    writer.writelines(tamper(number, packet))
                else:
                    writer.write(packet)

    server = await asyncio.start_server(carry, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()
        await over.wait()
    finally:
        server.close()


@pytest.mark.parametrize(
    ("tamper", "finds"),
    [
        (carries, lambda result: result.is_clean),
        (drops, lambda result: result.missed().total() == 1 and not result.is_clean),
        (doubles, lambda result: sum(row.doubled for row in result.subscribers) == 1 and not result.is_clean),
        (reorders(), lambda result: sum(row.out_of_order for row in result.subscribers) == 1 and not result.is_clean),
    ],
)
def test_what_a_relay_does_to_a_message_is_found(
    broker: Broker, tamper: Tamper, finds: Callable[[BulkResult], bool]
) -> None:
    async def scenario() -> BulkResult:
        async with relay(broker.address, tamper) as address:
            *others, desk = house(broker.address, 20, every_ns=100_000_000)
            async with running(config([*others, msgspec.structs.replace(desk, addresses=[address])])) as bulk:
                await bulk.begin()
                await sent_at_least(bulk, 300)
                return await finished(bulk)

    result = asyncio.run(scenario())
    assert result.adds_up
    assert finds(result), (result.missed(), list(result.faults()))


def test_one_that_nobody_answers_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

    async def scenario() -> None:
        bulk = Bulk()
        await bulk.start(config(house(address, 10)))
        try:
            with pytest.raises(BulkError, match=r"12 of 12 bulk devices \(meter-1: .*Connection refused\)"):
                await bulk.wait_until_ready(1.5)
        finally:
            await bulk.abandon()

    asyncio.run(scenario())


def test_more_than_the_system_allows_is_refused_at_once() -> None:
    group = Group(name="m", kind="meter", count=50_000_000, place="f", addresses=[("127.0.0.1", 1)])

    async def scenario() -> None:
        with pytest.raises(BulkError, match="need 50000032 open files"):
            await Bulk().start(config([group]))

    asyncio.run(scenario())


@contextlib.contextmanager
def bare_process() -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(python_module("firmware_sim.bulk"), stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_no_device_outlives_its_fleet(broker: Broker) -> None:
    with bare_process() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(config(house(broker.address, 20))) + b"\n")
        process.stdin.flush()
        assert b"Progress" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(10) == 0
        process.stdin = None


def test_a_process_that_is_killed_is_noticed(broker: Broker) -> None:
    async def scenario() -> None:
        async with running(config(house(broker.address, 10))) as bulk:
            assert bulk._process is not None
            os.kill(bulk._process.pid, signal.SIGKILL)
            with pytest.raises(BulkError, match="ended unexpectedly"):
                await bulk.close()

    asyncio.run(scenario())


def test_nothing_stays_in_the_broker(broker: Broker) -> None:
    async def scenario() -> None:
        async with running(config(house(broker.address, 10))) as bulk:
            await bulk.begin()
            await sent_at_least(bulk, 60)
            await finished(bulk)

    asyncio.run(scenario())
    found: list[str] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, "auditor")
    client.on_message = lambda _client, _data, message: found.append(message.topic)
    client.on_subscribe = lambda *_: client.publish("f/end", b"x", 1)
    client.connect(*broker.address)
    client.subscribe("f/#", 1)
    client.loop_start()
    try:
        deadline = time.monotonic() + 10
        while "f/end" not in found and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        client.loop_stop()
        client.disconnect()
    assert found == ["f/end"]
