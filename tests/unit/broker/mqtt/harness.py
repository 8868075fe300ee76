"""An engine with MQTT on it, clients in memory, a clock that is set by hand, and journals that misbehave on purpose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from broker.core.channel import Channel
from broker.core.engine import Engine
from broker.core.promises import JournalError
from broker.core.questions import Question, Verdict
from broker.core.records import Delivery, Record
from broker.core.retained import Retained
from broker.core.router import Router
from broker.journal.batches import Batch, Batches
from broker.journal.codec import encode as encode_records
from broker.journal.codec import outline, split
from broker.journal.memory import MemoryJournal
from broker.journal.places import Places
from broker.mqtt.connection import Connection
from broker.mqtt.recollection import Recollection
from broker.mqtt.service import MqttService
from broker.mqtt.snapshots import session_records
from oriole.config import Limits
from oriole.wire.mqtt import (
    V5,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    Properties,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    ReasonCode,
    Splitter,
    SubAck,
    Subscribe,
    Subscription,
    decode,
    encode,
)

START = 1_000_000
"""The clock's first reading, in milliseconds: not 0, which is also the word for "no time"."""


def move(client_id: str, old: Bench, new: Bench) -> None:
    """The session of `client_id` on another bench, by way of bytes: its client away, or about to find out."""
    session = old.service.sessions[client_id]
    session.renumber()
    blobs = {1: encode_records(list(session_records(session, old.now)), 1, {}, 10**9 - old.now)}
    recollection = recollected(blobs, 10**9 - new.now)
    recollection.restore(new.service, new.now)


class Blobs(Batches):
    """Batches that are in memory, by position."""

    def __init__(self, blobs: dict[int, bytes], shift_ms: int) -> None:
        super().__init__(Path(), Places(), lambda frame, header: 0, lambda damage: None)
        self.blobs = blobs
        self.shift_ms = shift_ms

    def _read(self, position: int) -> Batch | None:
        return Batch(self.blobs[position], self.shift_ms) if position in self.blobs else None


def recollected(blobs: dict[int, bytes], shift_ms: int = 0, taken: dict[int, int] | None = None) -> Recollection:
    """What batches say, in the order of their positions; `taken`: where messages are that are not routed."""
    recollection = Recollection(Blobs(blobs, shift_ms))
    for position, blob in blobs.items():
        for record in outline(split(blob)[0], position, shift_ms):
            recollection.take(record)
    found = recollection.read()
    if taken is not None:
        taken.update(found)
    return recollection


class ReadableJournal:
    """Commits at once, and its messages can be read again, though not at once: see `arrive`.

    It may go on where another life ended, whose time is `shift_ms` ahead.
    """

    def __init__(self, blobs: dict[int, bytes] | None = None, shift_ms: int = 0) -> None:
        self.keeps = True
        self.is_behind = False
        self.blobs = blobs if blobs is not None else {}
        self.committed = self.safe = max(self.blobs, default=0)
        self.shift_ms = shift_ms
        self.reader = Blobs(self.blobs, shift_ms)
        self.archive = self
        self.taken: dict[int, int] = {}
        self._tells: list[Callable[[], None]] = []
        self._wanted: list[tuple[Any, ...]] = []

    def append(self, batch: Sequence[Record]) -> int:
        position = self.committed + 1
        self.blobs[position] = encode_records(batch, position, self.taken, self.shift_ms)
        self.committed = self.safe = position
        return position

    @property
    def begun(self) -> int:
        return self.committed + 1

    def when_safe(self, tell: Callable[[], None]) -> None:
        self._tells.append(tell)

    def fetch(self, *wanted: Any) -> None:
        self._wanted.append(wanted)

    def arrive(self, now: int) -> bool:
        """What was asked for comes; whether anything did."""
        tells, self._tells = self._tells, []
        for tell in tells:
            tell()
        wanted, self._wanted = self._wanted, []
        for recipient, first, places, arrived in wanted:
            arrived(self.read(recipient, first, places), now)
        return bool(tells or wanted)

    def read(self, recipient: int, first: int, places: Sequence[int]) -> list[Delivery | None]:
        return [self.reader.delivery(place, recipient, number) for number, place in enumerate(places, first)]


