"""Whatever happened, its records make the node that was: the same sessions, owed the same, by the same packets."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.broker.mqtt.harness import START, Bench, Client, ReadableJournal, recollected

from broker.core import queue
from broker.core.message import Message
from broker.core.records import Accepted, Delivery, Opened, Owes, Record
from broker.mqtt.session import Session
from broker.mqtt.snapshots import Pieces, Wanted, node_records, pieces
from oriole.wire.mqtt import (
    V5,
    V311,
    Properties,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
)

LATER = 5_000
"""What the clock of the next life is ahead of the last one's by."""
TOPICS = ("a", "b/c")
NAMES = ("one", "two", "old")


def facts(message: Message, now: int) -> tuple[object, ...]:
    left = message.expires_at - now if message.expires_at else None
    return message.topic, message.payload, message.qos, message.retain, message.header, left


def outline(session: Session, now: int) -> dict[str, object]:
    """All of a session that has to survive."""
    return {
        "name": session.client_id,
        "number": session.number,
        "recorded": session.recorded,
        "expiry": session.expiry_interval,
        "ends": session.expires_at - now if session.expires_at else None,
        "subscriptions": {f: (s.options, s.identifier) for f, s in session.subscriptions.items()},
        "inflight": {
            identifier: delivery and (facts(delivery[0], now), *delivery[1:])
            for identifier, delivery in session.inflight.items()
        },
        "next": session.last_identifier % 0xFFFF + 1,
        "queue": [(facts(message, now), *granted) for message, *granted in waiting(session)],
        "bytes": session.queue.bytes if session.queue is not None else 0,
        "received": list(session.received or ()),
        "past": sorted({*session.past.unfinished} & {*session.subscriptions}) if session.past is not None else [],
        "will": session.will,
        "will in": session.will_at - now if session.will_at else None,
    }


def outlines(bench: Bench) -> list[dict[str, object]]:
    kept = (session for session in bench.service.sessions.values() if session.persistent)
    return sorted((outline(session, bench.now) for session in kept), key=lambda each: str(each["name"]))


def retained(bench: Bench) -> dict[bytes, tuple[object, ...]]:
    kept = (message for message in bench.router.retained if not 0 < message.expires_at <= bench.now)
    return {message.topic: facts(message, bench.now) for message in kept}


def waiting(session: Session) -> Iterator[Delivery]:
    """All that waits, in memory or not."""
    if session.queue is None:
        return
    held = dict(session.queue.in_memory())
    for number in range(session.queue.first, session.queue.end):
        delivery = held.get(number)
        if delivery is None:
            journal = session.router.engine.promises.archive
            assert isinstance(journal, ReadableJournal)
            (delivery,) = journal.read(session.number, number, session.queue.places(number, 1))
        assert delivery is not None
        yield delivery


def reborn(blobs: dict[int, bytes], now: int, limits: dict[str, int]) -> Bench:
    """A node that reads these batches, of a life whose clock read `now` last; no time has passed."""
    shift_ms = now - START - LATER
    journal = ReadableJournal(blobs, shift_ms)
    recollection = recollected(blobs, shift_ms, journal.taken)
    bench = Bench(journal, **limits)
    bench.now = START + LATER
    recollection.restore(bench.service, bench.now)
    bench.turn()
    return bench


