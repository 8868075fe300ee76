"""A push changes its carrier from hop to hop: one carrier per hop, never two (docs/push-envelope.md).

Inside a node a push is what MQTT 5 makes of it: facts in the message's header, the body as payload. Who publishes
without properties (MQTT 3.1.1, CoAP, serial) sends an envelope, and it is opened here; who receives without them gets
one, made here. Any other payload is somebody else's and is not touched.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from broker.core.message import Header, Message, split_collapse_key
from oriole.wire.user_properties import ID

if TYPE_CHECKING:
    from oriole.wire import push

ENVELOPE = b"\x82"
"""First byte of every envelope: a CBOR array of two. The codec is imported by whoever meets the first one."""


def open_push(message: Message, now: int) -> None:
    """Take an envelope apart, in place.

    Args:
        message: from a publisher without properties; its payload, header and lifetime change if it is a push.
        now: node time in milliseconds.
    """
    if not message.payload.startswith(ENVELOPE):
        return
    from oriole.wire import push

    try:
        envelope = push.decode(message.payload)
    except push.EnvelopeError:
        return
    if message.retain and not envelope.body:
        return  # an empty retained payload would delete the value
    facts = push.to_mqtt(envelope.header)
    collapse_key, pairs = split_collapse_key(facts.user_property)
    message.payload = envelope.body
    message.header = Header(
        content_type=facts.content_type,
        response_topic=facts.response_topic,
        correlation_data=facts.correlation_data,
        user_property=pairs,
        collapse_key=collapse_key,
    )
    lifetime = envelope.header.lifetime_ms
    if lifetime is not None:
        message.expires_at = now + lifetime


def is_push(message: Message) -> bool:
    """Whether the message is a push, which a recipient without properties gets in an envelope."""
    header = message.header
    return header is not None and any(name == ID for name, _ in header.user_property)


def payload_of(message: Message, now: int | None) -> bytes:
    """The payload for a recipient without properties: the push's envelope, or the payload as it is.

    Args:
        message: a message on its way out; it stays as it is.
        now: node time in milliseconds, for what remains of the lifetime; None leaves the lifetime out, where the hop
            has another way to say it.
    """
    if not is_push(message) or (message.retain and not message.payload):  # which deletes the value
        return message.payload
    from oriole.wire import push

    try:
        header = _envelope_header(message)
        if now is not None and message.expires_at:
            header = replace(header, lifetime_ms=min(max(0, message.expires_at - now), push.MAX_LIFETIME_MS))
        return push.encode(push.Envelope(header, message.payload))
    except push.EnvelopeError:  # an id, or something beside it, that is none: its publisher's own affair
        return message.payload


def _envelope_header(message: Message) -> push.Header:
    """The facts without the lifetime. Raises EnvelopeError."""
    from oriole.wire import push

    header = message.header
    assert header is not None
    facts = push.MqttProperties(
        content_type=header.content_type,
        response_topic=header.response_topic,
        correlation_data=header.correlation_data,
        user_property=header.pairs,
    )
    found = push.from_mqtt(facts)
    assert found is not None
    return found[0]
