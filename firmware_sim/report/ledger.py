"""Every message of a fleet by identity: who sent it, for whom it was due, who got it, how often and when.

The ledger only writes down, as devices see it; `accounts.py` draws the conclusions. It trusts nobody: what is due is
decided when a message is sent, from the subscriptions confirmed by then, and what arrived is what a device received.
"""

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import accumulate
from operator import itemgetter
from typing import Protocol

from oriole.settlements import digest_of
from oriole.wire.topics import matches


class Received(Protocol):
    """The part of a delivery that the ledger needs; `devices.port.Delivery` has it."""

    @property
    def topic(self) -> str: ...
    @property
    def payload(self) -> bytes: ...
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


CLOSED = -1
"""The ticket of what is said after the end."""


class Witness(Protocol):
    """Who is told of everything as it happens; `firmware_sim.fleet.trace.Trace` is one."""

    def sent(self, name: str, topic: str, number: int, now_ns: int) -> None: ...
    def received(self, name: str, publisher: str, topic: str, number: int, now_ns: int) -> None: ...


@dataclass(slots=True, eq=False)
class Listener:
    """A subscription that the other side confirmed. `latest_only`: it promises the newest state, not every message."""

    name: str
    topic_filter: str
    qos: int
    way: str
    latest_only: bool
    since_ns: int = 0
    """When it was first confirmed."""


@dataclass(slots=True, eq=False)
class Message:
    """A message as its publisher sent it. `of` is its class: order, state, reading, alarm, news, firmware, about."""

    publisher: str
    topic: str
    number: int
    at_ns: int
    qos: int
    is_state: bool
    of: str
    payload: bytes
    way: str
    lifetime_s: int = 0
    accepted_ns: int | None = None
    refused: str = ""
    unanswered: str = ""
    was_resent: bool = False
    due: Mapping[str, Listener] = field(default_factory=dict)
    """Whom it was due to, by name. Shared between messages: not to be changed."""

    @property
    def size(self) -> int:
        """Topic and payload in bytes."""
        return len(self.topic.encode()) + len(self.payload)

    @property
    def digest(self) -> str:
        """What nodes call its payload in their settlements (docs/settlements.md)."""
        return digest_of(self.payload)


@dataclass(slots=True, frozen=True)
class Failure:
    """A node or a device was killed, or lost its power."""

    who: str
    at_ns: int
    keeps_state: bool


