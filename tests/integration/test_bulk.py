"""Devices in bulk and others in one fleet: one account of all, whatever goes wrong, and nothing left behind."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
import pytest
from integration.fleets import lines
from paho.mqtt.enums import CallbackAPIVersion

from firmware_sim.bulk import Bulk, BulkConfig, BulkError
from firmware_sim.child import python_module
from firmware_sim.fleet.fleet import Fleet, FleetError
from firmware_sim.fleet.outcome import result_of
from firmware_sim.fleet.program import Wishes, live
from firmware_sim.links.packets.network import obstacle
from firmware_sim.real.world import RealWorld
from firmware_sim.report.result import Result
from firmware_sim.scenario.file import Scenario
from firmware_sim.scenario.values import plain
from oriole import typed_yaml
from oriole.wire.mqtt import Splitter
from oriole.wire.mqtt.fields import encode_variable_byte_integer

Address = tuple[str, int]
PUBLISH = 0x30
RETAIN = 0x01

TOWN = """
name: town
length: 2500ms
settle: 300ms
drain: 4s
nodes: {{centre: {{}}, house: {{kind: edge, uplink: centre}}}}
links: {{air: {{delay_ms: 2}}}}
profiles:
  meter: {{kind: meter, every: 1s, mqtt: "{mqtt}"}}
  bulb: {{kind: lamp, every: 1s, mqtt: "{mqtt}"}}
  pocket: {{kind: remote, every: 100ms, hears: [home/+/reading], qos: {qos}}}
  news: {{kind: herald, every: 500ms, announces: all/news}}
populations:
  meter: {{profile: meter, at: centre, count: 60, bulk: true, way: street}}
  lamp: {{profile: bulb, at: house, count: 40, bulk: true, link: air}}
  glow: {{profile: bulb, at: house, count: 3}}
  phone: {{profile: pocket, at: centre, way: away, commands: [lamp]}}
  wall: {{profile: pocket, at: house, way: wall, bulk: true, commands: [glow, meter]}}
"""


def play(text: str, *, packets: bool = False, trace: Path | None = None) -> tuple[Fleet, Result]:
    """Run a scenario on real sockets."""
    scenario = typed_yaml.decode(text, Scenario, "test.yaml")
    return live(scenario, Wishes(seed=1, quiet=True, packets=packets, trace_file=trace))


def town(more: str = "", *, mqtt: str = "5", qos: int = 1) -> str:
    return TOWN.format(mqtt=mqtt, qos=qos) + more


@pytest.mark.parametrize(("mqtt", "qos"), [("5", 2), ("3.1.1", 1)])
def test_what_passes_between_bulk_devices_and_others_is_in_one_account(mqtt: str, qos: int, tmp_path: Path) -> None:
    real_trace, virtual_trace = tmp_path / "real", tmp_path / "virtual"
    _, result = play(town(mqtt=mqtt, qos=qos), trace=real_trace)
    total = result.accounts.total
    assert result.is_well, result.verdict
    assert total.due == total.delivered > 400
    assert {"street → away", "away → house", "house → away", "wall → street", "wall → house", "house → wall"} <= set(
        result.accounts.ways
    ), "of bulk and others, both ways"
    assert result.accounts.orders == result.accounts.orders_confirmed > 30
    assert result.run.bulk == 101
    assert result.crowds is not None
    assert result.crowds.devices == 101
    assert "bulk" in result.crowds.client
    assert result.crowds.lag.count > 200
    assert result.classes["reading"].count > 200
    scenario = typed_yaml.decode(town(mqtt=mqtt, qos=qos), Scenario, "test.yaml")
    _, virtual = live(scenario, Wishes(seed=1, virtual=True, quiet=True, trace_file=virtual_trace))
    assert virtual.crowds is None, "there, the same devices are like all others"
    assert virtual.accounts.orders == result.accounts.orders
    assert lines(virtual_trace, "plan") == lines(real_trace, "plan")
    assert len(lines(real_trace, "to")) >= total.due


FAULTS = """
  - {at: 800ms, kill: centre, lasts: 300ms}
  - {at: 500ms, kill: meter, share: 0.3, lasts: 1s, keeps_state: false}
  - {at: 600ms, power_cut: lamp, share: 0.3, lasts: 1s}
  - {at: 1700ms, pause: meter, share: 0.2, lasts: 500ms}
  - {at: 1700ms, slow: lamp, share: 0.2, lasts: 500ms}
