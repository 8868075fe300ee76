"""The ports against real peers that go away and come back, for devices that lose power, memory, place and patience."""

import asyncio
import fcntl
import os
import resource
import shutil
import socket
import sys
import termios
import time
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from itertools import count, islice
from pathlib import Path

import pytest

from firmware_sim.devices.port import Access, Delivery, Port, Will
from firmware_sim.links.packets.namespace import Namespace
from firmware_sim.links.packets.network import obstacle
from firmware_sim.ports import new_port, serial
from firmware_sim.ports.silence import silence
from oriole.link.serial import GatewayEndpoint, Greeted, Received, Session
from oriole.urls import Endpoint
from oriole.urls import SerialPort as Line
from oriole.wire.coap import Option, decode
from oriole.wire.serial import Publish

names = (f"device-{number}" for number in count())

CYCLES = 100
AT_MOST = 2
"""Files that a port has open: a socket, and one that has fallen silent."""
LOOPBACK = ("mqtt://127.0.0.1:0", "coap://127.0.0.1:0")


class Log:
    """An owner that writes everything down."""

    def __init__(self) -> None:
        self.events: list[tuple[object, ...]] = []
        self.payloads: list[bytes] = []
        self.reasons: list[str] = []
        self._news = asyncio.Event()

    def _note(self, *event: object) -> None:
        self.events.append(event)
        self._news.set()

    def connected(self, resumed: bool) -> None:
        self._note("connected", resumed)

    def disconnected(self, reason: str) -> None:
        self.reasons.append(reason)
        self._note("disconnected")

    def subscribed(self, topic_filter: str) -> None:
        self._note("subscribed", topic_filter)

    def delivered(self, delivery: Delivery) -> None:
        self.payloads.append(delivery.payload)
        self._note("stored" if delivery.stored else "delivered", delivery.payload)

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

    async def until(self, *event: object, within_s: float = 10.0) -> tuple[object, ...]:
        """Wait for an event, or for any of a name alone; forget everything up to it, and return it."""
        while event not in (known := [known[:1] if len(event) == 1 else known for known in self.events]):
            self._news.clear()
            try:
                await asyncio.wait_for(self._news.wait(), within_s)
            except TimeoutError:
                raise AssertionError(f"{event} is not among {self.events}") from None
        found = known.index(event)
        whole = self.events[found]
        del self.events[: found + 1]
        return whole


class Tally:
    """A meter that adds up. Whatever goes over a radio wakes it."""

    def __init__(self) -> None:
        self.sessions = self.sent_bytes = self.received_bytes = 0
        self.is_on = False
        self.news = asyncio.Event()

    def connected(self, now_ns: int) -> None:
        self.sessions += 1

    def woke(self, now_ns: int) -> None:
        self.is_on = True

    def slept(self, now_ns: int) -> None:
        self.is_on = False

    def sent(self, size_bytes: int, now_ns: int) -> None:
        self.is_on = True
        self.sent_bytes += size_bytes
        self.news.set()

    def received(self, size_bytes: int, now_ns: int) -> None:
        self.is_on = True
        self.received_bytes += size_bytes


class Program:
    """`oriole broker` or `oriole edge`."""

    def __init__(self, process: asyncio.subprocess.Process, urls: list[str]) -> None:
        self.process = process
        self.mqtt, self.coap = (Endpoint.parse(url) for url in urls)

    @classmethod
    async def start(cls, *command: str, listen: tuple[str, ...] = LOOPBACK) -> "Program":
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "oriole", *command, *(f"--listen={url}" for url in listen)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
        assert process.stdout is not None
        ready = (await process.stdout.readline()).decode()
        return cls(process, ready.partition("ready: ")[2].split())

    async def kill(self) -> None:
        self.process.kill()
        await self.process.communicate()


@asynccontextmanager
async def running(*command: str) -> AsyncIterator[Program]:
    program = await Program.start(*command)
    try:
        yield program
    finally:
        await program.kill()


def play(scene: Callable[[Program], Awaitable[None]]) -> None:
    """Play a scene at a broker; whatever goes wrong in a callback fails it."""
    troubles: list[dict[str, object]] = []

    async def whole() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, trouble: troubles.append(trouble))
        async with running("broker") as broker:
            await scene(broker)

    asyncio.run(whole())
    assert not troubles


