"""A session, or all of them, as records: what `Recollection` makes the same sessions from.

A session is a value: its records carry it to another engine, another process or a file, whole.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from broker.core.message import Message
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
from broker.mqtt.session import IDENTIFIERS
from oriole.wire.mqtt import encode_properties

if TYPE_CHECKING:
    from broker.mqtt.forms import Delivery
    from broker.mqtt.service import MqttService
    from broker.mqtt.session import Session

NOTHING = Message(b"gone", b"", 1)
"""In the place of a delivery that has ended between others that have not."""


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
    """All there is to a session, connected or not."""
    number = session.number
    before = _before_the_oldest(session)
    yield Opened(
        number,
        session.client_id,
        session.username,
        session.expiry_interval,
        max(session.window, len(session.inflight)),
        testament(session),
        before,
        session.node.name if session.node is not None else "",
    )
    if session.persistent:
        yield from _persistent_records(session)
    if session.connection is None:
        yield Left(number, session.expiry_interval, session.will is not None, _left_at(session, now))


def _persistent_records(session: Session) -> Iterator[Record]:
    """What the session of one who may come back has besides: subscriptions, what came in, what it is owed."""
    number = session.number
    late = () if session.past is None else session.past.unfinished
    for filter, subscription in session.subscriptions.items():
        yield Subscribed(number, filter, subscription.options, subscription.identifier, filter in late)
    if session.received:
        yield Receiving(number, list(session.received))
    yield from _deliveries(session)


def _before_the_oldest(session: Session) -> int:
    """The packet identifier before that of the oldest delivery that has not ended."""
    if not session.inflight:
        return session.last_identifier
    oldest = max(session.inflight, key=lambda identifier: (session.last_identifier - identifier) % IDENTIFIERS)
    return (oldest - 2) % IDENTIFIERS + 1


def _deliveries(session: Session) -> Iterator[Record]:
    number = session.number
    identifier = _before_the_oldest(session)
    confirmed: list[int] = []
    ended: list[int] = []
    while identifier != session.last_identifier:
        identifier = identifier % IDENTIFIERS + 1
        delivery = session.inflight.get(identifier)
        if delivery is not None:
            yield _owes(number, delivery)
            continue
        yield Owes(NOTHING, (number, 2, False, ()))
        (confirmed if identifier in session.inflight else ended).append(identifier)
    if confirmed:
        yield Progressed(number, 0x50, confirmed)
    if ended:
        yield Progressed(number, ENDED_OTHERWISE, ended)
    for waiting in session.queue or ():
        yield _owes(number, waiting)


def _owes(number: int, delivery: Delivery) -> Owes:
    message, qos, retain, identifiers = delivery
    return Owes(message, (number, qos, retain, identifiers))


def node_records(
    service: MqttService, now: int, beside: Callable[[], Iterator[Record]] = lambda: iter(())
) -> Iterator[Record]:
    """A whole node, whatever was recorded before: its MQTT service, and what it has `beside` that."""
    yield Reset()
    for portion in pieces(service, 1000, lambda: now, beside):
        yield from portion


def pieces(
    service: MqttService,
    size: int,
    clock: Callable[[], int],
    beside: Callable[[], Iterator[Record]] = lambda: iter(()),
) -> Iterator[list[Record]]:
    """A whole node in portions of about `size` records, each to be recorded before anything else happens: what was
    taken and is not routed yet, what it keeps, every session, and what it has `beside`. It may change between two
    portions.
    """
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
    portion = []
    for session in list(service.sessions.values()):
        if session.number:
            portion += session_records(session, clock())
        if len(portion) >= size:
            yield portion
            portion = []
    yield portion
    yield [*beside()]


def _left_at(session: Session, now: int) -> int:
    """When the client left, as far as it matters: counted back from when its session ends, or its will is due."""
    if session.expires_at:
        return session.expires_at - 1000 * session.expiry_interval
    return now
