"""A session, or all of them, as records: what `Recollection` makes the same sessions from.

A session is a value: its records carry it to another engine, another process or a file, whole, but for what is not in
memory. What is not is where it was recorded before, and stays known from there (`Opened`), or is read for it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.core.records import (
    ENDED_OTHERWISE,
    Accepted,
    Left,
    Marked,
    Opened,
    Owes,
    Placed,
    Progressed,
    Receiving,
    Record,
    Reset,
    Subscribed,
    Taken,
    Testament,
)
from broker.mqtt.session import identifier_of
from oriole.wire.mqtt import encode_properties

if TYPE_CHECKING:
    from broker.core.queue import Queue
    from broker.core.records import Delivery
    from broker.mqtt.service import MqttService
    from broker.mqtt.session import Session


@dataclass(slots=True, frozen=True)
class Wanted:
    """Deliveries of a session from no. `first` on, which are to be read."""

    session: int
    first: int
    places: Sequence[int]


Pieces = Generator["list[Record] | Wanted", "Sequence[Delivery | None]", None]
"""Portions of records, and what has to be read for the next one: to be sent."""


def testament(session: Session) -> Testament | None:
    """A session's will, if it has one."""
    will = session.will
    if will is None:
        return None
    properties = encode_properties(will.properties)
    return Testament(
        will.topic, will.payload, will.qos, will.retain, properties, session.will_is_bare, session.restricted
    )


def session_records(session: Session, now: int) -> Iterator[Record]:
    """All there is to a session, connected or not, as far as it is in memory."""
    yield from _state(session, now)
    queue = session.queue
    if session.persistent and queue is not None:
        queue.forget_notes()
        yield from _waiting(session, queue, queue.in_memory())


def _state(session: Session, now: int) -> Iterator[Record]:
    """A session without what waits."""
    number = session.number
    yield Opened(
        number,
        session.client_id,
        session.username,
        session.expiry_interval,
        max(session.window, len(session.inflight)),
        testament(session),
        session.oldest,
        session.node.name if session.node is not None else "",
    )
    if session.persistent:
        late = () if session.past is None else session.past.unfinished
        for filter, subscription in session.subscriptions.items():
            yield Subscribed(number, filter, subscription.options, subscription.identifier, filter in late)
        if session.received:
            yield Receiving(number, list(session.received))
        yield from _in_flight(session)
    if session.connection is None:
        yield Left(number, session.expiry_interval, session.will is not None, _left_at(session, now))


def _in_flight(session: Session) -> Iterator[Record]:
    confirmed: list[int] = []
    ended: list[int] = []
    for number in range(session.oldest, session.sent + 1):
        identifier = identifier_of(number)
        delivery = session.inflight.get(identifier)
        if delivery is not None:
            yield _owes(session, number, delivery)
        else:
            (confirmed if identifier in session.inflight else ended).append(identifier)
    if confirmed:
        yield Progressed(session.number, 0x50, confirmed)
    if ended:
        yield Progressed(session.number, ENDED_OTHERWISE, ended)


def _waiting(session: Session, queue: Queue, deliveries: Iterable[tuple[int, Delivery]]) -> Iterator[Record]:
    for number, delivery in deliveries:
        record = _owes(session, number, delivery)
        queue.note(number, 1, record)
        yield record


def _owes(session: Session, number: int, delivery: Delivery) -> Owes:
    message, qos, retain, identifiers = delivery
    return Owes(message, (session.number, qos, retain, identifiers, number))


def _queue_pieces(session: Session, first: int, end: int) -> Pieces:
    """Deliveries that waited, from no. `first` on and before no. `end`, in portions. What has left the queue when its
    turn comes is written, too, as long as it has not ended.
    """
    number = session.number
    while first < end and session.number == number and (queue := session.queue) is not None:
        deliveries: Sequence[Delivery | None]
        if first <= session.sent:
            deliveries = [None] * (min(session.sent + 1, end) - first)
        else:
            deliveries = queue.held(first, queue.portion)
            if not deliveries:
                deliveries = yield Wanted(number, first, queue.places(first, queue.portion))
                if session.number != number:
                    return
        unended = [
            (at, delivery)
            for at, read in enumerate(deliveries, first)
            if (delivery := session.in_flight(at) if at <= session.sent else read) is not None
        ]
        yield [*_waiting(session, queue, unended)]
        first += len(deliveries)


def node_records(
    service: MqttService, now: int, beside: Callable[[], Iterator[Record]] = lambda: iter(())
) -> Iterator[Record]:
    """A whole node, as far as it is in memory, whatever was recorded before: its MQTT service, and what it has `beside`
    that.
    """
    yield Reset()
    for portion in _kept(service, 1000, lambda: now):
        yield from portion
    for session in service.sessions.values():
        if session.number:
            yield from session_records(session, now)
    yield from beside()


def pieces(
    service: MqttService,
    size: int,
    clock: Callable[[], int],
    beside: Callable[[], Iterator[Record]] = lambda: iter(()),
) -> Pieces:
    """A whole node in portions of about `size` records, each to be recorded before anything else happens: what was
    taken and is not routed yet, what it keeps, every session, and what it has `beside`. It may change between two
    portions.
    """
    yield from _kept(service, size, clock)
    portion: list[Record] = []
    for session in list(service.sessions.values()):
        if not session.number:
            continue
        portion += _state(session, clock())
        first, end = session.sent + 1, session.last_number + 1
        if first < end or len(portion) >= size:
            yield portion
            portion = []
            yield from _queue_pieces(session, first, end)
    yield [*portion, *beside()]


def _kept(service: MqttService, size: int, clock: Callable[[], int]) -> Iterator[list[Record]]:
    """What belongs to no session."""
    router = service.router
    portion: list[Record] = [Placed(router.order)]
    portion += [Taken(number, [message], mark=mark) for number, (message, mark) in router.unrouted.items()]
    portion += [Marked(mark) for mark in service.marks]
    yield portion
    topics = [message.topic for message in router.retained if not message.topic.startswith(b"$")]
    for start in range(0, len(topics), size):
        now = clock()
        kept = (router.retained.get(topic, now) for topic in topics[start : start + size])
        yield [Accepted((message,), is_kept=True) for message in kept if message is not None]


def _left_at(session: Session, now: int) -> int:
    """When the client left, as far as it matters: counted back from when its session ends, or its will is due."""
    if session.expires_at:
        return session.expires_at - 1000 * session.expiry_interval
    return now
