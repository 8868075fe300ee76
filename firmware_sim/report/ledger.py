"""Every message of a fleet by identity: who sent it, for whom it was due, who got it, how often and when.

The ledger only writes down, as devices see it; `accounts.py` draws the conclusions. It trusts nobody: what is due is
decided when a message is sent, from the subscriptions confirmed by then, and what arrived is what a device received.
"""

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Protocol

from oriole.wire.topics import matches


class Received(Protocol):
    """The part of a delivery that the ledger needs; `devices.port.Delivery` has it."""

    @property
    def topic(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
    @property
    def qos(self) -> int: ...
    @property
    def repeat(self) -> bool: ...
    @property
    def stored(self) -> bool: ...


class Identity(Protocol):
    """Who, which and when; `devices.stamp.Stamp` has it."""

    @property
    def run(self) -> str: ...
    @property
    def publisher(self) -> str: ...
    @property
    def number(self) -> int: ...
    @property
    def at_ns(self) -> int: ...


@dataclass(slots=True, eq=False)
class Listener:
    """A subscription that the other side confirmed. `latest_only`: it promises the newest state, not every message."""

    name: str
    topic_filter: str
    qos: int
    way: str
    latest_only: bool


@dataclass(slots=True, eq=False)
class Message:
    """A message as its publisher sent it; `size` is topic and payload in bytes."""

    publisher: str
    topic: str
    number: int
    at_ns: int
    qos: int
    is_state: bool
    is_order: bool
    size: int
    way: str
    accepted_ns: int | None = None
    refused: str = ""
    was_resent: bool = False
    due: tuple[Listener, ...] = ()


@dataclass(slots=True)
class Copies:
    """What one subscriber got of one message."""

    way: str
    first_ns: int
    was_away: bool
    is_due: bool
    repeated: int = 0
    """More copies, marked as repeats by whoever sent them, as QoS 1 allows."""
    stored: int = 0
    """More copies of a state: handed out again to one who asked again."""
    doubled: int = 0
    """More copies that nothing excuses."""


@dataclass(slots=True)
class Way:
    """Running counts of a way, for the live table: from a publisher's kind of connection to a subscriber's."""

    due: int = 0
    first: int = 0
    samples: list[tuple[int, int]] = field(default_factory=list)
    """When sent and how long it took, in ns, of what was due to somebody awake."""


class Ledger:
    """Tickets are positions in `messages`. Times are ns of one monotonic clock."""

    def __init__(self, run: str) -> None:
        self.run = run
        self.messages: list[Message] = []
        self.copies: dict[tuple[str, int], Copies] = {}
        self.ways: defaultdict[tuple[str, str], Way] = defaultdict(Way)
        self.received_total = 0
        self.delivered_bytes: Counter[str] = Counter()
        self.foreign = 0
        self.out_of_order = 0
        self.confirmed_ns: dict[tuple[str, str, int], int] = {}
        self.answers: list[tuple[str, int, int, bool]] = []
        self.notes: Counter[str] = Counter()
        self.last_notes: dict[str, str] = {}
        self._listeners: list[Listener] = []
        self._routes: dict[str, tuple[Listener, ...]] = {}
        self._tickets: dict[tuple[str, str, int], int] = {}
        self._newest: dict[tuple[str, str, str], int] = {}

    # ---- Sending

    def listens(self, name: str, topic_filter: str, qos: int, way: str, latest_only: bool) -> None:
        """From now on, what matches is due to `name`."""
        self._listeners.append(Listener(name, topic_filter, qos, way, latest_only))
        self._routes.clear()

    def sent(self, message: Message) -> int:
        """Write a message down before it leaves; returns its ticket."""
        message.due = self._due(message.topic)
        ticket = len(self.messages)
        self.messages.append(message)
        self._tickets[message.publisher, message.topic, message.number] = ticket
        for listener in message.due:
            self.ways[message.way, listener.way].due += 1
        return ticket

    def accepted(self, ticket: int, now_ns: int) -> None:
        """The publisher holds an acknowledgement."""
        self.messages[ticket].accepted_ns = now_ns

    def refused(self, ticket: int, reason: str) -> None:
        """The publisher was told no: it is nobody's loss."""
        self.messages[ticket].refused = reason

    def resent(self, tickets: list[int]) -> None:
        """The publisher sent these again, marked DUP."""
        for ticket in tickets:
            self.messages[ticket].was_resent = True

    # ---- Receiving

    def received(
        self, name: str, way: str, delivery: Received, stamp: Identity | None, now_ns: int, was_away: bool
    ) -> None:
        """`name` got a message. `was_away`: it was asleep or offline when the message was sent."""
        self.received_total += 1
        ticket = None
        if stamp is not None and stamp.run == self.run:
            ticket = self._tickets.get((stamp.publisher, delivery.topic, stamp.number))
        if ticket is None:
            self.foreign += 1
            return
        message = self.messages[ticket]
        self.delivered_bytes[way] += message.size
        copies = self.copies.get((name, ticket))
        if copies is None:
            self._first(name, way, ticket, now_ns, was_away, delivery.stored)
        elif delivery.repeat or (message.was_resent and message.qos == 1):
            copies.repeated += 1
        elif delivery.stored or any(listener.latest_only for listener in message.due if listener.name == name):
            copies.stored += 1
        else:
            copies.doubled += 1

    def _first(self, name: str, way: str, ticket: int, now_ns: int, was_away: bool, stored: bool) -> None:
        message = self.messages[ticket]
        is_due = any(listener.name == name for listener in message.due)
        self.copies[name, ticket] = Copies(way, now_ns, was_away, is_due)
        counts = self.ways[message.way, way]
        if is_due:
            counts.first += 1
            if not was_away:
                counts.samples.append((message.at_ns, now_ns - message.at_ns))
        path = (name, message.publisher, message.topic)
        if message.number > self._newest.get(path, 0):
            self._newest[path] = message.number
        elif not stored:
            self.out_of_order += 1

    # ---- Besides

    def confirmed(self, commander: str, order_topic: str, number: int, now_ns: int) -> None:
        """An order came back obeyed; only the first confirmation counts."""
        self.confirmed_ns.setdefault((commander, order_topic, number), now_ns)

    def answered(self, way: str, now_ns: int, took_ns: int, found: bool) -> None:
        """A device asked for a value and got an answer."""
        self.answers.append((way, now_ns, took_ns, found))

    def note(self, what: str, detail: str) -> None:
        """Count an event that is no message; the last one of each kind is kept in words."""
        self.notes[what] += 1
        self.last_notes[what] = detail

    def _due(self, topic: str) -> tuple[Listener, ...]:
        """Who listens to `topic`, each once, with the highest QoS that it asked for. [MQTT-3.3.4-2]"""
        if topic not in self._routes:
            best: dict[str, Listener] = {}
            for listener in self._listeners:
                if matches(listener.topic_filter, topic):
                    known = best.setdefault(listener.name, listener)
                    if listener.qos > known.qos:
                        best[listener.name] = listener
            self._routes[topic] = tuple(best.values())
        return self._routes[topic]