async def opened(port: Port) -> Log:
    log = Log()
    port.open(log)
    await log.until("connected", False)
    return log


async def observing(port: Port, topic: str) -> Log:
    log = await opened(port)
    port.subscribe(topic, 1)
    await log.until("subscribed", topic)
    return log


# ---- MQTT


versions = pytest.mark.parametrize("version", [5, 4])


def _oriole(port: int) -> list[str]:
    return [sys.executable, "-m", "oriole", "broker", "--listen", f"mqtt://127.0.0.1:{port}"]


def _mosquitto(port: int) -> list[str]:
    return [shutil.which("mosquitto") or "mosquitto", "-p", str(port)]


@pytest.mark.parametrize(
    "command", [_oriole, pytest.param(_mosquitto, marks=pytest.mark.interop("mosquitto"))], ids=["oriole", "mosquitto"]
)
@versions
def test_a_broker_that_comes_back_is_found_again(command: Callable[[int], list[str]], version: int) -> None:
    async def scene() -> None:
        number, log = _free_port(), Log()
        access, address = Access("lamp-1", "run", "lamp", version), Endpoint.parse(f"mqtt://127.0.0.1:{number}")
        port = new_port(access, [address])
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
            port = new_port(access, [address])
            await opened(port)  # nothing was left behind
            await port.close()
        finally:
            broker.kill()
            await broker.wait()

    asyncio.run(scene())


@versions
@pytest.mark.parametrize("silently", [False, True], ids=["killed", "without power"])
def test_a_device_finds_its_session_again_if_it_has_its_memory(version: int, silently: bool) -> None:
    async def scene(broker: Program) -> None:
        access = Access(next(names), "run", "lamp", version)
        port, other = new_port(access, [broker.mqtt]), new_port(Access(next(names), "run", "remote"), [broker.mqtt])
        log, others = await observing(port, "order"), await opened(other)
        port.fail(keeps_state=True, silently=silently)
        other.publish("order", b"one", 1, False, 1)
        await others.until("accepted", 1)
        port.open(log)
        await log.until("connected", True)
        await log.until("delivered", b"one")

        port.publish("unheard", b"", 1, False, 2)
        port.fail(keeps_state=False, silently=silently)
        other.publish("order", b"two", 1, False, 2)
        await others.until("accepted", 2)
        port.open(log)
        await log.until("connected", False)
        port.subscribe("order", 1)
        await log.until("subscribed", "order")
        other.publish("order", b"three", 1, False, 3)
        await log.until("delivered", b"three")
        assert not [event for event in log.events if event[0] in ("delivered", "accepted")]
        await port.close()
        await other.close()

    play(scene)


def test_a_will_is_said_at_once_unless_the_device_is_silent() -> None:
    async def of_version(version: int, broker: Program) -> None:
        gone = f"gone/{version}"
        watch = new_port(Access(next(names), "run", "watch"), [broker.mqtt])
        log = await observing(watch, gone)
        access = Access(next(names), "run", "lamp", version, keep_alive_s=1, will=Will(gone, b"lamp"))
        port = new_port(access, [broker.mqtt])
        lamp = await opened(port)
        for silently, at_least_s, at_most_s in ((False, 0.0, 0.5), (True, 0.9, 3.0)):
            began = time.monotonic()
            port.fail(keeps_state=True, silently=silently)
            await log.until("delivered", b"lamp")
            assert at_least_s <= time.monotonic() - began < at_most_s
            port.open(lamp)
            await lamp.until("connected", True)
        port.sleep()
        port.open(lamp)
        await lamp.until("connected", True)
        assert not log.events  # going in order is no reason for a will
        await port.close()
        late = new_port(Access(next(names), "run", "watch"), [broker.mqtt])
        heard = await observing(late, gone)
        await heard.until("stored", b"lamp")
        await late.close()
        await watch.close()

    async def scene(broker: Program) -> None:
        await asyncio.gather(of_version(5, broker), of_version(4, broker))

    play(scene)


