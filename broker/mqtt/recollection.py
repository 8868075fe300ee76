"""What records say, put together: the sessions, retained values and messages that a node had, and has again.

It only adds up what it is told, and of a message that is owed it is told where it is: a million that wait are eight
million bytes here. A session's deliveries have numbers, and the packet identifier of each follows from its number, as
in `Session`: so what a client has confirmed is found without a word about what was sent to it when. What was retained,
and what may have been sent, is read at the end.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from broker.core.message import Message
from broker.core.records import (
    ENDED_OTHERWISE,
    KEPT,
    KEPT_NO_MORE,
    Asked,
    CaughtUp,
    Ended,
    Left,
    Marked,
    Met,
    Opened,
    Outline,
    Placed,
    Progressed,
    Receiving,
    Record,
    Released,
    Reset,
    Resumed,
    Ruled,
    Skipped,
    Stream,
    Subscribed,
    Taking,
    Testament,
    Unkept,
    Unsubscribed,
    WillSent,
)
from broker.core.settlement import Reason
from broker.mqtt.nodes import NodeForm, Peer
from broker.mqtt.past import Past
from broker.mqtt.remembered import CONFIRMED, GONE, Remembered, RememberedStream
from broker.mqtt.session import Session, Subscription, identifier_of
from oriole.link.uplink import Greeting, Mark
from oriole.wire.mqtt import PacketType, Will, decode_properties

if TYPE_CHECKING:
    from broker.core.records import Delivery
    from broker.mqtt.service import MqttService


LEFT_OUT = 1 << 20
"""Places in the order that a new life leaves out: more than the last one can have given to messages that are not in its
records, so that no place is given twice."""


class Reader(Protocol):
    """Who reads messages that were recorded."""

    def message(self, place: int, index: int) -> Message | None:
        """Message no. `index`, from 0, of the record in `place`; None if it cannot be read."""

    def delivery(self, place: int, recipient: int, number: int) -> Delivery | None:
        """Delivery no. `number` of `recipient`, from the record in `place`; None if it cannot be read."""


class Recollection:
    """All that a node had.

    Args:
        reader: reads messages that were recorded.

    Attributes:
        sessions: by number.
        retained: where the value of a topic is: place and index.
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
        "_reader", "_taken", "_takers", "_void", "asked", "last_order", "last_session", "last_taken", "lives", "marks",
        "met", "places", "retained", "sessions", "streams", "unrouted",
    )  # fmt: skip

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._void: dict[int, Remembered] = {}
        self._forget()
        self.last_order = 0
        self.last_session = 0
        self.last_taken = 0
        self._takers: dict[type, Callable[[Any], object]] = {
            Outline: self._route,
            Taking: self._take_over,
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
            Skipped: lambda record: self._of_stream(record, lambda stream: stream.skip(record.count)),
            Released: self._released,
            Ruled: lambda record: self.places.__setitem__(record.topic, record.order),
            Asked: self._asked,
            Met: self._met,
            Reset: lambda _: self._reset(),
        }

    def _forget(self) -> None:
        self.sessions: dict[int, Remembered] = {}
        self.retained: dict[bytes, tuple[int, int]] = {}
        self.unrouted: dict[int, tuple[Message, Mark | None]] = {}
        self._taken: dict[int, tuple[int, int, Mark | None]] = {}
        self.streams: dict[int, RememberedStream] = {}
        self.places: dict[bytes, int] = {}
        self.asked: dict[bytes, None] = {}
        self.met: Met | None = None
        self.lives: list[str] = []
        self.marks: dict[tuple[str, str], Mark] = {}

    def _reset(self) -> None:
        self._void = self.sessions
        self._forget()

    def take(self, record: Record | Outline | Taking) -> None:
        """The next record."""
        self._takers[type(record)](record)

    def miss(self) -> None:
        """Records are missing here. Which deliveries of a session they were about follows from those that are there;
        a stream's numbers may have been given, and must not be given again.
        """
        for stream in self.streams.values():
            stream.is_shifted = True

    def read(self) -> dict[int, int]:
        """There is no more: read what is not left where it is. Where messages are that are not routed, by number."""
        for number, (place, index, mark) in self._taken.items():
            if (message := self._reader.message(place, index)) is not None:
                self.unrouted[number] = message, mark
        for number, stream in self.streams.items():
            read = [self._reader.delivery(place, number, at) for at, place in enumerate(stream.places, stream.first)]
            stream.messages.extend(delivery and delivery[0] for delivery in read)
        return {number: place for number, (place, _, _) in self._taken.items()}

    # ---- Messages

    def _route(self, record: Outline) -> None:
        count, place = record.count, record.place
        last = record.order + count - 1
        if last > self.last_order:
            self.last_order = last
        for number in record.taken:
            self._taken.pop(number, None)
        rest = iter(record.owed)
        for number in rest:
            first = next(rest)
            session = self.sessions.get(number)
            if session is not None:
                session.owe(first, count, record.size, place)
            elif number in self.streams:
                self.streams[number].owe(first, count, place)
        if not record.flags & (KEPT | KEPT_NO_MORE):
            return
        if record.flags & KEPT:
            self.retained[record.topic] = record.place, record.count - 1
        else:
            self.retained.pop(record.topic, None)

    def _placed(self, record: Placed) -> None:
        self.last_order = max(self.last_order, record.order)

    def _take_over(self, record: Taking) -> None:
        for index in range(record.count):
            self._taken[record.number + index] = record.place, index, record.mark
        self.last_taken = max(self.last_taken, record.number + record.count - 1)
        session = self.sessions.get(record.session)
        if session is not None:
            session.received.update(dict.fromkeys(record.packet_identifiers))
        if record.mark is not None:
            self._mark(record.mark)

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
        before = self.sessions.get(record.session) or self._void.pop(record.session, None)
        session = self.sessions[record.session] = Remembered(
            record.session,
            record.client_id,
            record.username,
            record.expiry_interval,
            record.window,
            record.will,
            record.node,
            record.first,
            record.first,
        )
        if before is not None:
            session.succeed(before)
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
        for place, index in sorted(self.retained.values()):
            if (message := self._reader.message(place, index)) is not None:
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
        session.last_number = remembered.next - 1
        for number, place in enumerate(remembered.places[: boundary - remembered.begin], remembered.begin):
            if place == GONE:
                continue
            delivery = None if place == CONFIRMED else self._reader.delivery(place, session.number, number)
            if delivery is not None or place == CONFIRMED:
                session.inflight[identifier_of(number)] = delivery
            else:
                session.settlement.drop_unseen(Reason.UNREADABLE, 1)
                session.record_progress(ENDED_OTHERWISE, identifier_of(number))
        begin = boundary - remembered.begin
        if len(remembered.places) > begin:
            queue = session.waiting()
            places = remembered.places[begin:]
            if queue.archive is not None:
                queue.recall(places, remembered.next, sum(remembered.sizes[begin:]))
            else:
                read = self._reader.delivery
                deliveries = [read(place, session.number, number) for number, place in enumerate(places, boundary)]
                queue.load(deliveries, remembered.next)
            session.measure()
        del remembered.places[:], remembered.sizes[:]


def _will(testament: Testament) -> Will:
    properties, _ = decode_properties(testament.properties, 0, PacketType.WILL)
    return Will(testament.topic, testament.payload, testament.qos, testament.retain, properties)
