"""Compares what publishers were promised with what subscribers saw, and says what was lost, doubled or out of order.

It knows neither sockets nor brokers: notes go in, findings in words come out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from oriole.wire.topics import matches

Identity = tuple[str, int]
"""Publisher, and the number that it gave the message."""


@dataclass(slots=True)
class Sent:
    """A message as its publisher notes it; without payload it deletes a retained value, and nobody can tell it from
    another. `acknowledged_s` is when the broker took it over; None: it did not, or refused.
    """

    publisher: str
    number: int
    topic: str
    qos: int
    retain: bool
    payload: bytes
    sent_s: float
    acknowledged_s: float | None = None


@dataclass(slots=True, frozen=True)
class Seen:
    """A message as a subscriber gets it, repeats of a QoS 2 exchange left out."""

    at_s: float
    topic: str
    payload: bytes
    qos: int
    dup: bool
    retain: bool

    @property
    def identity(self) -> Identity:
        """See `padded`."""
        publisher, number, _ = self.payload.split(b" ", 2)
        return publisher.decode(), int(number)


def padded(publisher: str, number: int, padding_bytes: int) -> bytes:
    """A payload that says what it is."""
    return b"%s %d %s" % (publisher.encode(), number, b"." * padding_bytes)


@dataclass(slots=True)
class Notes:
    """A subscriber's: `granted` has the QoS of each filter, and when that was first acknowledged."""

    name: str
    granted: dict[str, tuple[int, float]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def granted_for(self, topic: str) -> tuple[int, float] | None:
        """The QoS for a topic, and since when."""
        return next((grant for filter, grant in self.granted.items() if matches(filter, topic)), None)

    def news(self) -> Iterator[Seen]:
        """What came because it was published then, and can be told from others."""
        return (seen for seen in self.seen if seen.payload and not seen.retain)


@dataclass(slots=True)
class Findings:
    """What went wrong, a line each."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    disordered: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """All of them."""
        return self.lost + self.doubled + self.disordered + self.other


Between = Callable[[float, float], str]
"""Which faults there were around a span of time, in words."""


def missing(sent: Iterable[Sent], notes: Notes) -> list[Sent]:
    """What was acknowledged, and sent after the subscription was, and did not come."""
    here = {seen.identity for seen in notes.news()}
    found = []
    for message in sent:
        if message.acknowledged_s is None or not message.payload or (message.publisher, message.number) in here:
            continue
        grant = notes.granted_for(message.topic)
        if grant is not None and grant[1] < message.sent_s:
            found.append(message)
    return found


def check(
    sent: Sequence[Sent], subscribers: Sequence[Notes], retained: Mapping[str, bytes], between: Between
) -> Findings:
    """All that can be found; `retained` is what a new subscriber got in the end."""
    findings = Findings()
    by_identity = {(message.publisher, message.number): message for message in sent}
    for notes in subscribers:
        for message in missing(sent, notes):
            assert message.acknowledged_s is not None
            around = between(message.sent_s, message.acknowledged_s)
            findings.lost.append(f"{notes.name} never got {told(message)}; {around}")
        findings.doubled += _doubled(by_identity, notes, between)
        findings.disordered += _disordered(by_identity, notes, between)
        findings.other += _strangers(by_identity, notes)
    findings.other += wrongly_retained(sent, retained, between)
    return findings


def told(message: Sent) -> str:
    """A message in words."""
    what = f"{message.publisher}'s message {message.number} on {message.topic}, QoS {message.qos}"
    if message.acknowledged_s is None:
        return f"{what}, sent at {message.sent_s:.3f} s"
    return f"{what}, sent at {message.sent_s:.3f} s, acknowledged at {message.acknowledged_s:.3f} s"


def _doubled(by_identity: Mapping[Identity, Sent], notes: Notes, between: Between) -> Iterator[str]:
    exact = [seen for seen in notes.news() if seen.qos == 2]
    for identity, count in Counter(seen.identity for seen in exact).items():
        if count > 1 and identity in by_identity:
            times = [seen.at_s for seen in exact if seen.identity == identity]
            moments = ", ".join(f"{at:.3f}" for at in times)
            around = between(by_identity[identity].sent_s, times[-1])
            yield f"{notes.name} got {told(by_identity[identity])}, {count} times, at {moments} s; {around}"


def _disordered(by_identity: Mapping[Identity, Sent], notes: Notes, between: Between) -> Iterator[str]:
    """First appearances, by publisher, topic, and QoS as it was published."""
    last: dict[tuple[str, str, int], Sent] = {}
    first_seen: dict[Identity, None] = {}
    for seen in notes.news():
        message = by_identity.get(seen.identity)
        if message is None or seen.identity in first_seen:
            continue
        first_seen[seen.identity] = None
        stream = message.publisher, message.topic, message.qos
        before = last.get(stream)
        if before is not None and before.number > message.number:
            around = between(message.sent_s, seen.at_s)
            yield f"{notes.name} got {told(message)}, after number {before.number}, at {seen.at_s:.3f} s; {around}"
        else:
            last[stream] = message


def _strangers(by_identity: Mapping[Identity, Sent], notes: Notes) -> Iterator[str]:
    """What nobody sent, or not so."""
    for seen in notes.news():
        message = by_identity.get(seen.identity)
        if message is None or (message.topic, message.payload) != (seen.topic, seen.payload):
            yield f"{notes.name} got {seen.payload[:30]!r} on {seen.topic}, at {seen.at_s:.3f} s, which nobody sent"
            continue
        grant = notes.granted_for(seen.topic)
        if grant is not None and seen.qos != min(grant[0], message.qos):
            yield f"{notes.name} got {told(message)}, with QoS {seen.qos}, and was granted {grant[0]}"


def wrongly_retained(sent: Iterable[Sent], retained: Mapping[str, bytes], between: Between) -> Iterator[str]:
    """Each retained topic has one publisher: its value is the last one acknowledged, or a later one that was not."""
    topics: dict[str, list[Sent]] = {}
    for message in sent:
        if message.retain:
            topics.setdefault(message.topic, []).append(message)
    for topic, messages in topics.items():
        last = max((index for index, each in enumerate(messages) if each.acknowledged_s is not None), default=-1)
        possible = {each.payload for each in messages[max(last, 0) :]} | ({b""} if last < 0 else set())
        found = retained.get(topic, b"")
        if found not in possible:
            message = messages[last]
            around = between(message.sent_s, message.acknowledged_s or message.sent_s)
            yield f"the retained value is {found[:20]!r}, and not {told(message)}; {around}"