@versions
def test_what_a_stalled_device_is_sent_waits_for_it(version: int) -> None:
    async def scene(broker: Program) -> None:
        meter = Tally()
        access = Access(next(names), "run", "lamp", version, meter=meter)
        port, other = new_port(access, [broker.mqtt]), new_port(Access(next(names), "run", "watch"), [broker.mqtt])
        log, others = await observing(port, "order"), await observing(other, "state")
        port.stall(True)
        other.publish("order", b"on", 1, False, 1)
        await others.until("accepted", 1)
        port.publish("state", b"off", 1, False, 1)
        await others.until("delivered", b"off")
        assert not log.events
        port.stall(False)
        await log.until("delivered", b"on")
        await log.until("accepted", 1)

        port.stall(True)
        port.fail(keeps_state=True, silently=False)
        meter.news.clear()
        port.open(log)
        await meter.news.wait()  # CONNECT was sent
        other.publish("order", b"again", 1, False, 2)
        await others.until("accepted", 2)
        assert not log.events
        port.stall(False)
        await log.until("connected", True)
        await log.until("delivered", b"again")
        await port.close()
        await other.close()

    play(scene)


@versions
def test_a_device_goes_over_to_an_edge_and_back(version: int) -> None:
    async def scene(broker: Program) -> None:
        async with running("edge", f"--uplink={broker.mqtt}") as edge:
            port = new_port(Access(next(names), "run", "tracker", version), [broker.mqtt, edge.mqtt])
            log = await observing(port, "a")
            port.roam()
            await log.until("disconnected")
            await log.until("connected", False)
            port.publish("a", b"at the edge", 1, False, 1)
            await log.until("accepted", 1)
            port.roam()
            await log.until("connected", True)
            await log.until("delivered", b"at the edge")
            port.fail(keeps_state=True, silently=True)
            port.roam()  # carried away while it is off
            port.open(log)
            await log.until("connected", True)
            await port.close()

    play(scene)


def test_a_message_says_how_long_it_is_worth_something() -> None:
    async def scene(broker: Program) -> None:
        access = Access(next(names), "run", "lamp", will=Will("gone", b"lamp"))
        port, other = new_port(access, [broker.mqtt]), new_port(Access(next(names), "run", "remote"), [broker.mqtt])
        log, others = await observing(port, "order"), await observing(other, "gone")
        port.fail(keeps_state=True, silently=False)
        await others.until("delivered", b"lamp")
        other.publish("order", b"short", 1, False, 1, lifetime_s=1)
        other.publish("order", b"long", 1, False, 2)
        await others.until("accepted", 2)
        await asyncio.sleep(1.1)
        port.open(log)
        await log.until("connected", True)
        await log.until("delivered", b"long")
        assert log.payloads == [b"long"]
        await port.close()
        await other.close()

    play(scene)


@versions
def test_nothing_overtakes_what_waited_for_the_connection(version: int) -> None:
    async def scene(broker: Program) -> None:
        access = Access(next(names), "run", "lamp", version)
        port, other = new_port(access, [broker.mqtt]), new_port(Access(next(names), "run", "watch"), [broker.mqtt])
        others, log, numbers = await observing(other, "state"), await opened(port), count()

        def say(times: int) -> int:
            for number in islice(numbers, times):
                port.publish("state", b"%d" % number, 1, False, number)
            return number

        for _ in range(5):
            port.fail(keeps_state=True, silently=False)
            say(times=30)
            port.open(log)
            while ("connected", True) not in log.events:
                say(times=1)
                await asyncio.sleep(0.0002)
            await log.until("connected", True)
            await log.until("accepted", last := say(times=1))
        await others.until("delivered", b"%d" % last)
        assert others.payloads == [b"%d" % number for number in range(last + 1)]
        await port.close()
        await other.close()

    play(scene)


SESSION_PRESENT = bytes.fromhex("2003010000")
"""A CONNACK of MQTT 5."""


@asynccontextmanager
async def taciturn() -> AsyncIterator[tuple[Endpoint, asyncio.Queue[bytes]]]:
    """A server that answers CONNECT and nothing else: its address, and what each connection brought until it ended."""
    brought: asyncio.Queue[bytes] = asyncio.Queue()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(SESSION_PRESENT)
        with closing(writer):
            brought.put_nowait(await reader.read())

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield Endpoint("mqtt", *server.sockets[0].getsockname()), brought