class LateJournal:
    """Takes batches and commits none of them until told to."""

    def __init__(self) -> None:
        self.keeps = True
        self.is_behind = False
        self.archive = None
        self.committed = 0
        self.appended = 0
        self.batches: list[Sequence[Record]] = []

    def append(self, batch: Sequence[Record]) -> int:
        self.batches.append(batch)
        self.appended += 1
        return self.appended

    def replay(self, position: int) -> Iterator[tuple[int, Sequence[Record]]]:
        return iter(list(enumerate(self.batches, 1))[position:])


class FailingJournal(MemoryJournal):
    """A memory journal whose disk can be full."""

    __slots__ = ("full",)

    def __init__(self) -> None:
        super().__init__(keep=True)
        self.full = False

    def append(self, batch: Sequence[Record]) -> int:
        if self.full:
            raise JournalError("no space left on device")
        return super().append(batch)


class Wire(Channel):
    """A channel without a socket. A peer that `reads` takes everything at once; one that does not takes nothing."""

    __slots__ = ("bench", "gone", "reads", "sent", "stream", "unread")

    def __init__(self, bench: Bench, peer: object) -> None:
        super().__init__(bench.engine, peer)
        self.bench = bench
        self.stream: Connection
        self.sent = bytearray()
        self.unread: list[bytes] = []
        self.reads = True
        self.gone = False

    def flush(self) -> None:
        if self.gone or not self.reads:
            return
        self.sent += b"".join(self.out)
        self.out.clear()
        self.engine.unsent(self, 0)
        if self.closing:
            self.lose()

    def resume(self) -> None:
        self.stream.resume(self.bench.now)
        while self.unread and not self.holds and not self.closing:
            self.stream.receive(self.unread.pop(0), self.bench.now)

    def feed(self, data: bytes) -> None:
        """Bytes from the peer; a held channel is not read, as the listener would not."""
        if self.holds:
            self.unread.append(data)
        elif not self.closing:
            self.stream.receive(data, self.bench.now)

    def lose(self) -> None:
        """The byte stream ends, with no word about why."""
        if not self.gone:
            self.gone = True
            self.out.clear()
            self.engine.unsent(self, 0)
            self.stream.closed(self.bench.now)


