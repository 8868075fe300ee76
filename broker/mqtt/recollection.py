"""What records say, put together: the sessions, retained values and messages that a node had, and has again.

It only adds up what it is told. A session's deliveries are numbered from 1 in the order in which records name it, and
the packet identifier of each follows from its number, as in `Session`: so what a client has confirmed is found without
a word about what was sent to it when.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from broker.core.message import Message
from broker.core.records import (
    Accepted,
    Asked,
    CaughtUp,
    Ended,
    Left,
    Marked,
    Met,
    Opened,
    Owed,
    Owes,
    Placed,
    Progressed,
    Receiving,
    Record,
    Released,
    Reset,
    Resumed,
    Routed,
    Ruled,
    Skipped,
    Stream,
    Subscribed,
    Taken,
    Testament,
    Unkept,
    Unsubscribed,
    WillSent,
)
from broker.mqtt.forms import Delivery
from broker.mqtt.nodes import NodeForm, Peer
from broker.mqtt.past import Past
from broker.mqtt.session import IDENTIFIERS, Session, Subscription, identifier_of
from oriole.link.uplink import Greeting, Mark
from oriole.wire.mqtt import PacketType, Will, decode_properties

if TYPE_CHECKING:
    from broker.mqtt.service import MqttService


MOST_GONE = 1000
"""Deliveries that have ended are let go by so many at a time."""
LEFT_OUT = 1 << 20
"""Places in the order that a new life leaves out: more than the last one can have given to messages that are not in its
records, so that no place is given twice."""


class Gone:
    """A delivery that has ended, between others that have not."""

    __slots__ = ()


@dataclass(slots=True)
class RememberedStream:
    """A stream to the centre: its messages from no. `first` on; None for a number that was given to none."""

    traffic_class: str
    first: int
    messages: deque[Message | None] = field(default_factory=deque)
    is_shifted: bool = False
    """Some of its messages are not known: which number one has cannot be told any more."""

    def release(self, upto: int) -> None:
        """Those up to this number have ended."""
        while self.first <= upto and self.messages:
            self.messages.popleft()
            self.first += 1


GONE = Gone()
Open = Delivery | None
"""A delivery that has not ended; None: QoS 2, its client has it, and PUBREL is still to be confirmed."""


@dataclass(slots=True)
class Remembered:
    """A session that is being put together. `deliveries` has what it is owed, from number `begin` on."""

    number: int
    client_id: str
    username: str | None
    expiry_interval: int
    window: int
    will: Testament | None
    node: str
    """The name of another node whose session it is, or empty."""
    first: int
    """The number of the oldest delivery that has not ended, or of the next."""
    begin: int
    sent_before: int = 0
    """Deliveries below this number may have been sent."""
    left_at: int | None = None
    """When its client left; None: it was there at the end."""
    subscriptions: dict[bytes, Subscription] = field(default_factory=dict)
    late: dict[bytes, None] = field(default_factory=dict)
    received: dict[int, None] = field(default_factory=dict)
    deliveries: list[Open | Gone] = field(default_factory=list)
    is_shifted: bool = False
    """Some of what it was owed is not known: which delivery has a packet identifier cannot be told any more."""

    @property
    def next(self) -> int:
        """The number of the next delivery."""
        return self.begin + len(self.deliveries)

    def see(self) -> None:
        """Its client is there: as many deliveries as its window has room for, the oldest, may have been sent."""
        room = self.window
        for number in range(self.first, self.next):
            if not room:
                return
            if self.deliveries[number - self.begin] is not GONE:
                room -= 1
                self.sent_before = max(self.sent_before, number + 1)

    def progress(self, packet: int, identifier: int) -> None:
        """A delivery moved on or ended; which one follows from its packet identifier, for fewer are open at a time."""
        number = self.first + (identifier - identifier_of(self.first)) % IDENTIFIERS
        if self.is_shifted or number >= self.next or self.deliveries[number - self.begin] is GONE:
            return
        self.sent_before = max(self.sent_before, number + 1)
        self.deliveries[number - self.begin] = None if packet == 0x50 else GONE
        while self.first < self.next and self.deliveries[self.first - self.begin] is GONE:
            self.first += 1
        if self.first - self.begin > MOST_GONE:
            del self.deliveries[: self.first - self.begin]
            self.begin = self.first


class Recollection:
    """All that a node had.

    Attributes:
        sessions: by number.
        retained: by topic.
        unrouted: messages taken over whose routing was not recorded, by number, each with the mark that came with it.
        marks: how far other nodes' messages were taken, by (epoch, class).
        streams: what is owed to the centre, by number.
        places: the centre's order of retained topics.
        asked: filters that the centre was asked for.
        met: which centre it was, last; None: there was none.
        lives: in which the centre may have got the newest message that it has.
        last_session, last_taken, last_order: the highest numbers given so far.
    """

    __slots__ = (
        "_takers", "asked", "last_order", "last_session", "last_taken", "lives", "marks", "met", "places", "retained",
        "sessions", "streams", "unrouted",
    )  # fmt: skip

    def __init__(self) -> None:
        self._forget()
        self.last_order = 0
        self.last_session = 0
        self.last_taken = 0
        self._takers: dict[type, Callable[[Any], object]] = {
            Accepted: lambda record: self._route(record.messages, record.is_kept, record.owed),
            Taken: self._take_over,
            Routed: self._routed,
            Owes: self._owes,
            Opened: self._opened,
            Resumed: self._resumed,
            Left: self._left,
            WillSent: self._will_sent,
            Ended: lambda record: self.sessions.pop(record.session, None),
            Subscribed: self._subscribed,
            CaughtUp: lambda record: self._of(record, lambda session: session.late.pop(record.filter, None)),
            Unsubscribed: self._unsubscribed,
            Progressed: self._progressed,
            Receiving: self._receiving,
            Marked: lambda record: self._mark(record.mark),
            Unkept: lambda record: self.retained.pop(record.topic, None),
            Placed: self._placed,
            Stream: self._stream,
            Skipped: lambda record: self._of_stream(
                record, lambda stream: stream.messages.extend([None] * record.count)
            ),
            Released: self._released,
            Ruled: lambda record: self.places.__setitem__(record.topic, record.order),
            Asked: self._asked,
            Met: self._met,
            Reset: lambda _: self._forget(),
        }

    def _forget(self) -> None:
        self.sessions: dict[int, Remembered] = {}
        self.retained: dict[bytes, Message] = {}
        self.unrouted: dict[int, tuple[Message, Mark | None]] = {}
        self.streams: dict[int, RememberedStream] = {}
        self.places: dict[bytes, int] = {}
        self.asked: dict[bytes, None] = {}
        self.met: Met | None = None
        self.lives: list[str] = []
        self.marks: dict[tuple[str, str], Mark] = {}

    def take(self, record: Record) -> None:
        """The next record."""
        self._takers[type(record)](record)

    def miss(self) -> None:
        """Records are missing here. What clients confirm from now on may be of other deliveries than it seems: those
        stay, and come again rather than not at all, until their sessions begin anew.
        """
        for session in self.sessions.values():
            session.is_shifted = True
        for stream in self.streams.values():
            stream.is_shifted = True

    # ---- Messages

    def _route(self, messages: Sequence[Message], is_kept: bool, owed: Sequence[Owed]) -> None:
        self.last_order = max(self.last_order, messages[-1].order)
        for number, qos, retain, identifiers in owed:
            session = self.sessions.get(number)
            if session is not None:
                session.deliveries += [(message, qos, retain, identifiers) for message in messages]
            elif number in self.streams:
                self.streams[number].messages += messages
        if is_kept:
            message = messages[-1]
            if message.payload:
                self.retained[message.topic] = message
            else:
                self.retained.pop(message.topic, None)

    def _placed(self, record: Placed) -> None:
        self.last_order = max(self.last_order, record.order)

    def _take_over(self, record: Taken) -> None:
        for number, message in enumerate(record.messages, record.number):
            self.unrouted[number] = message, record.mark
            self.last_taken = max(self.last_taken, number)
        session = self.sessions.get(record.session)
        if session is not None:
            session.received.update(dict.fromkeys(record.packet_identifiers))
        if record.mark is not None:
            self._mark(record.mark)

    def _routed(self, record: Routed) -> None:
        messages = [self.unrouted.pop(number)[0] for number in record.numbers if number in self.unrouted]
        for order, message in enumerate(messages, record.order):
            message.order = order
        if messages:
            self._route(messages, record.is_kept, record.owed)

    def _owes(self, record: Owes) -> None:
        self._route((record.message,), False, (record.owed,))

    def _mark(self, mark: Mark) -> None:
        key = mark.epoch, mark.traffic_class
        if key not in self.marks or self.marks[key].sequence <= mark.sequence:
            self.marks.pop(key, None)
            self.marks[key] = mark  # the last one is the newest

    # ---- The uplink

    def _of_stream(self, record: Any, do: Callable[[RememberedStream], object]) -> None:
        stream = self.streams.get(record.number)
        if stream is not None:
            do(stream)

    def _stream(self, record: Stream) -> None:
        self.streams[record.number] = RememberedStream(record.traffic_class, record.first)
        self.last_session = max(self.last_session, record.number)

    def _released(self, record: Released) -> None:
        self._of_stream(record, lambda stream: stream.release(record.upto))
        del self.lives[:-1]

    def _asked(self, record: Asked) -> None:
        if record.is_wanted:
            self.asked[record.filter] = None
        else:
            self.asked.pop(record.filter, None)

    def _met(self, record: Met) -> None:
        if self.met is None or self.met.centre != record.centre:
            self.places.clear()
        self.met = record
        if not record.life:
            self.lives.clear()
        elif record.life not in self.lives:
            self.lives.append(record.life)

    # ---- Sessions

    def _of(self, record: Any, do: Callable[[Remembered], object]) -> None:
        session = self.sessions.get(record.session)
        if session is not None:
            do(session)

    def _opened(self, record: Opened) -> None:
        first = record.last_identifier + 1
        self.sessions[record.session] = Remembered(
            record.session,
            record.client_id,
            record.username,
            record.expiry_interval,
            record.window,
            record.will,
            record.node,
            first,
            first,
        )
        self.last_session = max(self.last_session, record.session)

    def _resumed(self, record: Resumed) -> None:
        session = self.sessions.get(record.session)
        if session is not None:
            session.username, session.expiry_interval = record.username, record.expiry_interval
            session.window, session.will, session.left_at = record.window, record.will, None
            session.node = record.node

    def _left(self, record: Left) -> None:
        session = self.sessions.get(record.session)
        if session is not None:
            session.see()
            session.expiry_interval, session.left_at = record.expiry_interval, record.at
            if not record.has_will:
                session.will = None

    def _will_sent(self, record: WillSent) -> None:
        session = self.sessions.get(record.session)
        if session is not None:
            session.will = None

    def _subscribed(self, record: Subscribed) -> None:
        session = self.sessions.get(record.session)
        if session is not None:
            session.subscriptions[record.filter] = Subscription.read(record.options, record.subscription_identifier)
            if record.is_late:
                session.late[record.filter] = None

    def _unsubscribed(self, record: Unsubscribed) -> None:
        session = self.sessions.get(record.session)
        if session is not None:
            session.subscriptions.pop(record.filter, None)
            session.late.pop(record.filter, None)

    def _progressed(self, record: Progressed) -> None:
        session = self.sessions.get(record.session)
        if session is None:
            return
        for identifier in record.packet_identifiers:
            if record.packet == 0x62:
                session.received.pop(identifier, None)
            else:
                session.progress(record.packet, identifier)

    def _receiving(self, record: Receiving) -> None:
        self._of(record, lambda session: session.received.update(dict.fromkeys(record.packet_identifiers)))

    # ---- To life again

    def restore(self, service: MqttService, now: int) -> None:
        """Give `service`, which is empty, and its router all that is remembered. Clients that were there have left now.

        What was taken and not routed is routed now; wills and sessions whose time came meanwhile end at the next tick.
        """
        router = service.router
        router.order = self.last_order + LEFT_OUT
        for message in self.retained.values():
            message.promised = True  # acknowledged long ago: it stays, whatever the limits are by now
            router.retained.put(message)
        for mark in self.marks.values():
            service.marks.take(mark)
        router.last_taken = self.last_taken
        service.last_number = self.last_session
        sessions = [(self._restore(service, remembered, now), remembered) for remembered in self.sessions.values()]
        for number, (message, _) in self.unrouted.items():
            message.taken = number
            message.promised = True
            router.publish(message, now)
        for session, remembered in sessions:  # now that all are there: a will is for some of them
            if remembered.left_at is None:
                service.away(session, now)
            else:
                service.wait_for(session, remembered.left_at)

    def _restore(self, service: MqttService, remembered: Remembered, now: int) -> Session:
        session = service.sessions[remembered.client_id] = Session(remembered.client_id, service)
        session.number = remembered.number
        session.username = remembered.username
        session.expiry_interval = remembered.expiry_interval
        session.persistent = remembered.expiry_interval > 0
        session.recorded = session.persistent and service.engine.promises.is_recording
        session.received = remembered.received or None
        if remembered.node:
            session.node = Peer(Greeting(remembered.node, ""))
            session.encoding = NodeForm(service.name)
        for filter, subscription in remembered.subscriptions.items():
            session.subscriptions[filter] = subscription
            service.router.subscribe(filter, session, session.form(subscription), now)
        if remembered.late:
            session.past = Past(session)
            for filter in remembered.late:
                session.past.add(filter)
        if remembered.left_at is None:
            remembered.see()
        self._restore_deliveries(session, remembered)
        if remembered.will is not None:
            session.will = _will(remembered.will)
            session.will_is_bare = remembered.will.is_bare
            session.restricted = remembered.will.is_restricted
        return session

    def _restore_deliveries(self, session: Session, remembered: Remembered) -> None:
        """What may have been sent is in flight: it is sent again, by its packet identifier. The rest waits."""
        boundary = max(remembered.first, remembered.sent_before)
        session.last_identifier = identifier_of(boundary - 1)
        queue: deque[Delivery] = deque()
        for number, delivery in enumerate(remembered.deliveries, remembered.begin):
            if isinstance(delivery, Gone):
                continue
            if delivery is None or number < boundary:
                session.inflight[identifier_of(number)] = delivery
            else:
                queue.append(delivery)
                session.queue_bytes += delivery[0].size
        remembered.deliveries.clear()
        if queue:
            session.queue = queue
            session.measure()


def _will(testament: Testament) -> Will:
    properties, _ = decode_properties(testament.properties, 0, PacketType.WILL)
    return Will(testament.topic, testament.payload, testament.qos, testament.retain, properties)
