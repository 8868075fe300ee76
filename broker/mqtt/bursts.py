"""Packets that come in a row and are alike: what makes QoS 1 and 2 cheap.

Each function takes as many packets from the front of the data as are alike and plain, and returns where they end. What
is out of the ordinary it leaves alone: the connection then looks at that packet by itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from struct import iter_unpack
from typing import TYPE_CHECKING

from broker.core.message import MESSAGE_OVERHEAD_BYTES, Message
from broker.core.pushes import ENVELOPE
from broker.core.routes import Route
from broker.mqtt.acknowledgements import Acknowledgements
from broker.mqtt.pieces import PINGREQ, PUBACK, PUBCOMP, PUBREC, PUBREL
from oriole.wire.mqtt import V5

if TYPE_CHECKING:
    from broker.mqtt.session import Session

MOST_IN_A_ROW = 64
"""Acknowledgements looked for in a row. One that answers nothing ends it: without this limit, a peer that sends few
others would have the rest of the data searched for each of them."""


def take_publishes(
    session: Session,
    promise: Acknowledgements,
    data: bytes,
    position: int,
    topic: bytes,
    after: int,
    stop: int,
    route: Route,
    now: int,
) -> int:
    """QoS 1 or 2 packets on one topic, of one length, without DUP, RETAIN, properties and what may be an envelope.

    The first one begins at `position`, its `topic` ends at `after`, it ends at `stop`.
    """
    router = session.router
    if router.full_sinks or router.is_refusing:
        return position
    version = session.encoding.version
    plain = 1 << version
    start = data[position:after]
    qos = start[0] >> 1 & 3
    empty = version == V5  # the byte that says that there are no properties
    skip = after - position + 2
    size = stop - position
    # Room is looked for once, above: so no more together than a queue may hold beyond its limit (`Session.enqueue`).
    backlog = router.backlog
    room = (backlog.max_bytes - backlog.bytes) // (size + MESSAGE_OVERHEAD_BYTES)
    most = min(backlog.max_messages - backlog.messages, room)
    if most <= 0 and qos == 2:
        return position
    end = min(len(data), position + size * max(most, 1))
    received = session.received_identifiers() if qos == 2 else None
    messages: list[Message] = []
    identifiers: list[bytes] = []
    while True:
        tail = position + skip
        identifier = data[tail - 2 : tail]
        if identifier == b"\0\0" or (data[tail] if empty else tail < stop and data[tail] == ENVELOPE[0]):
            break
        if received is not None:
            number = identifier[0] << 8 | identifier[1]
            if number in received or len(received) >= session.limits.receive_maximum:
                break
            received[number] = None
        message = Message(topic, data[tail + empty : stop], qos, False, None, session)
        message.encoded = (plain, start, data[tail:stop])
        messages.append(message)
        identifiers.append(identifier)
        position = stop
        stop += size
        if stop > end or not data.startswith(start, position):
            break
    if messages and received is None:
        router.deliver_all(messages, route, now)
        promise.add(PUBACK, identifiers)
    elif messages:
        promise.receive(messages, identifiers)
    return position


def end_of_pings(data: bytes, position: int) -> int:
    """Where a row of PINGREQ packets ends that goes on at `position`: a client that sends nothing else costs others
    little of their time.
    """
    for row in (PINGREQ * 1024, PINGREQ * 32, PINGREQ):
        while data.startswith(row, position):
            position += len(row)
    return position


def take_acknowledgements(session: Session, promise: Acknowledgements, data: bytes, position: int) -> int:
    """PUBACK, PUBREC, PUBREL or PUBCOMP packets of four bytes each, of the type that `position` begins with.

    Only where nothing has to be recorded, nobody keeps a book and nothing waits for the window.
    """
    if session.recorded or session.queue or session.resend or session.settlement.book is not None:
        return position
    start = data[position : position + 2]
    identifier = data[position + 2] << 8 | data[position + 3]
    if identifier not in (session.received_identifiers() if start == PUBREL else session.inflight):
        return position
    stop = position + 4
    end = min(len(data), position + 4 * MOST_IN_A_ROW)
    while stop + 4 <= end and data.startswith(start, stop):
        stop += 4
    identifiers = iter_unpack(">2xH", data[position:stop])
    if start == PUBREL:
        taken = _released(session, identifiers)
        answer = PUBCOMP
    elif start == PUBREC:
        taken = _received(session, identifiers)
        answer = PUBREL
    else:
        return position + 4 * _settled(session, identifiers, start == PUBCOMP)
    promise.add(answer, [data[at + 2 : at + 4] for at in range(position, position + 4 * taken, 4)])
    return position + 4 * taken


def _settled(session: Session, identifiers: Iterator[tuple[int, ...]], complete: bool) -> int:
    """How many PUBACKs end a delivery or, `complete`, PUBCOMPs free its identifier."""
    inflight = session.inflight
    count = 0
    for (identifier,) in identifiers:
        if identifier not in inflight:
            break
        delivery = inflight[identifier]
        if (delivery is not None) if complete else (delivery is None or delivery[1] != 1):
            break
        del inflight[identifier]
        count += 1
    if not complete:
        session.settlement.acknowledged += count
    return count


def _received(session: Session, identifiers: Iterator[tuple[int, ...]]) -> int:
    """How many PUBRECs end a QoS 2 delivery, but for the identifier."""
    inflight = session.inflight
    count = 0
    for (identifier,) in identifiers:
        delivery = inflight.get(identifier)
        if delivery is None or delivery[1] != 2:
            break
        inflight[identifier] = None
        count += 1
    session.settlement.acknowledged += count
    return count


def _released(session: Session, identifiers: Iterator[tuple[int, ...]]) -> int:
    """How many PUBRELs end a QoS 2 reception."""
    received = session.received_identifiers()
    count = 0
    for (identifier,) in identifiers:
        if received.pop(identifier, 0) is not None:
            break
        count += 1
    return count
