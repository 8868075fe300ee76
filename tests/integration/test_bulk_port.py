"""The client of a device in bulk, on a real socket, against a server that does what the test says."""

import asyncio
import fcntl
import socket
import termios
from array import array
from collections.abc import Callable, Iterator

import pytest

from firmware_sim.bulk.loop import Loop
from firmware_sim.bulk.port import BulkPort
from firmware_sim.devices.clock import SECOND_NS
from firmware_sim.devices.port import Access, Delivery
from oriole.wire.mqtt import (
    V5,
    ConnAck,
    Connect,
    Packet,
    PingReq,
    PubAck,
    Publish,
    ReasonCode,
    Splitter,
    SubAck,
    Subscribe,
    decode,
    encode,
)

WAIT_NS = 5 * SECOND_NS
KEEP_ALIVE_S = 2


class Owner:
    """Writes down what its port tells it."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def connected(self, resumed: bool) -> None:
        self.told.append(("connected", resumed))

    def disconnected(self, reason: str) -> None:
        self.told.append(("disconnected", reason))

    def subscribed(self, topic_filter: str) -> None:
        self.told.append(("subscribed", topic_filter))

    def delivered(self, delivery: Delivery) -> None:
        self.told.append(("delivered", delivery.payload, delivery.repeat, delivery.stored))

    def accepted(self, ticket: int) -> None:
        self.told.append(("accepted", ticket))

    def refused(self, ticket: int, reason: str) -> None:
        self.told.append(("refused", ticket))

    def unanswered(self, ticket: int | None, reason: str) -> None:
        self.told.append(("unanswered", ticket))

    def resent(self, tickets: list[int]) -> None:
        if tickets:
            self.told.append(("resent", *tickets))

    def answered(self, topic: str, payload: bytes | None) -> None:
        raise AssertionError("nothing was asked")


class Bench:
    """A port on a loop, and the server that it connects to."""

    def __init__(self) -> None:
        self.loop = Loop()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.setblocking(False)
        self.owner = Owner()
        access = Access("meter-1", "run", "meter", keep_alive_s=KEEP_ALIVE_S)
        self.port = BulkPort(self.loop, access, [self.listener.getsockname()], "127.0.0.3", seed=1)
        self.server: socket.socket | None = None
        self.splitter = Splitter()
        self.heard: list[Packet] = []

    def until(self, condition: Callable[[], object], timeout_ns: int = WAIT_NS) -> None:
        deadline_ns = self.loop.now_ns() + timeout_ns
        while not condition():
            assert self.loop.now_ns() < deadline_ns, (self.owner.told, self.heard)
            self.loop.run(self.loop.now_ns() + SECOND_NS // 100)
            self.serve()

    def serve(self) -> None:
        try:
            self.server, _ = self.listener.accept()
            self.server.setblocking(False)
            self.splitter = Splitter()
        except BlockingIOError:
            pass
        if self.server is not None:
            try:
                data = self.server.recv(1 << 16)
            except BlockingIOError:
                return
            self.heard += [decode(first, body, V5) for first, body in self.splitter.split(data)]

    def hears(self, kind: type[Packet]) -> Packet:
        """The next packet of a kind that the client sends."""
        self.until(lambda: any(isinstance(packet, kind) for packet in self.heard))
        found = next(packet for packet in self.heard if isinstance(packet, kind))
        self.heard.remove(found)
        return found

    def say(self, packet: Packet) -> None:
        assert self.server is not None
        self.server.sendall(encode(packet, V5))

    def welcome(self, resumed: bool = False) -> None:
        self.hears(Connect)
        self.say(ConnAck(resumed))
        self.until(lambda: ("connected", resumed) in self.owner.told)

    def roam_to(self, address: tuple[str, int]) -> None:
        """Have it connect elsewhere."""
        self.until(lambda: self.server is not None)
        self.port._addresses = [address]
        self.port.roam()
        self.owner.told.clear()

    def close(self) -> None:
        self.port.fail(keeps_state=True, silently=False)
        self.port._release_silent()
        for each in (self.listener, self.server):
            if each is not None:
                each.close()
        self.loop.close()


@pytest.fixture
def bench() -> Iterator[Bench]:
    bench = Bench()
    bench.port.open(bench.owner)
    yield bench
    bench.close()


def test_it_connects_from_its_source_subscribes_and_receives(bench: Bench) -> None:
    bench.welcome()
    assert bench.server is not None
    assert bench.server.getpeername()[0] == "127.0.0.3"
    bench.port.subscribe("a/+", 1)
    subscribe = bench.hears(Subscribe)
    assert isinstance(subscribe, Subscribe)
    bench.say(SubAck(subscribe.packet_identifier, [ReasonCode.GRANTED_QOS_1]))
    bench.say(Publish(b"a/b", b"new", 1, False, False, 9))
    bench.say(Publish(b"a/b", b"old", 1, True, True, 10))
    assert isinstance(answer := bench.hears(PubAck), PubAck)
    assert answer.packet_identifier == 9
    assert bench.owner.told[1:] == [
        ("subscribed", "a/+"),
        ("delivered", b"new", False, False),
        ("delivered", b"old", True, True),
    ]


def test_one_that_is_quiet_pings(bench: Bench) -> None:
    bench.welcome()
    bench.hears(PingReq)


def test_what_was_not_acknowledged_is_sent_again_and_told(bench: Bench) -> None:
    bench.welcome()
    bench.port.publish("a", b"1", 1, False, ticket=77)
    bench.hears(Publish)
    assert bench.server is not None
    bench.server.close()
    bench.server = None
    bench.until(lambda: any(what[0] == "disconnected" for what in bench.owner.told))
    bench.port.publish("a", b"2", 1, False, ticket=78)  # while it is away
    bench.welcome(resumed=True)
    again, later = bench.hears(Publish), bench.hears(Publish)
    assert isinstance(again, Publish)
    assert isinstance(later, Publish)
    assert (again.payload, again.dup, later.payload, later.dup) == (b"1", True, b"2", False)
    assert ("resent", 77) in bench.owner.told
    bench.say(PubAck(again.packet_identifier))
    bench.say(PubAck(later.packet_identifier, ReasonCode.QUOTA_EXCEEDED))
    bench.until(lambda: ("refused", 78) in bench.owner.told)
    assert ("accepted", 77) in bench.owner.told


def test_one_without_power_says_nothing_more(bench: Bench) -> None:
    bench.welcome()
    assert bench.server is not None
    bench.port.fail(keeps_state=True, silently=True)
    bench.server.sendall(encode(Publish(b"a", b"", 0), V5))
    bench.loop.run(bench.loop.now_ns() + SECOND_NS // 5)
    unacknowledged_bytes = array("i", [0])
    fcntl.ioctl(bench.server, termios.TIOCOUTQ, unacknowledged_bytes)
    assert unacknowledged_bytes[0]
    with pytest.raises(BlockingIOError):
        bench.server.recv(1)


def test_one_that_is_killed_is_gone_and_may_forget(bench: Bench) -> None:
    bench.welcome()
    assert bench.server is not None
    bench.port.fail(keeps_state=False, silently=False)
    bench.server.setblocking(True)
    assert bench.server.recv(1) == b""
    bench.server.close()
    bench.server = None
    bench.port.open(bench.owner)
    connect = bench.hears(Connect)
    assert isinstance(connect, Connect)
    assert connect.clean_start


def test_one_that_is_stalled_reads_later(bench: Bench) -> None:
    bench.welcome()
    bench.port.stall(True)
    bench.say(Publish(b"a", b"1", 0))
    bench.loop.run(bench.loop.now_ns() + SECOND_NS // 5)
    assert ("delivered", b"1", False, False) not in bench.owner.told
    bench.port.stall(False)
    bench.until(lambda: ("delivered", b"1", False, False) in bench.owner.told)


def test_a_slow_server_gets_everything(bench: Bench) -> None:
    bench.welcome()
    assert bench.port._socket is not None
    bench.port._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    payload = bytes(300_000)
    for ticket in range(3):
        bench.port.publish("a", payload, 1, False, ticket)
    bench.loop.run(bench.loop.now_ns() + SECOND_NS // 20)  # the server reads nothing meanwhile
    assert bench.port._unsent
    began_ns = bench.loop.now_ns()
    got = [bench.hears(Publish) for _ in range(3)]
    assert bench.loop.now_ns() - began_ns < KEEP_ALIVE_S * SECOND_NS / 2  # no ping had to push it
    assert all(isinstance(each, Publish) and each.payload == payload for each in got)


def test_one_that_roams_leaves_without_a_word(bench: Bench) -> None:
    bench.welcome()
    first = bench.server
    bench.port.roam()
    bench.owner.told.clear()
    bench.welcome()
    second = bench.server
    assert first is not None
    assert second is not None
    with pytest.raises(BlockingIOError):
        first.recv(1)
    bench.port.roam()  # of the connections that it left it keeps the last
    with pytest.raises(ConnectionResetError):
        first.recv(1)
    with pytest.raises(BlockingIOError):
        second.recv(1)
    asyncio.run(bench.port.close())
    with pytest.raises(ConnectionResetError):
        second.recv(1)
    for left in (first, second):
        left.close()


def test_one_that_finds_nobody_says_so_and_tries_again(bench: Bench) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        host, port = server.getsockname()
    bench.roam_to((host, port))
    refused = ("disconnected", f"{host}:{port}: Connection refused")
    bench.until(lambda: len(bench.owner.told) == 2)
    assert bench.owner.told == [refused, refused]


def test_one_that_nobody_answers_gives_up(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("firmware_sim.bulk.port.CONNECT_S", 1)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        crowd = [socket.socket() for _ in range(4)]
        for each in crowd:
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        bench.roam_to(full.getsockname())
        bench.until(lambda: any("timed out" in str(what[-1]) for what in bench.owner.told))
        for each in crowd:
            each.close()