def test_only_what_was_sent_counts_as_sent_again() -> None:
    async def scene() -> None:
        async with taciturn() as (address, _):
            port, log = new_port(Access("lamp", "run", "lamp"), [address]), Log()
            for ticket in range(30):
                port.publish("state", b"", 1, False, ticket)
            port.open(log)
            assert await log.until("resent") == ("resent",)
            await log.until("connected")
            port.publish("state", b"", 1, False, 30)
            port.fail(keeps_state=True, silently=False)
            port.publish("state", b"", 1, False, 31)
            port.open(log)
            assert await log.until("resent") == ("resent", *range(20))
            port.fail(keeps_state=False, silently=False)
            port.open(log)
            assert await log.until("resent") == ("resent",)
            await log.until("connected")
            port.publish("state", b"", 1, False, 32)
            port.fail(keeps_state=True, silently=False)
            port.open(log)
            assert await log.until("resent") == ("resent", 32)
            await port.close()

    asyncio.run(scene())


def test_mqtt_is_metered_to_the_byte() -> None:
    async def scene() -> None:
        async with taciturn() as (address, brought):
            meter = Tally()
            port, log = new_port(Access("lamp", "run", "lamp", meter=meter), [address]), Log()
            port.open(log)
            await log.until("connected")
            port.publish("state", b"on", 1, False, 1)
            await port.close()
            assert (meter.sessions, meter.received_bytes) == (1, len(SESSION_PRESENT))
            assert meter.sent_bytes == len(await brought.get())

    asyncio.run(scene())


# ---- CoAP


@pytest.mark.parametrize("go", ["sleep", "killed", "without power"])
def test_an_observer_that_comes_back_observes_anew(go: str) -> None:
    async def scene(broker: Program) -> None:
        port, other = (new_port(Access(next(names), "run", "lamp"), [broker.coap]) for _ in range(2))
        log, others = await observing(port, "a/b"), await opened(other)
        other.publish("a/b", b"1", 1, True, 1)
        await log.until("delivered", b"1")
        if go == "sleep":
            port.sleep()
        else:
            port.fail(keeps_state=True, silently=go == "without power")
        port.publish("a/b", b"0", 1, True, 5)
        await log.until("refused", 5, "the device is not connected")
        other.publish("a/b", b"2", 1, True, 2)
        await others.until("accepted", 2)
        assert not log.events
        port.open(log)
        await log.until("connected", False)
        port.subscribe("a/b", 1)
        await log.until("subscribed", "a/b")
        await log.until("stored", b"2")
        other.publish("a/b", b"3", 1, True, 3)
        await log.until("delivered", b"3")
        await port.close()
        await other.close()

    play(scene)


def test_what_a_device_says_before_it_sleeps_is_answered() -> None:
    async def scene(broker: Program) -> None:
        port, other = (new_port(Access(next(names), "run", "lamp"), [broker.coap]) for _ in range(2))
        log, others = await observing(port, "a"), await observing(other, "b")
        port.publish("b", b"so", 1, True, 1)
        port.publish("b", b"long", 1, True, 2)
        port.sleep()
        await log.until("accepted", 2)
        await others.until("delivered", b"long")
        other.publish("a", b"missed", 1, True, 3)
        await others.until("accepted", 3)
        port.open(log)
        await log.until("connected", False)
        port.publish("b", b"again", 1, True, 4)
        port.sleep()
        await port.close()
        await log.until("accepted", 4)
        assert not log.events
        await other.close()

    play(scene)


@pytest.mark.parametrize("then", ["it stays away", "it fails", "it comes back", "it is closed"])
def test_a_device_that_sleeps_waits_for_no_answer_for_long(then: str) -> None:
    async def scene(_: Program) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            files, tasks = _files(), len(asyncio.all_tasks())
            port = new_port(Access("lamp", "run", "lamp"), [Endpoint("coap", *server.getsockname())])
            log = await opened(port)
            port.publish("a", b"bye", 1, True, 1)
            began = time.monotonic()
            port.sleep()
            await asyncio.sleep(0.05)
            if then == "it fails":
                port.fail(keeps_state=True, silently=True)
            elif then == "it comes back":
                port.open(log)
                await log.until("connected", False)
            elif then == "it is closed":
                await port.close()
            await log.until("unanswered", 1, "PUT a: the device was gone before an answer came")
            assert time.monotonic() - began < 2.0
            await port.close()
            assert time.monotonic() - began < 2.0
            assert _files() == files
            assert len(asyncio.all_tasks()) == tasks

    play(scene)


