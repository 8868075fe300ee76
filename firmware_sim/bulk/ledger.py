"""What became of every message, by identity, in memory that does not grow with their number.

A publisher numbers its messages on each topic from 1, so what a subscriber got of them is a set of numbers, nearly
always one range. Like the fleet's ledger this one only writes down, as devices see it: what is due is decided when a
message is sent, from the subscriptions confirmed by then. `closing` draws the conclusions.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Final

from firmware_sim.report.ledger import Identity, Message, Received
from oriole.wire.topics import matches

from .histogram import Histogram
from .numbers import Numbers

Loss = tuple[int, str, str]
"""A connection that ended, and not as its device wished: when in ns, whose, why."""

MAX_LOSSES: Final = 10_000
_NEVER: Final = 1 << 62
_CLASS_OF_LEAF: Final = {"set": "order", "online": "about", "ask": "firmware", "chunk": "firmware"}


class Heard:
    """What one subscriber is owed and has got of one publisher on one topic."""

    __slots__ = (
        "after_absence",
        "delivered",
        "doubled",
        "first",
        "forgotten",
        "forgotten_from",
        "left_at",
        "name",
        "newest",
        "out_of_order",
        "qos",
        "received",
        "repeated",
        "stored",
        "undue",
        "way",
    )

    def __init__(self, name: str, way: str, qos: int, first: int) -> None:
        self.name = name
        self.way = way
        self.qos = qos
        self.first = first
        """The first number that is due."""
        self.received = Numbers()
        self.newest = 0
        self.delivered = 0
        """First copies of what was due."""
        self.after_absence = 0
        """Of those: it was offline when they were sent."""
        self.undue = 0
        """First copies of what was sent before it subscribed, and kept for it."""
        self.repeated = 0
        """More copies, marked as repeats, or sent again by a publisher that saw no acknowledgement (QoS 1)."""
        self.stored = 0
        """More copies of what is retained, handed out again."""
        self.doubled: list[int] = []
        """Numbers of the copies that nothing excuses."""
        self.out_of_order = 0
        self.left_at = 1
        """The first number that was not settled when its last connection ended."""
        self.forgotten_from = 0
        """While the broker knows nothing of the subscription: the first number that may pass it by. Else 0."""
        self.forgotten: list[tuple[int, int]] = []
        """Such times that are over: the first number, and the one after the last."""

    def may_miss(self, number: int) -> bool:
        """Whether the session of the subscriber had been lost by the broker when this was under way."""
        if self.forgotten_from and number >= self.forgotten_from:
            return True
        return any(first <= number < end for first, end in self.forgotten)


class Stream:
    """The messages of one publisher on one topic. Those of others than bulk devices have no `sent`."""

    __slots__ = (
        "heard",
        "is_state",
        "of",
        "overheard",
        "publisher",
        "qos",
        "refused",
        "resent",
        "sent",
        "settled",
        "topic",
        "way",
    )

    def __init__(self, publisher: str, topic: str, way: str, of: str, qos: int, is_state: bool) -> None:
        self.publisher = publisher
        self.topic = topic
        self.way = way
        self.of = of
        self.qos = qos
        self.is_state = is_state
        self.sent = 0
        self.settled = Numbers()
        """Acknowledged, or refused."""
        self.refused = Numbers()
        self.resent = Numbers()
        self.heard: dict[str, Heard] = {}
        """By whom it is due to."""
        self.overheard: dict[str, Heard] = {}
        """By who got some without being known to listen: a subscription is confirmed after what is kept for it."""

    @property
    def unsettled_from(self) -> int:
        """The first number that the broker has not taken responsibility for."""
        return self.settled.unbroken_from(1) if self.qos else self.sent + 1


class BulkLedger:
    """See `firmware_sim.devices.scribe.Scribe`.

    Args:
        run: whose messages count.
        names: the devices of this process; messages of all others are accounted for as from outside.
        ways: how populations are connected that are outside.
    """

    def __init__(self, run: str, names: Iterable[str], ways: Mapping[str, str]) -> None:
        self.run = run
        self.streams: dict[tuple[str, str], Stream] = {}
        self.outside: dict[tuple[str, str], Stream] = {}
        self.sent_total = 0
        self.accepted_total = 0
        self.received_total = 0
        self.due_total = 0
        self.awaited = 0
        """Pairs of message and subscriber that are due, and neither received nor refused so far."""
        self.foreign = 0
        self.passages: defaultdict[tuple[str, str, str], Histogram] = defaultdict(Histogram)
        """Time from sending to receipt, by ways and class, of what a connected subscriber got."""
        self.round_trips = Histogram()
        """From an order to the state that confirms it, where a bulk device ordered."""
        self.orders = 0
        self.confirmed_orders = 0
        self.losses: list[Loss] = []
        """The first connections lost."""
        self.notes: Counter[str] = Counter()
        self.last_notes: dict[str, str] = {}
        self._names = frozenset(names)
        self._ways = ways
        self._is_closed = False
        self._tickets: dict[int, tuple[Stream, int]] = {}
        self._ordered_ns: dict[tuple[str, str, int], int] = {}
        self._filters: defaultdict[str, dict[str, tuple[int, str]]] = defaultdict(dict)  # by device, with QoS and way
        self._wild: dict[tuple[str, str], str] = {}  # what every topic begins with that may match
        self._exact: defaultdict[str, list[str]] = defaultdict(list)
        self._by_topic: defaultdict[str, list[Stream]] = defaultdict(list)
        self._heard_by: defaultdict[str, list[tuple[Stream, Heard]]] = defaultdict(list)
        self._unconfirmed: dict[str, int] = {}

    def close(self) -> None:
        """The run is over: what devices hear while they are switched off is no part of it."""
        self._is_closed = True

    # ---- Subscriptions

    def listens(self, name: str, topic_filter: str, qos: int, way: str, latest_only: bool, now_ns: int) -> None:
        """From now on, what matches is due to `name`."""
        if topic_filter not in self._filters[name]:
            self._filters[name][topic_filter] = qos, way
            if "+" in topic_filter or "#" in topic_filter:
                prefix = self._wild[name, topic_filter] = re.split(r"[+#]", topic_filter, maxsplit=1)[0].rstrip("/")
                matching: Iterable[Stream] = (
                    stream
                    for stream in self.streams.values()
                    if stream.topic.startswith(prefix) and matches(topic_filter, stream.topic)
                )
            else:
                self._exact[topic_filter].append(name)
                matching = self._by_topic[topic_filter]
            for stream in matching:
                self._hear(stream, name, qos, way)
        if name in self._unconfirmed:
            self._unconfirmed[name] -= 1
            if not self._unconfirmed[name]:
                del self._unconfirmed[name]
                for stream, heard in self._heard_by[name]:
                    heard.forgotten.append((heard.forgotten_from, stream.sent + 1))
                    heard.forgotten_from = 0

    def _hear(self, stream: Stream, name: str, qos: int, way: str) -> None:
        if name in stream.heard:  # several filters match: the highest QoS counts [MQTT-3.3.4-2]
            stream.heard[name].qos = max(stream.heard[name].qos, qos)
            return
        heard = stream.overheard.pop(name, None) or Heard(name, way, qos, _NEVER)
        heard.first = stream.sent + 1
        stream.heard[name] = heard
        if name in self._unconfirmed:
            heard.forgotten_from = stream.sent + 1
        self._heard_by[name].append((stream, heard))

    def forgotten(self, name: str, now_ns: int) -> None:
        """The broker knows nothing of `name`, which subscribes anew: what comes meanwhile may pass it by."""
        if known := len(self._filters[name]):
            self._unconfirmed[name] = known
            for _, heard in self._heard_by[name]:
                heard.forgotten_from = heard.forgotten_from or heard.left_at

    def left(self, name: str, now_ns: int) -> None:
        """The connection of `name` ended with its own doing, or with its power."""
        for stream, heard in self._heard_by[name]:
            heard.left_at = stream.unsettled_from

    def disconnected(self, name: str, reason: str, now_ns: int) -> None:
        """The connection of `name` ended, as it noticed now."""
        self.left(name, now_ns)
        self.note("disconnected", f"{name}: {reason}")
        if len(self.losses) < MAX_LOSSES:
            self.losses.append((now_ns, name, reason))

    # ---- Sending

    def sent(self, message: Message) -> int:
        """Write a message down before it leaves; returns its ticket."""
        key = message.publisher, message.topic
        stream = self.streams.get(key)
        if stream is None:
            stream = self._new_stream(key, message)
        stream.sent = message.number
        self.sent_total += 1
        self.due_total += len(stream.heard)
        self.awaited += len(stream.heard)
        if message.qos:
            self._tickets[self.sent_total] = stream, message.number
        if message.of == "order":
            self.orders += 1
            self._ordered_ns[message.publisher, message.topic, message.number] = message.at_ns
        return self.sent_total

    def _new_stream(self, key: tuple[str, str], message: Message) -> Stream:
        topic = message.topic
        stream = Stream(message.publisher, topic, message.way, message.of, message.qos, message.is_state)
        self.streams[key] = stream
        self._by_topic[topic].append(stream)
        for name in self._exact.get(topic, ()):
            self._hear(stream, name, *self._filters[name][topic])
        for (name, topic_filter), prefix in self._wild.items():
            if topic.startswith(prefix) and matches(topic_filter, topic):
                self._hear(stream, name, *self._filters[name][topic_filter])
        return stream

    def accepted(self, ticket: int, now_ns: int) -> None:
        """The publisher holds an acknowledgement."""
        stream, number = self._tickets.pop(ticket)
        stream.settled.add(number)
        self.accepted_total += 1

    def refused(self, ticket: int, reason: str) -> None:
        """The publisher was told no: it is nobody's loss."""
        entry = self._tickets.pop(ticket, None)
        if entry is None:
            return  # QoS 0, of which nothing is known
        stream, number = entry
        stream.settled.add(number)
        stream.refused.add(number)
        heard_by = stream.heard.values()
        self.awaited -= sum(number >= heard.first and number not in heard.received for heard in heard_by)
        self.note("refused", f"no. {number} of {stream.publisher} on {stream.topic}: {reason}")

    def unanswered(self, ticket: int, reason: str) -> None:
        """See `Scribe`. MQTT answers, sooner or later."""

    def resent(self, tickets: list[int]) -> None:
        """The publisher sent these again."""
        for ticket in tickets:
            stream, number = self._tickets[ticket]
            stream.resent.add(number)

    # ---- Receiving

    def received(
        self, name: str, way: str, delivery: Received, stamp: Identity | None, now_ns: int, was_away: bool
    ) -> None:
        """`name` got a message. `was_away`: it was asleep or offline when the message was sent."""
        if self._is_closed:
            return
        self.received_total += 1
        stream = self._stream_of(delivery, stamp)
        if stream is None or stamp is None:
            self.foreign += 1
            return
        number = stamp.number
        heard = stream.heard.get(name) or stream.overheard.get(name)
        if heard is None:
            heard = stream.overheard[name] = Heard(name, way, delivery.qos, _NEVER)
        if heard.received.add(number):
            self._first(stream, heard, stamp, now_ns, was_away, delivery.stored)
        elif delivery.repeat or (number in stream.resent and stream.qos == 1):
            heard.repeated += 1
        elif delivery.stored:
            heard.stored += 1
        else:
            heard.doubled.append(number)

    def _first(self, stream: Stream, heard: Heard, stamp: Identity, now_ns: int, was_away: bool, stored: bool) -> None:
        number = stamp.number
        if number > heard.newest:
            heard.newest = number
        elif not stored:
            heard.out_of_order += 1
        if number >= heard.first:
            heard.delivered += 1
            self.awaited -= number not in stream.refused
        else:
            heard.undue += 1
            if stream.sent:
                return
        if was_away:
            heard.after_absence += 1
        else:
            self.passages[stream.way, heard.way, stream.of].add(now_ns - stamp.at_ns)

    def _stream_of(self, delivery: Received, stamp: Identity | None) -> Stream | None:
        """The stream that a message belongs to; None for what nobody of this run has sent."""
        if stamp is None or stamp.run != self.run:
            return None
        key = stamp.publisher, delivery.topic
        if stamp.publisher in self._names:
            stream = self.streams.get(key)
            return stream if stream is not None and 1 <= stamp.number <= stream.sent else None
        stream = self.outside.get(key)
        if stream is None:
            leaf = delivery.topic.rpartition("/")[2]
            population = stamp.publisher.rpartition("-")[0]
            way = self._ways.get(population, population)
            stream = self.outside[key] = Stream(*key, way, _CLASS_OF_LEAF.get(leaf, leaf), delivery.qos, False)
        return stream

    # ---- Besides

    def confirmed(self, commander: str, order_topic: str, number: int, now_ns: int) -> None:
        """An order came back obeyed; only the first confirmation counts."""
        if (at_ns := self._ordered_ns.pop((commander, order_topic, number), None)) is not None:
            self.confirmed_orders += 1
            self.round_trips.add(now_ns - at_ns)

    def answered(self, way: str, now_ns: int, took_ns: int, found: bool) -> None:
        """MQTT has no question."""

    def updated(self, name: str, version: str, now_ns: int) -> None:
        """`name` runs new firmware."""
        self.note(f"installed {version}", name)

    def note(self, what: str, detail: str) -> None:
        """Count an event that is no message; the last one of each kind is kept in words."""
        self.notes[what] += 1
        self.last_notes[what] = detail