class Bench:
    """One node without sockets. `decide` answers questions; where it returns None they wait in `questions`."""

    def __init__(
        self,
        journal: LateJournal | MemoryJournal | ReadableJournal | None = None,
        decide: Callable[[Question], Verdict | None] = lambda question: Verdict(True),
        **limits: int,
    ) -> None:
        self.now = START
        self.journal = journal if journal is not None else MemoryJournal()
        self.engine = Engine(self.journal)
        self.limits = Limits(**limits)
        retained = Retained(self.limits.max_retained_messages, self.limits.max_retained_bytes)
        self.router = Router(self.engine, retained)
        names = (f"auto-{number}" for number in count(1))
        self.log: list[str] = []
        note = lambda event, client, peer: self.log.append(event)  # noqa: E731
        self.service = MqttService(self.router, self.limits, lambda: next(names), note)
        self.decide = decide
        self.questions: list[Question] = []

    def turn(self) -> None:
        """What the host does after channels were read."""
        while True:
            asked, self.engine.questions = self.engine.questions, []
            for question in asked:
                self.answer(question, self.decide(question))
            self.engine.turn(self.now)
            arrived = isinstance(self.journal, ReadableJournal) and self.journal.arrive(self.now)
            if not (self.engine.questions or self.engine.later or arrived):
                return

    def answer(self, question: Question, verdict: Verdict | None) -> None:
        """Give a verdict, or put the question aside."""
        if verdict is None:
            self.questions.append(question)
        else:
            self.engine.verdict(question.ticket, verdict, self.now)

    def settle(self, verdict: Verdict) -> None:
        """Answer everything that was put aside."""
        asked, self.questions = self.questions, []
        for question in asked:
            self.answer(question, verdict)
        self.turn()

    def commit(self, position: int | None = None) -> None:
        """The late journal has written, up to `position` or everything."""
        assert isinstance(self.journal, LateJournal)
        self.journal.committed = self.journal.appended if position is None else position
        self.engine.committed(self.journal.committed, self.now)
        self.turn()

    def fail(self) -> None:
        """The late journal has lost everything that it did not commit."""
        assert isinstance(self.journal, LateJournal)
        self.engine.failed(self.now)
        self.turn()

    def advance(self, milliseconds: int) -> None:
        """Let time pass, deadline by deadline."""
        end = self.now + milliseconds
        while (at := self.engine.next_deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            self.engine.tick(self.now)
            self.turn()
        self.now = end

    def client(self, version: int = V5, peer: object = ("127.0.0.1", 1)) -> Client:
        """A byte stream that has said nothing yet."""
        return Client(self, version, peer)

    def join(self, client_id: str, version: int = V5, clean_start: bool = True, **asked: object) -> Client:
        """A client that has sent CONNECT; `asked` are fields of `Connect` and, in MQTT 5, properties."""
        client = self.client(version)
        client.connect(client_id, clean_start, **asked)
        return client

    def member(self, client_id: str, version: int = V5, clean_start: bool = True, **asked: object) -> Client:
        """The same, with its CONNACK taken and found good."""
        client = self.join(client_id, version, clean_start, **asked)
        (connack,) = client.take()
        assert isinstance(connack, ConnAck)
        assert connack.reason_code == ReasonCode.SUCCESS
        return client

    def subscriber(self, client_id: str, filter: str, qos: int = 0, version: int = V5, **asked: Any) -> Client:
        """A member that has subscribed."""
        client = self.member(client_id, version, **asked)
        client.subscribe(filter, qos)
        return client


CONNECT_FIELDS = ("keep_alive", "username", "password", "will")


class Client:
    """The other end of a `Wire`: speaks packets, acknowledges nothing by itself."""

    def __init__(self, bench: Bench, version: int, peer: object) -> None:
        self.bench = bench
        self.version = version
        self.channel = Wire(bench, peer)
        self.connection = self.channel.stream = bench.service.open(self.channel, bench.now)
        self._splitter = Splitter()
        self._kept: list[Packet] = []
        self._identifier = 0

    @property
    def closed(self) -> bool:
        """The broker has ended the byte stream."""
        return self.channel.gone

    @property
    def session(self):  # type: ignore[no-untyped-def]
        """The session behind the connection."""
        return self.connection.session

    def send(self, *packets: Packet | bytes) -> None:
        """Send packets in one piece, and let the engine have its turn."""
        data = b"".join(p if isinstance(p, bytes) else encode(p, self.version) for p in packets)
        self.channel.feed(data)
        self.bench.turn()

    def connect(self, client_id: str, clean_start: bool = True, **asked: object) -> None:
        """Send CONNECT."""
        fields = {name: asked.pop(name) for name in CONNECT_FIELDS if name in asked}
        self.send(Connect(client_id, self.version, clean_start, properties=Properties(**asked), **fields))  # type: ignore[arg-type]

    def subscribe(self, filter: str, qos: int = 0, identifier: int = 0, **options: int) -> ReasonCode:
        """Subscribe to one filter with options of `Subscription`; the reason code. What else came stays for `take`."""
        properties = Properties(subscription_identifier=[identifier] if identifier else [])
        self.send(Subscribe(self.next_identifier(), [Subscription(filter, qos, **options)], properties))  # type: ignore[arg-type]
        before = self.take()
        (suback,) = [packet for packet in before if isinstance(packet, SubAck)]
        self._kept = [packet for packet in before if packet is not suback]
        return suback.reason_codes[0]

    def publish(
        self, topic: str, payload: bytes = b"x", qos: int = 0, retain: bool = False, **properties: object
    ) -> int:
        """Publish; the packet identifier."""
        identifier = self.next_identifier() if qos else 0
        packet = Publish(topic.encode(), payload, qos, retain, False, identifier, Properties(**properties))
        self.send(packet)
        return identifier

    def next_identifier(self) -> int:
        """A packet identifier that this client has not used yet."""
        self._identifier += 1
        return self._identifier

    def take(self) -> list[Packet]:
        """What came since the last time."""
        data, self.channel.sent = bytes(self.channel.sent), bytearray()
        kept, self._kept = self._kept, []
        return kept + [decode(first, body, self.version) for first, body in self._splitter.split(data)]

    def payloads(self) -> list[bytes]:
        """The payloads of what came; everything else that came must be acknowledgements."""
        packets = self.take()
        assert all(isinstance(p, Publish | PubAck | PubRec | PubRel | PubComp) for p in packets), packets
        return [p.payload for p in packets if isinstance(p, Publish)]

    def reason(self) -> ReasonCode | None:
        """The reason of the DISCONNECT that the broker closed with; None where it closed without one."""
        assert self.closed
        packets = self.take()
        return packets[-1].reason_code if packets and isinstance(packets[-1], Disconnect) else None

    def lose(self) -> None:
        """The network fails."""
        self.channel.lose()
        self.bench.turn()
