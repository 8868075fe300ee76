"""Sockets and the loop, for real, on loopback: what arrives, what is held, how it ends."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Awaitable, Callable, Iterator

import pytest

from broker.core.channel import Channel
from broker.core.engine import Engine
from broker.core.pressure import HIGH_WATER_BYTES
from broker.core.questions import Action, Permission, Question, Verdict
from broker.journal.memory import MemoryJournal
from broker.listeners import tcp
from broker.listeners.host import Host
from broker.listeners.loop import Loop
from broker.listeners.tcp import TcpChannel, TcpListener
from oriole.urls import Listener


class Echo:
    """A stream that notes what comes, answers in capitals, and closes at "bye"."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.heard = b""
        self.ended = 0

    def receive(self, data: bytes, now: int) -> None:
        self.heard += data
        self.channel.send(data.upper())
        if data.endswith(b"hold"):
            self.channel.hold()
        if data.endswith(b"bye"):
            self.channel.close()

    def resume(self, now: int) -> None: ...

    def closed(self, now: int) -> None:
        self.ended += 1


class Yard:
    """A listener on a loop, its streams, and clients on ordinary sockets."""

    def __init__(self, loop: Loop, decide: Callable[[Question], object]) -> None:
        self.loop = loop
        self.engine = Engine(MemoryJournal())
        self.host = Host(self.engine, loop, decide)  # type: ignore[arg-type]
        self.streams: list[Echo] = []
        self.listener = TcpListener(self.host, Listener("mqtt", "127.0.0.1", 0), self.open)
        (self.address,) = self.listener.open()
        self.clients: list[socket.socket] = []

    def open(self, channel: Channel, now: int) -> Echo:
        self.streams.append(Echo(channel))
        return self.streams[-1]

    def client(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.address.port), timeout=2)
        client.setblocking(False)
        self.clients.append(client)
        self.until(lambda: len(self.streams) == len(self.clients))
        return client

    def until(self, condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
        """Run the loop until `condition` holds."""

        async def wait() -> None:
            end = self.loop.time() + timeout_s
            while not condition():
                assert self.loop.time() < end, "it did not come to that"
                await asyncio.sleep(0.002)

        self.loop.run_until_complete(wait())

    def read(self, client: socket.socket, wanted: int) -> bytes:
        """`wanted` bytes from a client's socket, or what came until it was closed."""

        async def gather() -> bytes:
            data = b""
            while len(data) < wanted and (piece := await self.loop.sock_recv(client, 1 << 16)):
                data += piece
            return data

        return self.loop.run_until_complete(asyncio.wait_for(gather(), 5))


@pytest.fixture
def yard(monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    monkeypatch.setattr(tcp, "LINGER_S", 0.1)
    monkeypatch.setattr(tcp, "HELD_LINGER_S", 0.1)
    loop = Loop()
    yard = Yard(loop, lambda question: Verdict(True))
    yield yard
    yard.listener.close()
    for client in yard.clients:
        client.close()
    yard.until(lambda: all(stream.ended for stream in yard.streams))
    yard.host.close()
    loop.close()


def test_bytes_go_in_and_out(yard: Yard) -> None:
    first, second = yard.client(), yard.client()
    first.send(b"abc")
    second.send(b"xyz")
    assert (yard.read(first, 3), yard.read(second, 3)) == (b"ABC", b"XYZ")
    assert [stream.channel.peer[0] for stream in yard.streams] == ["127.0.0.1"] * 2  # type: ignore[index]
    assert [stream.channel.size for stream in yard.streams] == [0, 0]


def test_a_held_channel_is_not_read_until_it_is_released(yard: Yard) -> None:
    client = yard.client()
    (stream,) = yard.streams
    client.send(b"hold")
    yard.until(lambda: stream.heard == b"hold")
    client.send(b"more")
    yard.loop.run_until_complete(asyncio.sleep(0.02))
    assert stream.heard == b"hold"
    stream.channel.release()
    yard.host.wake()
    yard.until(lambda: stream.heard == b"holdmore")


def test_what_a_slow_reader_leaves_is_kept_in_order_and_counted(yard: Yard) -> None:
    client = yard.client()
    (stream,) = yard.streams
    pieces = [bytes((number,)) * 100_000 for number in range(1, 60)]
    for piece in pieces:
        stream.channel.send(piece)
        yard.host.wake()
        yard.loop.run_until_complete(asyncio.sleep(0))
    assert stream.channel.size > HIGH_WATER_BYTES
    assert yard.read(client, 5_900_000) == b"".join(pieces)
    yard.until(lambda: stream.channel.size == 0)


def test_the_last_words_arrive_although_the_peer_had_more_to_say(yard: Yard) -> None:
    client = yard.client()
    client.send(b"x" * 50_000 + b"bye")
    client.send(b"unheard")
    assert yard.read(client, 1 << 20).endswith(b"BYE")
    yard.until(lambda: yard.streams[0].ended == 1)
    assert b"unheard" not in yard.streams[0].heard


def test_a_peer_that_does_not_read_its_last_words_is_dropped_all_the_same(yard: Yard) -> None:
    yard.client()
    (stream,) = yard.streams
    stream.channel.send(bytes(8 << 20))
    stream.channel.close()
    yard.host.wake()
    yard.until(lambda: stream.ended == 1)


@pytest.mark.parametrize("reset", [False, True])
def test_a_peer_that_goes_is_noticed_once(yard: Yard, reset: bool) -> None:
    client = yard.client()
    if reset:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    client.close()
    yard.until(lambda: yard.streams[0].ended == 1)
    yard.streams[0].channel.send(b"too late")
    yard.streams[0].channel.close()
    yard.host.turn()
    assert yard.streams[0].ended == 1


def test_a_taken_port(yard: Yard) -> None:
    second = TcpListener(yard.host, yard.address, yard.open)
    with pytest.raises(OSError, match="in use"):
        second.open()
    second.close()


# -- the host ----------------------------------------------------------------------------------------------------------


async def _later(answer: object) -> Verdict:
    await asyncio.sleep(0)
    if isinstance(answer, Exception):
        raise answer
    assert isinstance(answer, Verdict)
    return answer


def _raise(error: Exception) -> Verdict:
    raise error


@pytest.mark.parametrize(
    ("decide", "allowed"),
    [
        (lambda question: Verdict(True), True),
        (lambda question: _later(Verdict(True)), True),
        (lambda question: _later(RuntimeError("the directory is down")), False),
        (lambda question: _raise(RuntimeError("the directory is down")), False),
    ],
)
def test_every_question_is_answered(decide: Callable[[Question], Verdict | Awaitable[Verdict]], allowed: bool) -> None:
    """At once or later, by a verdict or, where the authority fails, by a refusal; also one that a turn brings up."""
    loop = Loop()
    engine = Engine(MemoryJournal())
    host = Host(engine, loop, decide)
    verdicts: list[bool] = []

    class Asking(Channel):
        def resume(self) -> None:
            ticket = engine.ticket(lambda verdict, now: verdicts.append(verdict.allowed))
            engine.questions.append(Permission(ticket, "a", None, Action.PUBLISH, "t"))

    channel = Asking(engine, None)
    channel.hold()
    channel.release()
    host.wake()
    loop.run_until_complete(asyncio.sleep(0.02))
    host.close()
    loop.close()
    assert verdicts == [allowed]


def test_what_a_peer_said_before_it_was_gone_is_heard(yard: Yard) -> None:
    """It closes with unread bytes in its socket, which resets the connection: the next write fails, and what it had
    said, acknowledgements perhaps, lies in ours.
    """
    client = yard.client()
    (stream,) = yard.streams
    stream.channel.send(b"unread")
    yard.host.wake()
    yard.until(lambda: bool(select.select([client], [], [], 0)[0]))
    client.send(b"ack")
    client.close()
    stream.channel.send(b"more")
    stream.channel.flush()
    stream.channel.flush()
    assert (stream.heard, stream.ended) == (b"", 0)
    yard.until(lambda: stream.ended == 1)
    assert stream.heard == b"ack"
    assert stream.channel.size == 0


def test_a_held_peer_that_is_gone_is_found_by_the_next_write(yard: Yard) -> None:
    client = yard.client()
    (stream,) = yard.streams
    client.send(b"hold")
    yard.until(lambda: stream.heard == b"hold")
    client.close()  # with the answer unread
    for _ in range(2):
        stream.channel.send(b"more")
        yard.host.wake()
        yard.loop.run_until_complete(asyncio.sleep(0))
    yard.until(lambda: stream.ended == 1)


@pytest.mark.parametrize("reset", [False, True])
def test_a_held_peer_that_is_gone_is_found_by_itself(yard: Yard, reset: bool) -> None:
    """Or publishers that wait for a full queue and leave would use up all files."""
    client = yard.client()
    (stream,) = yard.streams
    client.send(b"hold")
    yard.until(lambda: stream.heard == b"hold")
    if not reset:
        assert yard.read(client, 4) == b"HOLD"
    client.close()
    yard.until(lambda: stream.ended == 1)


def test_a_held_peer_that_left_is_still_heard_when_the_hold_was_short(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tcp, "HELD_LINGER_S", 60)
    client = yard.client()
    (stream,) = yard.streams
    client.send(b"hold")
    yard.until(lambda: stream.heard == b"hold")
    client.send(b"last words")
    client.close()
    yard.loop.run_until_complete(asyncio.sleep(0.02))
    stream.channel.release()
    yard.host.wake()
    yard.until(lambda: stream.ended == 1)
    assert stream.heard == b"holdlast words"


def test_a_peer_that_left_is_heard_to_its_end_by_holds_that_are_short(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many there are: each has its own time."""
    monkeypatch.setattr(tcp, "HELD_LINGER_S", 0.2)
    monkeypatch.setattr(tcp, "READ_BYTES", 4)
    client = yard.client()
    (stream,) = yard.streams
    client.send(b"hold" * 8 + b"last")
    client.shutdown(socket.SHUT_WR)
    for number in range(1, 9):
        yard.until(lambda number=number: stream.heard == b"hold" * number)  # type: ignore[misc]
        yard.loop.run_until_complete(asyncio.sleep(0.05))
        stream.channel.release()
        yard.host.wake()
    yard.until(lambda: stream.ended == 1)
    assert stream.heard == b"hold" * 8 + b"last"


def test_a_channel_that_fails_is_closed_and_the_others_of_its_turn_are_written(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    clients = [yard.client() for _ in range(4)]
    flush = TcpChannel.flush

    def failing(channel: TcpChannel) -> None:
        if channel is yard.streams[1].channel:
            raise MemoryError
        flush(channel)

    monkeypatch.setattr(TcpChannel, "flush", failing)
    for stream in yard.streams:
        stream.channel.send(b"x")
    yard.host.wake()
    assert [yard.read(client, 1) for client in clients] == [b"x", b"", b"x", b"x"]
    assert [stream.ended for stream in yard.streams] == [0, 1, 0, 0]
