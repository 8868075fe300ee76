"""SUBSCRIBE and UNSUBSCRIBE: changing what a session hears, and what a new subscription gets of the past."""

from __future__ import annotations

from collections.abc import Sequence

from broker.core.questions import Action
from broker.core.records import Subscribed, Unsubscribed
from broker.mqtt.past import Past
from broker.mqtt.session import Session, Subscription
from oriole.wire.mqtt import ReasonCode, SubAck, Subscribe, UnsubAck, Unsubscribe, encode

SHARED = "$share/"


def subscribe(session: Session, packet: Subscribe, now: int) -> tuple[bytes, list[tuple[bytes, int]]]:
    """Take the filters of a SUBSCRIBE (3.8); the SUBACK, and which of them get what was published before, up to which
    place in the order.
    """
    codes: list[ReasonCode] = []
    late: list[tuple[bytes, int]] = []
    identifier = next(iter(packet.properties.subscription_identifier), 0)
    for asked in packet.subscriptions:
        filter = asked.topic_filter.encode()
        known = filter in session.subscriptions
        refusal = _refusal(session, asked.topic_filter, known)
        if refusal is not None:
            codes.append(refusal)
            continue
        subscription = Subscription(asked.qos, asked.no_local, asked.retain_as_published, identifier)
        session.subscriptions[filter] = subscription
        session.router.subscribe(filter, session, session.form(subscription), now)
        codes.append(ReasonCode(asked.qos))
        is_late = asked.retain_handling == 0 or (asked.retain_handling == 1 and not known)
        if is_late:
            late.append((filter, session.router.order))
        if session.recorded:
            record = Subscribed(session.number, filter, subscription.options, identifier, is_late)
            session.router.engine.promises.records.append(record)
    return encode(SubAck(packet.packet_identifier, codes), session.encoding.version), late


def unsubscribe(session: Session, packet: Unsubscribe, now: int) -> bytes:
    """Give up the filters of an UNSUBSCRIBE (3.10); the UNSUBACK."""
    codes: list[ReasonCode] = []
    for text in packet.topic_filters:
        filter = text.encode()
        if session.subscriptions.pop(filter, None) is None:
            codes.append(ReasonCode.NO_SUBSCRIPTION_EXISTED)
            continue
        session.router.unsubscribe(filter, session, now)
        if session.recorded:
            session.router.engine.promises.records.append(Unsubscribed(session.number, filter))
        codes.append(ReasonCode.SUCCESS)
    return encode(UnsubAck(packet.packet_identifier, codes), session.encoding.version)


def deliver_late(session: Session, filters: Sequence[tuple[bytes, int]], now: int) -> None:
    """Begin to send what new subscriptions get of the past."""
    past = session.past
    if past is None:
        past = session.past = Past(session)
    for filter, before in filters:
        past.add(filter, before)
    past.go_on(now)


def _refusal(session: Session, filter: str, known: bool) -> ReasonCode | None:
    if filter.startswith(SHARED):
        return ReasonCode.SHARED_SUBSCRIPTIONS_NOT_SUPPORTED
    if session.restricted and not session.permissions.get((Action.SUBSCRIBE, filter.encode())):
        return ReasonCode.NOT_AUTHORIZED
    if not known and len(session.subscriptions) >= session.limits.max_subscriptions:
        return ReasonCode.QUOTA_EXCEEDED
    return None