@pytest.fixture(autouse=True, scope="module")
def little_memory() -> Iterator[None]:
    """One or two messages fill a head, and hardly more are kept for those who are there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "HEAD_BYTES", 300)
        patch.setattr(queue, "KEEP_BYTES", 600)
        patch.setattr(queue, "PORTION_BYTES", 600)
        yield


class Story:
    """Clients that do as they are told, on one bench."""

    def __init__(self) -> None:
        self.limits = {"receive_maximum": 4, "max_queue_messages": 16, "max_session_expiry_s": 1000}
        self.journal = ReadableJournal()
        self.bench = Bench(self.journal, **self.limits)
        self.here: dict[str, Client] = {}
        self.unanswered: dict[str, list[Any]] = {}
        self.identifiers = 0
        self.since: int | None = None
        self.work: Pieces = pieces(self.bench.service, 1, lambda: self.bench.now)
        self.wanted: Wanted | None = None
        self.is_writing = True

    def portion(self) -> None:
        """Write down the next part of what lives; what was before the first is no longer needed after the last."""
        if self.since is None:
            self.since = self.journal.committed
        portion: list[Record] | Wanted | None
        if self.wanted is None:
            portion = next(self.work, None)
        else:  # what it asked for comes much later
            read = self.journal.read(self.wanted.session, self.wanted.first, self.wanted.places)
            portion = self.work.send(read)
        self.is_writing = portion is not None
        self.wanted = portion if isinstance(portion, Wanted) else None
        if isinstance(portion, list):
            self.bench.engine.promises.records += portion
        self.bench.turn()

    def join(self, name: str, clean: bool, will: bool) -> None:
        if self.is_here(name):
            self.leave(name)
        version = V311 if name == "old" else V5
        testament = None
        if will:
            properties = Properties(will_delay_interval=30) if version == V5 else Properties()
            testament = Will(b"wills", name.encode(), 1, False, properties)
        asked = {} if version == V311 else {"session_expiry_interval": 500, "receive_maximum": 3}
        self.here[name] = self.bench.join(name, version, clean_start=clean, will=testament, **asked)
        self.unanswered[name] = []
        self.listen(name)

    def leave(self, name: str) -> None:
        if self.is_here(name):
            self.here.pop(name).lose()

    def is_here(self, name: str) -> bool:
        """It may have been thrown out, as who sends more than Receive Maximum."""
        if name in self.here and self.here[name].closed:
            del self.here[name]
        return name in self.here

    def listen(self, name: str) -> None:
        if self.is_here(name):
            taken = self.here[name].take()
            self.unanswered[name] += [packet for packet in taken if isinstance(packet, Publish | PubRel | PubRec)]

    def answer(self, name: str, count: int, from_the_end: bool) -> None:
        self.listen(name)
        waiting = self.unanswered.get(name, [])
        for _ in range(min(count, len(waiting)) if self.is_here(name) else 0):
            packet = waiting.pop(-1 if from_the_end else 0)
            if not self.is_here(name):
                return
            if isinstance(packet, PubRel):
                self.here[name].send(PubComp(packet.packet_identifier))
            elif isinstance(packet, PubRec):
                self.here[name].send(PubRel(packet.packet_identifier))
            elif packet.qos:
                kind = PubAck if packet.qos == 1 else PubRec
                self.here[name].send(kind(packet.packet_identifier))
            self.listen(name)

    def publish(self, name: str, topic: str, qos: int, retain: bool, lifetime_s: int, count: int) -> None:
        for _ in range(count):
            if not self.is_here(name):
                self.join(name, False, False)
            self.identifiers += 1
            payload = b"" if retain and self.identifiers % 4 == 0 else b"%d" % self.identifiers
            properties = (
                Properties(message_expiry_interval=lifetime_s) if lifetime_s and name != "old" else Properties()
            )
            identifier = self.identifiers if qos else 0
            self.here[name].send(
                Publish(topic.encode(), payload, qos, retain, packet_identifier=identifier, properties=properties)
            )
        self.listen(name)

    def miss(self, name: str, topic: str, qos: int, count: int, returns: bool) -> None:
        """Be away while somebody else publishes."""
        self.leave(name)
        self.publish(NAMES[NAMES.index(name) - 1], topic, qos, False, 0, count)
        if returns:
            self.join(name, False, False)

    def burst(self, name: str, topic: str, qos: int, count: int) -> None:
        """Several in one read, all alike."""
        if not self.is_here(name):
            self.join(name, False, False)
        packets = []
        for _ in range(count):
            self.identifiers += 1
            payload = b"%06d" % self.identifiers
            packets.append(Publish(topic.encode(), payload, qos, packet_identifier=self.identifiers))
        self.here[name].send(*packets)
        self.listen(name)

    def subscribe(self, name: str, filter: str, qos: int, no_local: bool = False) -> None:
        if self.is_here(name):
            no_local = no_local and name != "old"
            self.here[name].send(Subscribe(1, [Subscription(filter, qos, no_local=no_local)]))
            self.listen(name)

    def unsubscribe(self, name: str, filter: str) -> None:
        if self.is_here(name):
            self.here[name].send(Unsubscribe(1, [filter]))
            self.listen(name)

    def wait(self, seconds: int) -> None:
        self.bench.advance(seconds * 1000)


names = st.sampled_from(NAMES)
filters = st.sampled_from(("a", "b/c", "#", "b/+"))
steps = st.one_of(
    st.tuples(st.just("join"), names, st.booleans(), st.booleans()),
    st.tuples(st.just("leave"), names),
    st.tuples(st.just("subscribe"), names, filters, st.integers(0, 2), st.booleans()),
    st.tuples(st.just("burst"), names, st.sampled_from(TOPICS), st.integers(1, 2), st.integers(2, 4)),
    st.tuples(st.just("unsubscribe"), names, filters),
    st.tuples(
        st.just("publish"), names, st.sampled_from(TOPICS), st.integers(0, 2), st.booleans(),
        st.sampled_from((0, 0, 2, 60)), st.integers(1, 5),
    ),
    st.tuples(
        st.just("miss"), names, st.sampled_from(TOPICS), st.integers(1, 2), st.integers(3, 9), st.booleans()
    ),
    st.tuples(st.just("answer"), names, st.integers(1, 9), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from((1, 20, 300))),
)  # fmt: skip
portions = st.tuples(st.just("portion"))


def told(script: list[tuple[Any, ...]]) -> Story:
    story = Story()
    for name in NAMES:
        story.join(name, False, False)
        story.subscribe(name, "#", 2)
    for verb, *rest in script:
        getattr(story, verb)(*rest)
    while story.since is not None and story.is_writing:
        story.portion()
    for name in NAMES:
        story.leave(name)
    return story


@settings(deadline=None)
@given(st.lists(steps, max_size=25))
def test_what_was_recorded_makes_the_node_that_was(script: list[tuple[Any, ...]]) -> None:
    story = told(script)
    again = reborn({**story.journal.blobs}, story.bench.now, story.limits)
    assert outlines(again) == outlines(story.bench)
    assert retained(again) == retained(story.bench)


@settings(deadline=None)
@given(st.lists(steps, max_size=25))
def test_a_snapshot_voids_all_that_led_to_it_but_for_what_waits(script: list[tuple[Any, ...]]) -> None:
    story = told(script)
    strange = [Opened(90, "stranger", None, 500, 9, None), Accepted([Message(b"strange", b"x", 1)], is_kept=True)]
    told_by = [*strange, Owes(Message(b"strange", b"x", 1), (90, 1, False, (), 1))]
    story.bench.engine.promises.records += told_by
    story.bench.turn()
    story.bench.engine.promises.write_anew([*node_records(story.bench.service, story.bench.now)])
    again = reborn({**story.journal.blobs}, story.bench.now, story.limits)
    assert outlines(again) == outlines(story.bench)
    assert retained(again) == retained(story.bench)


@settings(deadline=None)
@given(st.lists(st.one_of(steps, portions), max_size=30))
def test_what_was_written_again_bit_by_bit_replaces_all_before(script: list[tuple[Any, ...]]) -> None:
    story = told(script)
    since = {position: blob for position, blob in story.journal.blobs.items() if position > (story.since or 0)}
    again = reborn(since, story.bench.now, story.limits)
    assert outlines(again) == outlines(story.bench)
    assert retained(again) == retained(story.bench)
