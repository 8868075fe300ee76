"""Serial ports for real: pseudo-terminals with a device on the other end, pulled out and plugged in."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.auth.doorkeeper import Doorkeeper
from broker.core.engine import Engine
from broker.core.message import Message
from broker.core.router import Router
from broker.journal.memory import MemoryJournal
from broker.listeners.host import Host
from broker.listeners.loop import Loop
from edge_node.devices import Devices, Port, log_noise
from oriole.link.serial import Acknowledged, Connected, DeviceEndpoint, Disconnected, Event, Received
from oriole.urls import SerialPort
from oriole.wire.serial import Deliver, Reason

PATIENCE_S = 20.0


def wait_until(loop: asyncio.AbstractEventLoop, done: Callable[[], object]) -> None:
    """Runs the loop until something is true."""

    async def wait() -> None:
        end = loop.time() + PATIENCE_S
        while not done():
            assert loop.time() < end, "nothing came"
            await asyncio.sleep(0.005)

    loop.run_until_complete(wait())


class Node:
    """An engine on a real loop with one serial port."""

    def __init__(self, loop: asyncio.AbstractEventLoop, device: str) -> None:
        self.loop = loop
        engine = Engine(MemoryJournal())
        self.host = Host(engine, loop, Doorkeeper({}, True).decide)
        self.router = Router(engine)
        self.devices = Devices("edge", self.router, lambda: os.urandom(8), log_noise)
        self.port = Port(self.host, SerialPort.parse(f"serial://{device}?baud=115200"), self.devices)
        self.port.open()

    def publish(self, topic: str, payload: bytes, qos: int = 1) -> None:
        self.router.publish(Message(topic.encode(), payload, qos), self.host.now())
        self.host.wake()

    def retained(self, topic: str) -> bytes | None:
        message = self.router.retained.get(topic.encode(), self.host.now())
        return message.payload if message else None

    def until(self, done: Callable[[], object]) -> None:
        wait_until(self.loop, done)


class Relay:
    """A device on a file descriptor: firmware would look like this."""

    def __init__(self, loop: asyncio.AbstractEventLoop, file: int, endpoint: DeviceEndpoint | None = None) -> None:
        self.loop = loop
        self.endpoint = endpoint or DeviceEndpoint("relay-1", os.urandom(8), "relay")
        self.heard: list[Event] = []
        self._timer: asyncio.TimerHandle | None = None
        self.plug(file)

    @property
    def now(self) -> int:
        return int(self.loop.time() * 1000)

    @property
    def payloads(self) -> list[bytes]:
        frames = [event.frame for event in self.heard if isinstance(event, Received)]
        return [frame.payload for frame in frames if isinstance(frame, Deliver)]

    def plug(self, file: int) -> None:
        self.file = file
        tty.setraw(file)
        os.set_blocking(file, False)
        self.loop.add_reader(file, self._readable)
        self.endpoint.opened(self.now)
        self._go_on([])

    def pull(self) -> None:
        self.loop.remove_reader(self.file)
        if self._timer:
            self._timer.cancel()
        self.endpoint.closed(self.now)
        os.close(self.file)

    def publish(self, topic: str, payload: bytes, retain: bool = False) -> None:
        self.endpoint.publish(topic, payload, self.now, retain=retain)
        self._go_on([])

    def subscribe(self, filter: str) -> None:
        self.endpoint.subscribe(filter, self.now)
        self._go_on([])

    def _readable(self) -> None:
        try:
            data = os.read(self.file, 4096)
        except OSError:  # nobody has the other end open
            self.loop.remove_reader(self.file)
            self.loop.call_later(0.05, self.loop.add_reader, self.file, self._readable)
            return
        self._go_on(self.endpoint.receive(data, self.now))

    def _go_on(self, events: list[Event]) -> None:
        self.heard += events
        data = self.endpoint.outgoing()
        if data:
            os.write(self.file, data)  # a pseudo-terminal takes what a window holds here
        if self._timer:
            self._timer.cancel()
        deadline = self.endpoint.deadline()
        assert deadline is not None
        self._timer = self.loop.call_at(deadline / 1000, lambda: self._go_on(self.endpoint.tick(self.now)))


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    loop = Loop()
    yield loop
    loop.close()


def pty() -> tuple[int, str]:
    """The end for a device, and the name of the port for the node."""
    master, slave = os.openpty()
    name = os.ttyname(slave)
    os.close(slave)
    return master, name


def both_ways(node: Node, relay: Relay, tag: bytes) -> None:
    relay.publish("relay-1/state", tag, retain=True)
    node.until(lambda: node.retained("relay-1/state") == tag)
    node.publish("relay-1/set", tag)
    node.until(lambda: tag in relay.payloads)
    assert relay.payloads.count(tag) == 1


def test_a_push_crosses_a_pseudo_terminal_both_ways(loop: asyncio.AbstractEventLoop) -> None:
    master, name = pty()
    node = Node(loop, name)
    relay = Relay(loop, master)
    relay.subscribe("relay-1/set")
    node.until(lambda: node.router.routes.subscription_count)
    both_ways(node, relay, b"on")
    for number in range(200):  # more than a window, with every byte value
        node.publish("relay-1/set", bytes(range(256)) + b"%d" % number)
    node.until(lambda: len(relay.payloads) == 201)
    assert relay.payloads[1:] == [bytes(range(256)) + b"%d" % number for number in range(200)]
    node.port.close()
    node.host.wake()
    node.until(lambda: any(isinstance(event, Disconnected) for event in relay.heard))
    assert relay.heard[-1] == Disconnected(Reason.UNAVAILABLE, "the gateway stops")
    relay.pull()


def test_a_port_that_is_not_there_is_waited_for_and_a_pulled_one_comes_back(
    loop: asyncio.AbstractEventLoop, tmp_path: Path
) -> None:
    stable = tmp_path / "by-id"  # what udev does: a name that stays, whichever tty it is
    node = Node(loop, str(stable))
    master, name = pty()
    stable.symlink_to(name)
    relay = Relay(loop, master)
    relay.subscribe("relay-1/set")
    node.until(lambda: node.router.routes.subscription_count)
    both_ways(node, relay, b"1")

    relay.pull()  # the adapter is gone: the node reads EIO
    stable.unlink()
    node.until(lambda: node.devices.known["relay-1"].line is None)
    node.publish("relay-1/set", b"meanwhile")
    relay.endpoint.publish("relay-1/state", b"offline", relay.now, retain=True)

    master, name = pty()
    stable.symlink_to(name)
    back = Relay(loop, master, relay.endpoint)
    node.until(lambda: b"meanwhile" in back.payloads and node.retained("relay-1/state") == b"offline")
    assert Connected("edge", resumed=True) in back.heard
    both_ways(node, back, b"2")
    assert back.payloads == [b"meanwhile", b"2"]
    node.port.close()
    node.host.turn()
    back.pull()


def test_a_node_that_starts_later_asks_who_is_there(loop: asyncio.AbstractEventLoop) -> None:
    master, name = pty()
    node = Node(loop, name)
    relay = Relay(loop, master)
    node.until(lambda: relay.heard)
    node.port.close()
    node.host.turn()
    another = Node(loop, name)
    another.until(lambda: relay.heard.count(Connected("edge", resumed=False)) == 2)
    relay.publish("a", b"x", retain=True)
    another.until(lambda: another.retained("a") == b"x")
    another.port.close()
    another.host.turn()
    relay.pull()


def test_a_missing_port_costs_next_to_nothing(
    loop: asyncio.AbstractEventLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[None] = []
    open_port = Port.open
    monkeypatch.setattr(Port, "open", lambda port: tries.append(open_port(port)))
    node = Node(loop, str(tmp_path / "ttyUSB9"))
    before = time.process_time()
    loop.run_until_complete(asyncio.sleep(2))
    assert 3 <= len(tries) <= 4  # at 0, 0.25, 0.75 and 1.75 s
    assert time.process_time() - before < 0.5
    node.port.close()
    node.host.turn()


def test_what_is_no_tty_is_reported_not_raised(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    node = Node(loop, str(file))
    loop.run_until_complete(asyncio.sleep(0.1))
    assert node.port.line.device is None
    node.port.close()
    node.host.turn()


@pytest.mark.interop("socat", "mosquitto_pub", "mosquitto_sub")
def test_a_push_from_mosquitto_reaches_a_device_of_a_real_edge(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "node", tmp_path / "device"
    socat = subprocess.Popen(["socat", f"pty,raw,echo=0,link={ours}", f"pty,raw,echo=0,link={theirs}"])
    command = [sys.executable, "-m", "oriole", "edge", "--name", "house", "--listen", "mqtt://127.0.0.1:0"]
    edge = subprocess.Popen([*command, "--serial", f"serial://{ours}"], stdout=subprocess.PIPE, text=True)
    try:
        assert edge.stdout is not None
        port = edge.stdout.readline().rpartition(":")[2].strip()
        while not theirs.exists():
            time.sleep(0.01)
        relay = Relay(loop, os.open(theirs, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK))
        relay.subscribe("relay-1/set")
        relay.publish("relay-1/state", b"off", retain=True)
        wait_until(loop, lambda: Acknowledged(2) in relay.heard)
        mosquitto = ["-h", "127.0.0.1", "-p", port, "-q", "1"]
        subprocess.run(["mosquitto_pub", *mosquitto, "-t", "relay-1/set", "-m", "on"], check=True, timeout=PATIENCE_S)
        wait_until(loop, lambda: relay.payloads == [b"on"])
        subscribe = ["mosquitto_sub", *mosquitto, "-t", "relay-1/state", "-C", "1", "-W", "10"]
        assert subprocess.run(subscribe, check=True, capture_output=True, timeout=PATIENCE_S).stdout == b"off\n"
        edge.send_signal(signal.SIGTERM)
        assert edge.wait(10) == 0
        wait_until(loop, lambda: any(isinstance(event, Disconnected) for event in relay.heard))
        relay.pull()
    finally:
        for process in (edge, socat):
            process.kill()
            process.communicate(timeout=10)


@pytest.mark.interop("socat")
def test_a_socat_pair_with_noise_on_it(loop: asyncio.AbstractEventLoop, tmp_path: Path) -> None:
    ours, theirs = tmp_path / "node", tmp_path / "device"
    socat = subprocess.Popen(["socat", f"pty,raw,echo=0,link={ours}", f"pty,raw,echo=0,link={theirs}"])
    try:
        node = Node(loop, str(ours))
        node.until(theirs.exists)
        file = os.open(theirs, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)
        os.write(file, b"ets Jul 29 2019 12:21:46\r\n\xff\x00\x80garbage")
        relay = Relay(loop, file)
        relay.subscribe("relay-1/set")
        node.until(lambda: node.router.routes.subscription_count)
        for number in range(20):
            os.write(file, os.urandom(30) + b"\0")
            both_ways(node, relay, b"%d" % number)
        counts = node.port.line.counts()
        assert counts["cut"] + counts["bad_crc"] + counts["text"] >= 20
        node.until(lambda: Acknowledged(21) in relay.heard)
        node.port.close()
        node.host.turn()
        relay.pull()
    finally:
        socat.send_signal(signal.SIGTERM)
        socat.wait(10)
