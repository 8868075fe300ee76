"""Compares what publishers were promised with what subscribers saw, and says what was lost, doubled or out of order.

It knows neither sockets nor nodes: notes go in, findings in words come out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from faults.schedule import CENTRE
from oriole.wire.topics import matches

Identity = tuple[str, int]
"""Publisher, and the number that it gave the message."""
EVERYBODYS = "r/all/"
"""Retained topics that all publishers set, wherever they are. Which of two values an edge gets to see is up to chance,
so nothing on them counts as lost there, or as late."""


@dataclass(slots=True)
class Sent:
    """A message as its publisher notes it; without payload it deletes a retained value, and nobody can tell it from
    another.

    Attributes:
        node: where it was published.
        acknowledged_s: when that node took it over; None: it did not, or refused.
        lifetime_s: after which it is worth nothing; None: it is for ever.
        repeats: how often it may have been published again with QoS 1, so that it may be taken for another one.
        is_withdrawn: it is a will, and its client came back in time.
    """

    publisher: str
    number: int
    topic: str
    qos: int
    retain: bool
    payload: bytes
    sent_s: float
    node: str = CENTRE
    acknowledged_s: float | None = None
    lifetime_s: int | None = None
    repeats: int = 0
    is_withdrawn: bool = False

    @property
    def identity(self) -> Identity:
        """What tells it from others."""
        return self.publisher, self.number

    @property
    def is_short_lived(self) -> bool:
        """It may end without having been seen."""
        return self.lifetime_s is not None and self.lifetime_s < SHORT_S


@dataclass(slots=True, frozen=True)
class Seen:
    """A message as a subscriber gets it, repeats of a QoS 2 exchange left out."""

    at_s: float
    topic: str
    payload: bytes
    qos: int
    dup: bool
    retain: bool
    packet_identifier: int = 0

    @property
    def identity(self) -> Identity:
        """See `padded`."""
        publisher, number, _ = self.payload.split(b" ", 2)
        return publisher.decode(), int(number)

    @property
    def is_news(self) -> bool:
        """It came because it was published then, and can be told from others."""
        return bool(self.payload) and not self.retain


def padded(publisher: str, number: int, padding_bytes: int) -> bytes:
    """A payload that says what it is."""
    return b"%s %d %s" % (publisher.encode(), number, b"." * padding_bytes)


@dataclass(slots=True)
class Notes:
    """A subscriber's, at a node: `granted` has the QoS of each filter, and when that was first acknowledged; `absences`
    when it was not connected, from and to; `ends` when its node was killed, and
    since when that may not have got written down what it did.
    """

    name: str
    node: str = CENTRE
    granted: dict[str, tuple[int, float]] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)
    absences: list[tuple[float, float]] = field(default_factory=list)
    ends: list[tuple[float, float]] = field(default_factory=list)
    here: dict[Identity, str] = field(default_factory=dict)

    def add(self, seen: Seen) -> None:
        """Note a message. While an edge waits for what its centre has retained, it takes news for that, too."""
        self.seen.append(seen)
        if seen.is_news or (seen.payload and self.node != CENTRE):
            self.here[seen.identity] = seen.topic

    def granted_for(self, topic: str) -> tuple[int, float] | None:
        """The QoS for a topic, and since when."""
        return next((grant for filter, grant in self.granted.items() if matches(filter, topic)), None)

    def news(self) -> Iterator[Seen]:
        """See `Seen`."""
        return (seen for seen in self.seen if seen.is_news)


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
UNREAD_S = 1.0
"""What a node sent may be read here so long after its end."""
SHORT_S = 60
"""A lifetime shorter than this may end within a run."""


def _may_be_outdone(message: Sent, notes: Notes) -> bool:
    return notes.node != CENTRE and message.topic.startswith(EVERYBODYS)


def missing(sent: Iterable[Sent], notes: Notes) -> list[Sent]:
    """What was acknowledged, and sent after the subscription was, and did not come."""
    found = []
    for message in sent:
        if message.acknowledged_s is None or not message.payload or message.identity in notes.here:
            continue
        if message.is_short_lived or _may_be_outdone(message, notes):
            continue
        grant = notes.granted_for(message.topic)
        if grant is not None and grant[1] < message.sent_s:
            found.append(message)
    return found


def check(sent: Sequence[Sent], subscribers: Sequence[Notes], between: Between) -> Findings:
    """All that can be found in what was sent and seen."""
    findings = Findings()
    by_identity = {message.identity: message for message in sent}
    for notes in subscribers:
        for message in missing(sent, notes):
            assert message.acknowledged_s is not None
            around = between(message.sent_s, message.acknowledged_s)
            findings.lost.append(f"{notes.name} never got {told(message)}; {around}")
        findings.doubled += _doubled(by_identity, notes, between)
        findings.disordered += _disordered(by_identity, notes, between)
        findings.other += _strangers(by_identity, notes)
        findings.other += _late(by_identity, notes)
    return findings


def told(message: Sent) -> str:
    """A message in words."""
    what = f"{message.publisher}'s message {message.number} on {message.topic}, QoS {message.qos}, at {message.node}"
    if message.acknowledged_s is None:
        return f"{what}, sent at {message.sent_s:.3f} s"
    return f"{what}, sent at {message.sent_s:.3f} s, acknowledged at {message.acknowledged_s:.3f} s"


def _doubled(by_identity: Mapping[Identity, Sent], notes: Notes, between: Between) -> Iterator[str]:
    sights: dict[Identity, list[Seen]] = {}
    for seen in notes.news():
        sights.setdefault(seen.identity, []).append(seen)
    for identity, same in sights.items():
        effects = [seen for index, seen in enumerate(same) if not _is_redelivery(seen, same[:index], notes)]
        if identity in by_identity and len(effects) > 1 + by_identity[identity].repeats:
            moments = ", ".join(f"{seen.at_s:.3f}" for seen in effects)
            around = between(by_identity[identity].sent_s, effects[-1].at_s)
            yield f"{notes.name} got {told(by_identity[identity])}, {len(effects)} times, at {moments} s; {around}"


def _is_redelivery(seen: Seen, earlier: list[Seen], notes: Notes) -> bool:
    """Whether it is the subscriber's own connection that makes a message with QoS 1 come twice: it has DUP, or the
    packet identifier that it had before; or its node was killed then, and forgot that it had sent it.
    """
    is_forgotten = any(begin < seen.at_s < end + UNREAD_S for begin, end in notes.ends)
    is_same = any(seen.packet_identifier == before.packet_identifier for before in earlier)
    return seen.qos == 1 and (seen.dup or is_same or is_forgotten)


def _disordered(by_identity: Mapping[Identity, Sent], notes: Notes, between: Between) -> Iterator[str]:
    """First appearances, by publisher, topic, and QoS as it was published. What ended early, and was then published
    again for want of an answer, may come behind others.
    """
    last: dict[tuple[str, str, int], Sent] = {}
    first_seen: dict[Identity, None] = {}
    for seen in notes.news():
        message = by_identity.get(seen.identity)
        if message is None or seen.identity in first_seen or message.is_short_lived or _may_be_outdone(message, notes):
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
    """What nobody sent, or not so, or not in the end."""
    for seen in notes.news():
        message = by_identity.get(seen.identity)
        if message is None or (message.topic, message.payload) != (seen.topic, seen.payload):
            yield f"{notes.name} got {seen.payload[:30]!r} on {seen.topic}, at {seen.at_s:.3f} s, which nobody sent"
            continue
        if message.is_withdrawn:
            yield f"{notes.name} got {told(message)}, at {seen.at_s:.3f} s, a will whose client had come back in time"
        grant = notes.granted_for(seen.topic)
        if grant is not None and seen.qos != min(grant[0], message.qos):
            yield f"{notes.name} got {told(message)}, with QoS {seen.qos}, and was granted {grant[0]}"


def _late(by_identity: Mapping[Identity, Sent], notes: Notes) -> Iterator[str]:
    """What was published and had outlived itself while the subscriber was away from the same node, and came all the
    same. It may have been on the way to the connection that was no more: then it comes with DUP, and must.
    """
    for seen in notes.news():
        message = by_identity.get(seen.identity)
        if message is None or seen.dup or not message.lifetime_s or message.node != notes.node:
            continue
        ends_s = (seen.at_s if message.acknowledged_s is None else message.acknowledged_s) + message.lifetime_s
        if any(begin < message.sent_s and ends_s < end < seen.at_s for begin, end in notes.absences):
            yield f"{notes.name} got {told(message)}, at {seen.at_s:.3f} s, with a lifetime of {message.lifetime_s} s"


Retained = Mapping[str, bytes]
"""By topic."""


def wrongly_retained(
    sent: Iterable[Sent], retained: Mapping[str, Retained], last: Retained, between: Between
) -> Iterator[str]:
    """What a new subscriber got in the end at each node. All have what the centre has; there, the value of a topic that
    has one publisher is the last one acknowledged, or a later one that was not, and of the others the `last` in the
    centre's order.
    """
    topics: dict[str, list[Sent]] = {}
    for message in sent:
        if message.retain:
            topics.setdefault(message.topic, []).append(message)
    for topic, messages in topics.items():
        found = retained[CENTRE].get(topic, b"")
        if topic.startswith(EVERYBODYS):
            if found != last.get(topic, b""):
                yield f"the value of {topic} is {found[:20]!r}, and the last one was {last.get(topic, b'')[:20]!r}"
        else:
            yield from _outdated(messages, found, between)
    for node, values in retained.items():
        for topic in topics:
            here, centre = values.get(topic, b""), retained[CENTRE].get(topic, b"")
            if here != centre:
                yield f"the value of {topic} is {here[:20]!r} at {node}, and {centre[:20]!r} at the centre"


def _outdated(messages: list[Sent], found: bytes, between: Between) -> Iterator[str]:
    last = max((index for index, each in enumerate(messages) if each.acknowledged_s is not None), default=-1)
    possible = {each.payload for each in messages[max(last, 0) :]} | ({b""} if last < 0 else set())
    if found not in possible:
        message = messages[last]
        around = between(message.sent_s, message.acknowledged_s or message.sent_s)
        yield f"the retained value is {found[:20]!r}, and not {told(message)}; {around}"
