"""The ports against real peers that go away and come back: a broker restarted, a serial plug pulled."""

import asyncio
import os
import shutil
import socket
import sys
import time
import tty
from collections.abc import Callable
from pathlib import Path

import pytest

from firmware_sim.devices.mqtt import MqttPort
from firmware_sim.devices.port import Delivery
from firmware_sim.devices.serial import SerialPort
from oriole.link.serial import GatewayEndpoint, Greeted, Received, Session
from oriole.urls import Endpoint
from oriole.urls import SerialPort as Line
from oriole.wire.serial import Publish


class Log:
    """An owner that writes everything down."""

    def __init__(self) -> None:
        self._events: list[tuple[object, ...]] = []
        self._news = asyncio.Event()

    def _note(self, *event: object) -> None:
        self._events.append(event)
        self._news.set()

    def connected(self, resumed: bool) -> None:
        self._note("connected", resumed)

    def disconnected(self, reason: str) -> None:
        self._note("disconnected")

    def subscribed(self, topic_filter: str) -> None:
        self._note("subscribed", topic_filter)

    def delivered(self, delivery: Delivery) -> None:
        self._note("delivered", delivery.payload)

    def accepted(self, ticket: int) -> None:
        self._note("accepted", ticket)

    def refused(self, ticket: int, reason: str) -> None:
        self._note("refused", ticket, reason)

    def unanswered(self, ticket: int | None, reason: str) -> None:
        self._note("unanswered", ticket, reason)

    def resent(self, tickets: list[int]) -> None:
        self._note("resent", *tickets)

    def answered(self, topic: str, payload: bytes | None) -> None:
        self._note("answered", topic, payload)

    async def until(self, *event: object, within_s: float = 10.0) -> None:
        """Wait for an event, and forget everything up to it."""
        while event not in self._events:
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), within_s)
            except TimeoutError:
                raise AssertionError(f"{event} is not among {self._events}") from None
        del self._events[: self._events.index(event) + 1]


class Gateway:
    """The far end of a serial line, on the master of a pseudo-terminal; keeps its session over replugs."""

    def __init__(self) -> None:
        self.endpoint = GatewayEndpoint("house")
        self.session: Session | None = None
        self.published: list[bytes] = []
        self._loop = asyncio.get_running_loop()

    def plug(self, path: Path) -> None:
        """Make a terminal and let `path` lead to it."""
        self._ours, self._theirs = os.openpty()
        tty.setraw(self._theirs)
        path.unlink(missing_ok=True)
        path.symlink_to(os.ttyname(self._theirs))
        self._loop.add_reader(self._ours, self._read)
        self.endpoint.opened(_now_ms())
        self.flush()

    def unplug(self) -> None:
        """The device reads an error."""
        self._loop.remove_reader(self._ours)
        os.close(self._ours)
        os.close(self._theirs)
        self.endpoint.closed(_now_ms())

    def flush(self) -> None:
        if data := self.endpoint.outgoing():
            os.write(self._ours, data)

    def _read(self) -> None:
        for event in self.endpoint.receive(os.read(self._ours, 4096), _now_ms()):
            if isinstance(event, Greeted):
                self.session = self.session or self.endpoint.new_session(b"house-1")
                self.endpoint.welcome(self.session, _now_ms())
            elif isinstance(event, Received):
                if isinstance(event.frame, Publish):
                    self.published.append(event.frame.payload)
                self.endpoint.acknowledge(event, _now_ms())
        self.flush()


def test_a_pulled_plug_is_a_pause(tmp_path: Path) -> None:
    async def scene() -> None:
        line, log, gateway = tmp_path / "line", Log(), Gateway()
        port = SerialPort(Line.parse(f"serial://{line}"), "relay-1", b"boot", "relay")
        port.open(log)
        await log.until("disconnected")
        gateway.plug(line)
        await log.until("connected", False)
        port.subscribe("home/relay-1/set", 1)
        await log.until("subscribed", "home/relay-1/set")
        port.publish("home/relay-1/state", b"one", 1, True, 11)
        await log.until("accepted", 11)
        gateway.endpoint.deliver("home/relay-1/set", b"order", _now_ms(), qos=1)
        gateway.flush()
        await log.until("delivered", b"order")
        gateway.unplug()
        await log.until("disconnected")
        port.publish("home/relay-1/state", b"two", 1, True, 12)
        gateway.plug(line)
        await log.until("connected", True)
        await log.until("accepted", 12)
        assert gateway.published == [b"one", b"two"]
        await port.close()
        gateway.unplug()

    asyncio.run(scene())


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def _oriole(port: int) -> list[str]:
    return [sys.executable, "-m", "oriole", "broker", "--listen", f"mqtt://127.0.0.1:{port}"]


def _mosquitto(port: int) -> list[str]:
    return [shutil.which("mosquitto") or "mosquitto", "-p", str(port)]


@pytest.mark.parametrize(
    "command", [_oriole, pytest.param(_mosquitto, marks=pytest.mark.interop("mosquitto"))], ids=["oriole", "mosquitto"]
)
@pytest.mark.parametrize("version", [5, 4])
def test_a_broker_that_comes_back_is_found_again(command: Callable[[int], list[str]], version: int) -> None:
    async def scene() -> None:
        number, log = _free_port(), Log()
        port = MqttPort(Endpoint.parse(f"mqtt://127.0.0.1:{number}"), "lamp-1", "seed", version)
        port.open(log)
        await log.until("disconnected")
        broker = await _start(command(number))
        try:
            await log.until("connected", False)
            port.subscribe("a/#", 2)
            await log.until("subscribed", "a/#")
            port.publish("a/b", b"one", 2, False, 1)
            await log.until("delivered", b"one")
            port.sleep()
            await asyncio.sleep(0.3)
            port.publish("a/b", b"two", 1, False, 2)
            port.open(log)
            await log.until("connected", True)
            await log.until("delivered", b"two")
            broker.kill()
            await log.until("disconnected")
            port.publish("a/b", b"three", 1, False, 3)
            await broker.wait()
            broker = await _start(command(number))
            await log.until("accepted", 3)
            await port.close()
            port = MqttPort(Endpoint.parse(f"mqtt://127.0.0.1:{number}"), "lamp-1", "seed", version)
            port.open(log)
            await log.until("connected", False)  # nothing was left behind
            await port.close()
        finally:
            broker.kill()
            await broker.wait()

    asyncio.run(scene())


async def _start(command: list[str]) -> asyncio.subprocess.Process:
    nowhere = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(*command, stdout=nowhere, stderr=nowhere)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