def test_a_stalled_observer_reads_later() -> None:
    async def scene(broker: Program) -> None:
        port, other = (new_port(Access(next(names), "run", "lamp"), [broker.coap]) for _ in range(2))
        log, others = await observing(port, "a"), await opened(other)
        port.stall(True)
        other.publish("a", b"1", 1, True, 1)
        await others.until("accepted", 1)
        port.publish("b", b"1", 1, True, 2)
        other.subscribe("b", 1)
        await others.until("subscribed", "b")
        assert not log.events
        port.stall(False)
        await log.until("delivered", b"1")
        await port.close()
        await other.close()

    play(scene)


def test_an_observer_goes_over_to_an_edge_and_back() -> None:
    async def scene(broker: Program) -> None:
        async with running("edge", f"--uplink={broker.mqtt}") as edge:
            port = new_port(Access(next(names), "run", "tracker"), [broker.coap, edge.coap])
            log = await observing(port, "a")
            for payload in (b"1", b"2"):
                port.roam()
                await log.until("disconnected")
                await log.until("connected", False)
                port.subscribe("a", 1)
                await log.until("subscribed", "a")
                port.publish("a", payload, 1, True, 1)
                await log.until("delivered", payload)
            await port.close()

    play(scene)


def test_a_refresh_is_no_second_observation_and_finds_a_server_that_forgot() -> None:
    async def scene(broker: Program) -> None:
        port, other = (new_port(Access(next(names), "run", "lamp", keep_alive_s=0.1), [broker.coap]) for _ in range(2))
        log, others = await observing(port, "a"), await opened(other)
        for ticket in range(5):
            other.publish("a", b"%d" % ticket, 1, True, ticket)
            await log.until("delivered", b"%d" % ticket)
            await log.until("stored", b"%d" % ticket)
            assert ("delivered", b"%d" % ticket) not in log.events
        await broker.kill()
        again = await Program.start("broker", listen=(str(broker.mqtt), str(broker.coap)))
        broker.process = again.process
        await log.until("subscribed", "a")
        other.publish("a", b"6", 1, True, 6)
        await others.until("accepted", 6)
        await log.until("delivered", b"6")
        await port.close()
        await other.close()

    play(scene)


def test_coap_is_metered_to_the_byte_and_says_who_asks() -> None:
    async def scene(_: Program) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.setblocking(False)
            meter = Tally()
            address = Endpoint("coap", "127.0.0.1", server.getsockname()[1])
            port = new_port(Access("lamp", "run", "lamp", meter=meter), [address])
            await opened(port)
            port.publish("a/b", b"on", 1, True, 1)
            data = await asyncio.get_running_loop().sock_recv(server, 4096)
            assert (Option.URI_QUERY, b"ep=lamp-run") in decode(data).options
            assert (meter.sessions, meter.sent_bytes) == (1, len(data))
            port.fail(keeps_state=True, silently=False)
            await port.close()

    play(scene)


# ---- Serial


class Gateway:
    """The far end of a serial line, on the master of a pseudo-terminal; keeps its session over replugs."""

    def __init__(self) -> None:
        self.endpoint = GatewayEndpoint("house")
        self.session: Session | None = None
        self.published: list[bytes] = []
        self.heard = asyncio.Event()
        self.boot_ids: list[bytes] = []
        self.received_bytes = 0
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

    def order(self, payload: bytes) -> None:
        self.endpoint.deliver("order", payload, _now_ms(), qos=1)
        self.flush()

    def _read(self) -> None:
        data = os.read(self._ours, 4096)
        self.received_bytes += len(data)
        for event in self.endpoint.receive(data, _now_ms()):
            if isinstance(event, Greeted):
                boot_id = event.hello.boot_id
                if boot_id not in self.boot_ids:
                    self.boot_ids.append(boot_id)
                    self.session = self.endpoint.new_session(b"house-%d" % len(self.boot_ids))
                assert self.session is not None
                self.endpoint.welcome(self.session, _now_ms())
            elif isinstance(event, Received):
                if isinstance(event.frame, Publish):
                    self.published.append(event.frame.payload)
                    self.heard.set()
                self.endpoint.acknowledge(event, _now_ms())
        self.flush()