"""


def test_what_faults_take_is_followed_to_where_it_ended() -> None:
    fleet, result = play(town(f"faults:{FAULTS}expectations: [{{measure: lost, at_most: 0}}]\n"))
    assert result.is_well, result.verdict
    total = result.accounts.total
    assert 0 < total.dropped < total.due / 2
    assert sum(result.accounts.reasons.values()) >= total.dropped
    assert result.incidents["kill"] == 19
    assert result.incidents["power_cut"] == 12
    broken = [failure.who for failure in (*fleet.ledger.broken, *fleet._failures)]
    assert {who.partition("-")[0] for who in broken} == {"centre", "meter", "lamp"}


def test_devices_that_change_nodes_come_one_by_one_or_are_switched_off() -> None:
    text = town("""schedule:
  - {at: 1s, roam: meter, spread: 500ms}
  - {at: 1s, power_off: lamp}
  - {at: 1500ms, power_on: lamp}
""")
    text = text.replace(
        "meter, at: centre, count: 60", "meter, at: [centre, house], count: 60, starts: 300ms, spread: 500ms"
    )
    fleet, result = play(text)
    assert result.is_well, result.verdict
    assert result.incidents["roam"] == 60
    assert result.accounts.total.after_sleep > 0
    assert fleet.ledger.notes["connected"] >= 60 + 60 + 40 + 40 + 5


def test_each_place_of_a_network_has_a_process_of_its_own() -> None:
    if reason := obstacle():
        if os.environ.get("ORIOLE_REQUIRE_INTEROP") == "1" or os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    fleet, result = play(town(), packets=True)
    assert result.is_well, result.verdict
    assert len(fleet.crowd._bulks) == 3, "at the centre, at the house, behind the air"
    assert result.latency["away → house"].p50_ms > 2


async def running(fleet: Fleet, run: "asyncio.Task[None]") -> Bulk:
    """Wait until it runs; its only process of bulk devices."""
    while fleet.phase != "running":
        assert not run.done()
        await asyncio.sleep(0.02)
    (bulk,) = fleet.crowd._bulks
    return bulk


def test_a_process_that_is_killed_ends_the_run_and_what_it_wrote_is_read() -> None:
    scenario = typed_yaml.decode(town().replace("length: 2500ms", "length: 1h"), Scenario, "test.yaml")

    async def scene() -> Fleet:
        fleet = Fleet(scenario, 1, RealWorld(scenario, 1))
        run = asyncio.create_task(fleet.run())
        bulk = await running(fleet, run)
        await asyncio.sleep(1.5)
        assert bulk._process is not None
        os.kill(bulk._process.pid, signal.SIGKILL)
        await run
        return fleet

    fleet = asyncio.run(scene())
    assert fleet.endings == ["lamp, meter, wall in bulk: the bulk process was killed by SIGKILL"]
    result = result_of(fleet, "relay", 0.0)
    assert result.accounts.total.due > 0
    assert result.crowds is None, "nobody knows how late it was"
    assert result.run.stopped


def test_a_process_that_stands_still_is_not_waited_for_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_sim.bulk.handle.SILENCE_S", 1.0)
    scenario = typed_yaml.decode(town(), Scenario, "test.yaml")

    async def scene() -> Fleet:
        fleet = Fleet(scenario, 1, RealWorld(scenario, 1))
        run = asyncio.create_task(fleet.run())
        bulk = await running(fleet, run)
        assert bulk._process is not None
        os.kill(bulk._process.pid, signal.SIGSTOP)
        await run
        return fleet

    fleet = asyncio.run(scene())
    assert fleet.endings == ["lamp, meter, wall in bulk: the bulk process has said nothing of use for 1 s"]


def test_stopped_while_bulk_devices_connect_it_says_for_whom_it_waited() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        url = f"mqtt://127.0.0.1:{server.getsockname()[1]}"
    text = DESK.format(broker=url, relay=url) + "ready: 5m\n"
    scenario = typed_yaml.decode(text, Scenario, "test.yaml")

    async def scene() -> None:
        fleet = Fleet(scenario, 1, RealWorld(scenario, 1))
        run = asyncio.create_task(fleet.run())
        while "refused" not in fleet.progress():
            assert not run.done()
            await asyncio.sleep(0.02)
        fleet.stop()
        with pytest.raises(FleetError, match=r"stopped .* waited for 11 of 11 bulk devices \(meter-1: .*refused"):
            await run

    asyncio.run(asyncio.wait_for(scene(), 20))


def test_what_strangers_write_does_no_harm(broker: "Broker") -> None:
    text = DESK.format(broker=broker.url, relay=broker.url)
    scenario = typed_yaml.decode(text, Scenario, "test.yaml")
    client = paho.Client(CallbackAPIVersion.VERSION2, "stranger")
    client.connect(*broker.address)
    client.loop_start()

    async def scene() -> Result:
        fleet = Fleet(scenario, 1, RealWorld(scenario, 1))
        run = asyncio.create_task(fleet.run())
        await running(fleet, run)
        for number in (10**30, -1, 2**63, 1.5, None):
            client.publish("fleet/home/x/reading", msgspec.json.encode({"stamp": ["r", "p", number, number]}), 1)
        await run
        return result_of(fleet, "relay", 0.0)

    try:
        result = asyncio.run(scene())
    finally:
        client.loop_stop()
        client.disconnect()
    assert result.is_well, result.verdict
    assert result.accounts.foreign == 5


# ---- A relay that is at fault


Tamper = Callable[[int, bytes], list[bytes]]
"""From the number of a PUBLISH and its bytes to what goes on."""


def carries(number: int, packet: bytes) -> list[bytes]:
    return [packet]


def drops(number: int, packet: bytes) -> list[bytes]:
    return [] if number == 7 else [packet]


def doubles(number: int, packet: bytes) -> list[bytes]:
    return [packet, packet] if number == 7 else [packet]


def reorders() -> Tamper:
    """Until all publishers have said more."""
    kept: list[bytes] = []

    def tamper(number: int, packet: bytes) -> list[bytes]:
        if number == 7:
            kept.append(packet)
            return []
        return [packet, *kept] if number == 27 else [packet]

    return tamper


class Broker:
    """A real one."""

    def __init__(self) -> None:
        command = [*python_module("oriole", "broker", "--listen", "mqtt://127.0.0.1:0")]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().split()[-1]
        host, _, port = self.url.removeprefix("mqtt://").rpartition(":")
        self.address: Address = host, int(port)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    broker = Broker()
    yield broker
    broker.kill()


class Relay:
    """Carries connections to `address`, and tampers with what the broker publishes to each."""

    def __init__(self, address: Address, tamper: Tamper) -> None:
        self._address = address
        self._tamper = tamper

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        up_reader, up_writer = await asyncio.open_connection(*self._address)
        copies = [self._copy(reader, up_writer), self._copy_tampered(up_reader, writer)]
        await asyncio.wait([asyncio.create_task(each) for each in copies], return_when=asyncio.FIRST_COMPLETED)
        writer.close()
        up_writer.close()

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(1 << 16):
                writer.write(data)

    async def _copy_tampered(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        splitter, number = Splitter(), 0
        while data := await reader.read(1 << 16):
            for first, body in splitter.split(data):
                packet = bytes((first,)) + encode_variable_byte_integer(len(body)) + body
                if first & 0xF0 == PUBLISH and not first & RETAIN:
                    number += 1
                    writer.writelines(self._tamper(number, packet))
                else:
                    writer.write(packet)


DESK = """
name: desk
length: 2s
settle: 300ms
drain: 500ms
nodes: {{broker: {{kind: foreign, addresses: ["{broker}"]}}, relay: {{kind: foreign, addresses: ["{relay}"]}}}}
profiles:
  quick: {{kind: meter, every: 200ms}}
  desk: {{kind: herald, announces: news, hears: [home/+/reading]}}
