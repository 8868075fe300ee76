"""A message as a parcel on the uplink, and back: what travels between nodes in batches (docs/uplink.md)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from broker.core.message import Header, Message
from oriole.wire.uplink import Facts, Parcel

if TYPE_CHECKING:
    from broker.core.sink import Publisher


def parcel_of(message: Message, now: int) -> Parcel:
    """`message` as it goes on; a lifetime that is over still has a millisecond."""
    flags = message.qos << 1 | message.retain
    header = message.header
    lifetime_ms = max(1, message.expires_at - now) if message.expires_at else 0
    if header is None:
        return Parcel(flags, message.topic, message.payload, lifetime_ms)
    facts = Facts(
        header.content_type,
        header.payload_format_indicator,
        header.response_topic,
        header.correlation_data,
        header.user_property,
        header.collapse_key,
    )
    path = header.node_path
    return Parcel(
        flags, message.topic, message.payload, lifetime_ms, path, None if header is header_of(path) else facts
    )


def message_of(parcel: Parcel, sender: str, origin: Publisher, now: int) -> Message:
    """What the node `sender` sent, which came by `origin`."""
    path = (*parcel.path, sender)
    facts = parcel.facts
    if facts is None:
        header = header_of(path)
    else:
        header = Header(
            facts.content_type,
            facts.payload_format_indicator,
            facts.response_topic,
            facts.correlation_data,
            facts.user_property,
            facts.collapse_key,
            path,
        )
    expires_at = now + parcel.lifetime_ms if parcel.lifetime_ms else 0
    flags = parcel.flags
    return Message(parcel.topic, parcel.payload, flags >> 1, bool(flags & 1), header, origin, expires_at)


@lru_cache(maxsize=1024)
def header_of(path: tuple[str, ...]) -> Header:
    """The header of a message of which no more is known than the nodes that it has passed."""
    return Header(node_path=path)