def test_a_pulled_plug_is_a_pause(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial, "RETRY_S", 0.01)

    async def scene() -> None:
        line, log, gateway, meter = tmp_path / "line", Log(), Gateway(), Tally()
        port = new_port(Access("relay-1", "run", "relay", meter=meter), [Line(str(line))])
        port.open(log)
        await log.until("disconnected")
        gateway.plug(line)
        await log.until("connected", False)
        port.subscribe("order", 1)
        await log.until("subscribed", "order")
        port.publish("state", b"one", 1, True, 11)
        await log.until("accepted", 11)
        gateway.order(b"on")
        await log.until("delivered", b"on")
        gateway.unplug()
        await log.until("disconnected")
        port.publish("state", b"two", 1, True, 12)
        gateway.plug(line)
        await log.until("connected", True)
        await log.until("accepted", 12)
        assert gateway.published == [b"one", b"two"]
        assert meter.sessions == 2
        assert meter.sent_bytes >= gateway.received_bytes > 0
        await port.close()
        gateway.unplug()

    asyncio.run(scene())


def test_a_serial_device_without_power_leaves_the_line_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serial, "RETRY_S", 0.01)

    async def scene() -> None:
        line, log, gateway = tmp_path / "line", Log(), Gateway()
        port = new_port(Access("relay-1", "run", "relay"), [Line(str(line))])
        port.open(log)
        await log.until("disconnected")
        port.fail(keeps_state=True, silently=True)
        gateway.plug(line)
        await asyncio.sleep(0.05)
        assert not gateway.received_bytes
        port.open(log)
        await log.until("connected", False)
        await port.close()
        gateway.unplug()

    asyncio.run(scene())


def test_a_serial_device_without_its_memory_is_a_new_boot(tmp_path: Path) -> None:
    async def scene() -> None:
        line, gateway = tmp_path / "line", Gateway()
        gateway.plug(line)
        port = new_port(Access("relay-1", "run", "relay"), [Line(str(line))])
        log = await opened(port)
        for stop in (port.sleep, lambda: port.fail(keeps_state=True, silently=True)):
            stop()
            port.publish("state", b"kept", 1, True, 1)
            port.open(log)
            await log.until("connected", True)
            await log.until("accepted", 1)
        port.fail(keeps_state=True, silently=True)
        port.publish("state", b"lost", 1, True, 2)
        port.fail(keeps_state=False, silently=True)
        port.open(log)
        await log.until("connected", False)
        port.publish("state", b"new", 1, True, 3)
        await log.until("accepted", 3)
        assert gateway.published == [b"kept", b"kept", b"new"]
        assert len(gateway.boot_ids) == 2
        await port.close()
        gateway.unplug()

    asyncio.run(scene())


def test_a_stalled_serial_device_reads_later(tmp_path: Path) -> None:
    async def scene() -> None:
        line, gateway = tmp_path / "line", Gateway()
        gateway.plug(line)
        port = new_port(Access("relay-1", "run", "relay"), [Line(str(line))])
        log = await opened(port)
        port.stall(True)
        gateway.order(b"on")
        port.publish("state", b"off", 1, True, 1)
        await gateway.heard.wait()
        assert not log.events
        port.stall(False)
        await log.until("delivered", b"on")
        await log.until("accepted", 1)
        with pytest.raises(NotImplementedError):
            port.roam()
        await port.close()
        gateway.unplug()

    asyncio.run(scene())


def test_a_line_may_be_one_of_more_than_a_thousand_files(tmp_path: Path) -> None:
    async def scene() -> None:
        line, gateway = tmp_path / "line", Gateway()
        gateway.plug(line)
        with open_files(1024):
            port = new_port(Access("relay-1", "run", "relay"), [Line(str(line))])
            await opened(port)
            await port.close()
        gateway.unplug()

    asyncio.run(scene())