populations:
  meter: {{profile: quick, at: broker, count: 10, bulk: true}}
  desk: {{profile: desk, at: relay, place: office, bulk: true}}
"""


@pytest.mark.parametrize(
    ("tamper", "finds"),
    [
        (carries, lambda result: result.is_well),
        (drops, lambda result: result.accounts.total.lost + result.accounts.total.replaced == 1),
        (doubles, lambda result: result.accounts.total.doubled == 1 and not result.is_well),
        (reorders(), lambda result: result.accounts.out_of_order == 1),
    ],
)
def test_what_a_relay_does_to_a_message_is_found(
    broker: Broker, tamper: Tamper, finds: Callable[[Result], bool]
) -> None:
    async def scene() -> Result:
        server = await asyncio.start_server(Relay(broker.address, tamper).carry, "127.0.0.1", 0)
        host, port = server.sockets[0].getsockname()
        text = DESK.format(broker=broker.url, relay=f"mqtt://{host}:{port}")
        scenario = typed_yaml.decode(text, Scenario, "test.yaml")
        fleet = Fleet(scenario, 1, RealWorld(scenario, 1))
        await fleet.run()
        server.close()
        return result_of(fleet, "relay", 0.0)

    result = asyncio.run(scene())
    assert result.accounts.total.due > 50
    assert finds(result), result.verdict


# ---- The process


def config(tmp_path: Path, address: Address, count: int = 10) -> BulkConfig:
    text = "name: street\nnodes: {centre: {}}\npopulations: {meter: {profile: meter, at: centre, bulk: true, count: 1}}"
    scenario = typed_yaml.decode(text.replace("count: 1", f"count: {count}"), Scenario, "test.yaml")
    return BulkConfig(
        run="test", seed=3, scenario=scenario, doors={"meter": [address]}, journal=str(tmp_path / "journal")
    )


@contextlib.asynccontextmanager
async def started(of: BulkConfig) -> AsyncIterator[Bulk]:
    bulk = Bulk()
    await bulk.start(of)
    try:
        yield bulk
    finally:
        await bulk.abandon()


def test_one_that_nobody_answers_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()

    async def scene() -> None:
        async with started(config(tmp_path, address)) as bulk:
            with pytest.raises(BulkError, match=r"10 of 10 bulk devices \(meter-1: .*Connection refused\)"):
                await bulk.wait_until_ready(1.5)

    asyncio.run(scene())


def test_more_than_the_system_allows_is_refused_at_once(tmp_path: Path) -> None:
    async def scene() -> None:
        with pytest.raises(BulkError, match="100000 devices need 100032 open files"):
            await Bulk().start(config(tmp_path, ("127.0.0.1", 1), 100_000))

    asyncio.run(scene())


def test_no_device_outlives_its_fleet(broker: Broker, tmp_path: Path) -> None:
    with subprocess.Popen(python_module("firmware_sim.bulk"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(msgspec.json.encode(plain(config(tmp_path, broker.address))) + b"\n")
        process.stdin.flush()
        assert b"Progress" in process.stdout.readline()
        process.stdin.close()
        assert process.wait(10) == 0


def test_nothing_stays_in_the_broker(broker: Broker) -> None:
    play(DESK.format(broker=broker.url, relay=broker.url))
    found: list[str] = []
    client = paho.Client(CallbackAPIVersion.VERSION2, "auditor")
    client.on_message = lambda _client, _data, message: found.append(message.topic)
    client.on_subscribe = lambda *_: client.publish("fleet/end", b"x", 1)
    client.connect(*broker.address)
    client.subscribe("fleet/#", 1)
    client.loop_start()
    try:
        deadline = time.monotonic() + 10
        while "fleet/end" not in found and time.monotonic() < deadline:
            time.sleep(0.02)
    finally:
        client.loop_stop()
        client.disconnect()
    assert found == ["fleet/end"]
