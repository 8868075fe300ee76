"""A session as a value: everything that must move with a client to another engine, another process or a file.

Made of numbers, strings and bytes alone, so that CBOR carries it as it is. No time of day and no reading of a clock is
in it, only milliseconds that are left. What a CONNECT says anew (version, window, permissions) is not in it either.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.core.message import Header, Message
from broker.mqtt.forms import Delivery
from broker.mqtt.past import Past
from broker.mqtt.session import NEVER, Session, Subscription
from oriole.wire.mqtt import PacketType, Will, decode_properties, encode_properties

if TYPE_CHECKING:
    from broker.mqtt.service import MqttService


@dataclass(slots=True, frozen=True)
class HeaderState:
    """`broker.core.message.Header`, with lists for tuples."""

    content_type: str | None
    payload_format_indicator: int | None
    response_topic: str | None
    correlation_data: bytes | None
    user_property: list[list[str]]
    collapse_key: str | None
    node_path: list[str]


@dataclass(slots=True, frozen=True)
class DeliveryState:
    """A message that the session is owed and how it was granted; `expires_in_ms` is 0 for never."""

    topic: bytes
    payload: bytes
    published_qos: int
    published_retain: bool
    expires_in_ms: int
    header: HeaderState | None
    qos: int
    retain: bool
    subscription_identifiers: list[int]


@dataclass(slots=True, frozen=True)
class InflightState:
    """A packet identifier in use, in the order of sending; no delivery where PUBREL is what was sent."""

    packet_identifier: int
    delivery: DeliveryState | None


@dataclass(slots=True, frozen=True)
class SubscriptionState:
    """A topic filter and its options."""

    filter: bytes
    qos: int
    no_local: bool
    retain_as_published: bool
    identifier: int


@dataclass(slots=True, frozen=True)
class WillState:
    """A will; `properties` as on the wire, `due_in_ms` is what is left of its delay, `bare` is `will_is_bare`."""

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    properties: bytes
    due_in_ms: int
    bare: bool


@dataclass(slots=True, frozen=True)
class SessionState:
    """A session, as if its connection ended now. `expires_in_ms` is None for never; `past` are the filters whose
    retained messages it has not got yet, or not all of them.
    """

    client_id: str
    username: str | None
    expiry_interval: int
    expires_in_ms: int | None
    last_identifier: int
    inflight: list[InflightState]
    queue: list[DeliveryState]
    received: list[int]
    subscriptions: list[SubscriptionState]
    will: WillState | None
    past: list[bytes]


def export(session: Session, now: int) -> SessionState:
    """The state of a session, connected or not. It is a copy: the session lives on."""
    interval = session.expiry_interval
    lifetime = max(0, session.expires_at - now) if session.expires_at else interval * 1000
    return SessionState(
        session.client_id,
        session.username,
        interval,
        None if interval == NEVER else lifetime,
        session.last_identifier,
        [
            InflightState(identifier, None if delivery is None else _export_delivery(delivery, now))
            for identifier, delivery in session.inflight.items()
        ],
        [_export_delivery(delivery, now) for delivery in session.queue or ()],
        list(session.received or ()),
        [
            SubscriptionState(filter, s.qos, s.no_local, s.retain_as_published, s.identifier)
            for filter, s in session.subscriptions.items()
        ],
        None if session.will is None else _export_will(session.will, session, now),
        [] if session.past is None else session.past.unfinished,
    )


def restore(service: MqttService, state: SessionState, now: int) -> Session:
    """Make the session on `service`, its client away: it is subscribed, queues, and expires from now on.

    Raises ValueError where the client has a session here, which only its owner may end.
    """
    if state.client_id in service.sessions:
        raise ValueError(f"{state.client_id!r} has a session here")
    session = service.sessions[state.client_id] = Session(state.client_id, service)
    session.username = state.username
    session.expiry_interval = state.expiry_interval
    session.persistent = state.expiry_interval > 0
    session.last_identifier = state.last_identifier
    session.received = dict.fromkeys(state.received) or None
    for entry in state.inflight:
        delivery = None if entry.delivery is None else _restore_delivery(entry.delivery, now)
        session.inflight[entry.packet_identifier] = delivery
    for asked in state.subscriptions:
        subscription = Subscription(asked.qos, asked.no_local, asked.retain_as_published, asked.identifier)
        session.subscriptions[asked.filter] = subscription
        service.router.subscribe(asked.filter, session, session.form(subscription), now)
    if state.queue:
        session.queue = deque()
        for waiting in state.queue:
            session.enqueue(_restore_delivery(waiting, now), now)
    if state.past:
        session.past = Past(session)
        for filter in state.past:
            session.past.add(filter)
    _restore_deadlines(session, state, now)
    return session


def _restore_deadlines(session: Session, state: SessionState, now: int) -> None:
    if state.expires_in_ms is not None:
        session.expires_at = now + state.expires_in_ms
    if state.will is not None:
        properties, _ = decode_properties(state.will.properties, 0, PacketType.WILL)
        session.will = Will(state.will.topic, state.will.payload, state.will.qos, state.will.retain, properties)
        session.will_at = now + state.will.due_in_ms
        session.will_is_bare = state.will.bare
    times = [at for at in (session.will_at, session.expires_at) if at]
    if times:
        session.service.engine.deadlines.schedule(session, min(times))


def _export_will(will: Will, session: Session, now: int) -> WillState:
    delay = min(will.properties.will_delay_interval or 0, session.expiry_interval) * 1000
    due_in_ms = max(0, session.will_at - now) if session.will_at else delay
    properties = encode_properties(will.properties)
    return WillState(will.topic, will.payload, will.qos, will.retain, properties, due_in_ms, session.will_is_bare)


def _export_delivery(delivery: Delivery, now: int) -> DeliveryState:
    message, qos, retain, identifiers = delivery
    return DeliveryState(
        message.topic,
        message.payload,
        message.qos,
        message.retain,
        max(1, message.expires_at - now) if message.expires_at else 0,
        None if message.header is None else _export_header(message.header),
        qos,
        retain,
        list(identifiers),
    )


def _restore_delivery(state: DeliveryState, now: int) -> Delivery:
    message = Message(
        state.topic,
        state.payload,
        state.published_qos,
        state.published_retain,
        None if state.header is None else _restore_header(state.header),
        None,
        now + state.expires_in_ms if state.expires_in_ms else 0,
    )
    return message, state.qos, state.retain, tuple(state.subscription_identifiers)


def _export_header(header: Header) -> HeaderState:
    return HeaderState(
        header.content_type,
        header.payload_format_indicator,
        header.response_topic,
        header.correlation_data,
        [list(pair) for pair in header.user_property],
        header.collapse_key,
        list(header.node_path),
    )


def _restore_header(state: HeaderState) -> Header:
    return Header(
        state.content_type,
        state.payload_format_indicator,
        state.response_topic,
        state.correlation_data,
        tuple((name, value) for name, value in state.user_property),
        state.collapse_key,
        tuple(state.node_path),
    )