@contextmanager
def open_files(number: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    files = [os.dup(0) for _ in range(number)]
    try:
        yield
    finally:
        for file in files:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


# ---- All


def test_nothing_answers_for_a_device_without_power() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as device:
        ours, _ = server.accept()
        with ours:
            silence(device)
            ours.send(b"anybody?")
            time.sleep(0.05)
            unacknowledged = fcntl.ioctl(ours, termios.TIOCOUTQ, b"\0" * 4)
            assert int.from_bytes(unacknowledged, sys.byteorder) == len(b"anybody?")


@pytest.mark.parametrize(("silently", "answer"), [(False, ConnectionRefusedError), (True, BlockingIOError)])
def test_nobody_refuses_datagrams_for_a_device_without_power(silently: bool, answer: type[OSError]) -> None:
    async def scene(_: Program) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
            server.bind(("127.0.0.1", 0))
            server.setblocking(False)
            port = new_port(Access("lamp", "run", "lamp"), [Endpoint("coap", *server.getsockname())])
            await opened(port)
            port.publish("a", b"on", 1, True, 1)
            _, device = await asyncio.get_running_loop().sock_recvfrom(server, 4096)
            server.connect(device)
            port.fail(keeps_state=True, silently=silently)
            server.send(b"anybody?")
            with pytest.raises(answer):
                server.recv(4096)
            await port.close()

    play(scene)


def _files() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


@pytest.mark.parametrize("protocol", ["mqtt", "mqtt 3.1.1", "coap", "serial"])
def test_devices_that_come_and_go_leave_nothing_behind(protocol: str, tmp_path: Path) -> None:
    async def scene(broker: Program) -> None:
        gateway = Gateway()
        gateway.plug(tmp_path / "line")
        address = {"coap": broker.coap, "serial": Line(str(tmp_path / "line"))}.get(protocol, broker.mqtt)
        files, tasks = _files(), len(asyncio.all_tasks())
        port, log = new_port(Access("x", "run", "lamp", 4 if "3" in protocol else 5), [address]), Log()
        for cycle in range(CYCLES):
            port.open(log)
            if cycle % 10 == 0:
                await log.until("connected")
                port.subscribe("a", 1)
            elif cycle % 3 == 0:  # in the midst of connecting
                await asyncio.sleep(0.001)
            port.publish("a", b"1", 1, True, cycle)
            port.fail(keeps_state=cycle % 7 == 0, silently=cycle % 2 == 0)
        assert _files() <= files + AT_MOST
        await port.close()
        await asyncio.sleep(0)
        assert _files() == files
        assert len(asyncio.all_tasks()) == tasks
        gateway.unplug()

    play(scene)


@pytest.mark.parametrize("go", ["sleep", "fail", "sleep without a connection"])
@pytest.mark.parametrize("protocol", ["mqtt", "coap"])
def test_the_radio_of_a_device_that_is_gone_is_off(protocol: str, go: str) -> None:
    async def scene(broker: Program) -> None:
        meter, log = Tally(), Log()
        port = new_port(Access(next(names), "run", "meter", meter=meter), [getattr(broker, protocol)])
        port.open(log)
        if "without" not in go:
            await log.until("connected", False)
        assert meter.is_on
        port.publish("a", b"bye", 1, True, 1)
        port.fail(keeps_state=True, silently=False) if go == "fail" else port.sleep()
        await asyncio.sleep(0.3)
        assert not meter.is_on
        await port.close()

    play(scene)


@pytest.mark.parametrize("protocol", ["mqtt", "coap"])
def test_sockets_are_made_where_they_are_to_be(protocol: str) -> None:
    if reason := obstacle():
        pytest.skip(reason)

    async def scene(broker: Program) -> None:
        with closing(Namespace.create()) as nowhere:
            address = getattr(broker, protocol)
            port, log = new_port(Access("lamp", "run", "lamp"), [address], nowhere.inside), Log()
            port.open(log)
            await log.until("disconnected")
            assert log.reasons == [f"{address}: Network is unreachable"]
            await port.close()

    play(scene)


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


async def _start(command: list[str]) -> asyncio.subprocess.Process:
    nowhere = asyncio.subprocess.DEVNULL
    return await asyncio.create_subprocess_exec(*command, stdout=nowhere, stderr=nowhere)


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port