@dataclass(slots=True)
class Gap:
    """A time in which the other side knew nothing of a device's subscriptions: its session had been lost."""

    from_ns: int
    """Since when: the last time that they were known to be there."""
    until_ns: int | None = None
    """When all of them were confirmed again; None: not yet."""


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
    stored_ns: int = 0
    """When the last of those came that has to be asked for by subscribing; 0: none."""
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

    def __init__(self, run: str, witness: Witness | None = None) -> None:
        self.run = run
        self.awaited = 0
        """Pairs of message and subscriber that are due, and neither received nor refused so far."""
        self._witness = witness
        self.closed_ns: int | None = None
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
        self.installed: Counter[str] = Counter()
        """Devices by the firmware that they installed."""
        self.gaps: defaultdict[str, list[Gap]] = defaultdict(list)
        """By device."""
        self.ends: defaultdict[str, list[int]] = defaultdict(list)
        """When each device's connections ended, in ns."""
        self.failures: defaultdict[str, list[int]] = defaultdict(list)
        """Those of them that the device did not end itself."""
        self.broken: list[Failure] = []
        """Devices that were killed, or lost their power."""
        self._asked_ns: defaultdict[str, list[int]] = defaultdict(list)  # when subscriptions were confirmed, by device
        self._listeners: defaultdict[str, dict[str, Listener]] = defaultdict(dict)  # by device, by filter
        self._exact: defaultdict[str, list[Listener]] = defaultdict(list)  # by the one topic that they match
        self._wild: list[Listener] = []
        self._unconfirmed: dict[str, dict[str, None]] = {}  # by device, its filters that are not back
        self._routes: dict[str, dict[str, Listener]] = {}
        self._tickets: dict[tuple[str, str, int], int] = {}
        self._newest: dict[tuple[str, str, str], int] = {}

    def close(self, now_ns: int) -> None:
        """The run is over: what devices say and hear while everything is switched off is no part of it."""
        self.closed_ns = now_ns

    # ---- Sending

    def listens(self, name: str, topic_filter: str, qos: int, way: str, latest_only: bool, now_ns: int) -> None:
        """From now on, what matches is due to `name`."""
        self._asked_ns[name].append(now_ns)
        if topic_filter not in self._listeners[name]:
            listener = Listener(name, topic_filter, qos, way, latest_only, now_ns)
            self._listeners[name][topic_filter] = listener
            if "+" in topic_filter or "#" in topic_filter:
                self._wild.append(listener)
                self._routes.clear()
            else:
                self._exact[topic_filter].append(listener)
                self._routes.pop(topic_filter, None)
        if name in self._unconfirmed:
            self._unconfirmed[name].pop(topic_filter, None)
            if not self._unconfirmed[name]:
                del self._unconfirmed[name]
                self.gaps[name][-1].until_ns = now_ns

    def forgotten(self, name: str, now_ns: int) -> None:
        """The other side knows nothing of `name`, which subscribes anew: what comes meanwhile may pass it by."""
        if known := self._listeners[name]:
            since_ns = self.ends[name][-1] if self.ends[name] else now_ns
            if name not in self._unconfirmed:
                self.gaps[name].append(Gap(since_ns))
            self._unconfirmed[name] = dict.fromkeys(known)

    def failed(self, name: str, keeps_state: bool, now_ns: int) -> None:
        """`name` was killed, or lost its power."""
        self.broken.append(Failure(name, now_ns, keeps_state))

    def left(self, name: str, now_ns: int) -> None:
        """The connection of `name` ended with its own doing, or with its power."""
        self.ends[name].append(now_ns)

    def disconnected(self, name: str, reason: str, now_ns: int) -> None:
        """The connection of `name` ended, as it noticed now."""
        self.left(name, now_ns)
        self.failures[name].append(now_ns)
        self.note("disconnected", f"{name}: {reason}")

    def updated(self, name: str, version: str, now_ns: int) -> None:
        """`name` runs new firmware."""
        self.installed[version] += 1

    def sent(self, message: Message) -> int:
        """Write a message down before it leaves; returns its ticket."""
        if self.closed_ns is not None:
            return CLOSED
        message.due = self._due(message.topic)
        ticket = len(self.messages)
        self.messages.append(message)
        self._tickets[message.publisher, message.topic, message.number] = ticket
        for listener in message.due.values():
            self.ways[message.way, listener.way].due += 1
        self.awaited += len(message.due)
        if self._witness is not None:
            self._witness.sent(message.publisher, message.topic, message.number, message.at_ns)
        return ticket

    def accepted(self, ticket: int, now_ns: int) -> None:
        """The publisher holds an acknowledgement."""
        if self.closed_ns is not None:
            return
        self.messages[ticket].accepted_ns = now_ns

    def refused(self, ticket: int, reason: str) -> None:
        """The publisher was told no: it is nobody's loss."""
        if self.closed_ns is not None:
            return
        message = self.messages[ticket]
        if not message.refused:
            message.refused = reason
            self.awaited -= sum((name, ticket) not in self.copies for name in message.due)

    def unanswered(self, ticket: int, reason: str) -> None:
        """Nobody knows whether the other side has it."""
        if self.closed_ns is not None:
            return
        self.messages[ticket].unanswered = reason

    def resent(self, tickets: list[int]) -> None:
        """The publisher sent these again, marked DUP."""
        if self.closed_ns is not None:
            return
        for ticket in tickets:
            self.messages[ticket].was_resent = True

    def asked_between(self, name: str, from_ns: int, until_ns: int) -> bool:
        """Whether a subscription of `name` was confirmed meanwhile."""
        asked_ns = self._asked_ns[name]
        index = bisect_left(asked_ns, from_ns)
        return index < len(asked_ns) and asked_ns[index] <= until_ns

    def awaited_at(self, times_ns: Iterable[int]) -> list[int]:
        """How many pairs of message and subscriber were due and not received, at each of these times, in order."""
        changes = [(message.at_ns, len(message.due)) for message in self.messages if not message.refused]
        changes += [
            (copies.first_ns, -1)
            for (_, ticket), copies in self.copies.items()
            if copies.is_due and not self.messages[ticket].refused
        ]
        changes.sort()
        sums = list(accumulate(change for _, change in changes))
        counts = (bisect_right(changes, at_ns, key=itemgetter(0)) for at_ns in times_ns)
        return [sums[count - 1] if count else 0 for count in counts]

    # ---- Receiving

    def received(
        self, name: str, way: str, delivery: Received, stamp: Identity | None, now_ns: int, was_away: bool
    ) -> None:
        """`name` got a message. `was_away`: it was asleep or offline when the message was sent."""
        if self.closed_ns is not None:
            return
        self.received_total += 1
        ticket = None
        if stamp is not None and stamp.run == self.run:
            ticket = self._tickets.get((stamp.publisher, delivery.topic, stamp.number))
        if ticket is None:
            self.foreign += 1
            return
        message = self.messages[ticket]
        if self._witness is not None:
            self._witness.received(name, message.publisher, message.topic, message.number, now_ns)
        if delivery.payload != message.payload:
            self.note("altered", f"no. {message.number} of {message.publisher} on {message.topic}, to {name}")
        self.delivered_bytes[way] += message.size
        copies = self.copies.get((name, ticket))
        if copies is None:
            self._first(name, way, ticket, now_ns, was_away, delivery.stored)
        elif self._may_come_again(message, name, delivery.repeat):
            copies.repeated += 1
        elif name in message.due and message.due[name].latest_only:
            copies.stored += 1
        elif delivery.stored:
            copies.stored += 1
            copies.stored_ns = now_ns
        else:
            copies.doubled += 1

    @staticmethod
    def _may_come_again(message: Message, name: str, is_marked: bool) -> bool:
        """Whether QoS 1 allows another copy, because somebody had to send again. What came with QoS 2 comes once:
        marked or not, its receiver knows the packet identifier (MQTT 5, 4.3.3).
        """
        promised = min(message.qos, message.due[name].qos) if name in message.due else message.qos
        return promised < 2 and (is_marked or (message.was_resent and message.qos == 1))

    def _first(self, name: str, way: str, ticket: int, now_ns: int, was_away: bool, stored: bool) -> None:
        message = self.messages[ticket]
        is_due = name in message.due
        self.copies[name, ticket] = Copies(way, now_ns, was_away, is_due)
        counts = self.ways[message.way, way]
        if is_due:
            counts.first += 1
            self.awaited -= not message.refused
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

    def _due(self, topic: str) -> dict[str, Listener]:
        """Who listens to `topic`, each once, with the highest QoS that it asked for. [MQTT-3.3.4-2]"""
        if topic not in self._routes:
            best: dict[str, Listener] = {}
            wild = (listener for listener in self._wild if matches(listener.topic_filter, topic))
            for listener in (*self._exact.get(topic, ()), *wild):
                known = best.setdefault(listener.name, listener)
                if listener.qos > known.qos:
                    best[listener.name] = listener
            self._routes[topic] = best
        return self._routes[topic]
