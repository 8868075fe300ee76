"""A message on its way through one node.

It is written once, by the protocol that received it, and read by every form that delivers it. What it costs to build is
paid for each QoS 1 and 2 publish, so it holds values only and decides nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from oriole.wire.user_properties import COLLAPSE_KEY

if TYPE_CHECKING:
    from broker.core.records import Accepted, Routed
    from broker.core.sink import Publisher

MESSAGE_OVERHEAD_BYTES = 256
"""About what CPython spends on a message and its two byte strings, so that a million empty messages are not free."""

PAIR_OVERHEAD_BYTES = 160
"""The same for a user property: a tuple and two strings."""


@dataclass(slots=True, frozen=True)
class Header:
    """What a publisher says about a message beside topic and payload: the push envelope's header, in MQTT 5's names.

    `collapse_key` names pushes of which only the newest matters. `node_path` lists the nodes that passed the message
    on, oldest first, so that no node takes it twice; it never reaches an ordinary client.
    """

    content_type: str | None = None
    payload_format_indicator: int | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_property: tuple[tuple[str, str], ...] = ()
    collapse_key: str | None = None
    node_path: tuple[str, ...] = ()

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """Its user properties, the collapse key among them: the one fact that no standard property can carry."""
        if self.collapse_key is None:
            return self.user_property
        return (*self.user_property, (COLLAPSE_KEY, self.collapse_key))

    @property
    def size(self) -> int:
        """Bytes that it counts, about: what a peer says of a message is held as long as the message."""
        texts = (self.content_type, self.response_topic, self.correlation_data, self.collapse_key)
        pairs = sum(len(name) + len(value) + PAIR_OVERHEAD_BYTES for name, value in self.user_property)
        return pairs + sum(len(text) for text in texts if text is not None)


def split_collapse_key(pairs: Sequence[tuple[str, str]]) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """The collapse key among user properties, and the others: what `Header.pairs` put together."""
    key = next((value for name, value in pairs if name == COLLAPSE_KEY), None)
    return key, tuple(pair for pair in pairs if pair[0] != COLLAPSE_KEY)


class Message:
    """One application message.

    Attributes:
        topic: the topic name, UTF-8, checked by whoever received it.
        payload: the application's bytes.
        qos: 0, 1 or 2, as published.
        retain: the publisher asks for it to become the topic's retained value.
        header: further facts, or None where the publisher gave none (the common case costs nothing).
        origin: who published it; None for the node's own. No-local and loop rules read it.
        expires_at: node time in milliseconds after which it is worth nothing; 0 for never.
        order: its place in this node's order, given when it is routed with QoS > 0 or as retained state; 0 before that.
        encoded: a format (a bit of `Form.takes`) and the bytes before and after the packet identifier in it, where a
            protocol has them at hand: who delivers unchanged, in the same format, need not encode.
        promised: it is taken over before it is routed, and acknowledged: it finds room then, limits or not; `Backlog`
            sees to it that these are few.
        replayed: it was retained elsewhere before it was asked for here: who gets it gets it with RETAIN set.
        taken: its number in the journal, where it was recorded before it is routed; 0 otherwise.
        record: while it is being routed, the record that names who is owed it; None where nothing is recorded.
    """

    __slots__ = (
        "encoded", "expires_at", "header", "order", "origin", "payload", "promised", "qos", "record", "replayed",
        "retain", "taken", "topic",
    )  # fmt: skip

    def __init__(
        self,
        topic: bytes,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        header: Header | None = None,
        origin: Publisher | None = None,
        expires_at: int = 0,
    ) -> None:
        self.topic = topic
        self.payload = payload
        self.qos = qos
        self.retain = retain
        self.header = header
        self.origin = origin
        self.expires_at = expires_at
        self.order = 0
        self.promised = False
        self.replayed = False
        self.taken = 0
        self.record: Accepted | Routed | None = None
        self.encoded: tuple[int, bytes, bytes] | None = None

    def __repr__(self) -> str:
        return (
            f"Message({self.topic!r}, {self.payload[:32]!r}, qos={self.qos}, retain={self.retain}, order={self.order})"
        )

    @property
    def size(self) -> int:
        """Bytes that this message counts against queue and retained limits: topic, payload and header, and a flat
        overhead.
        """
        size = len(self.topic) + len(self.payload) + MESSAGE_OVERHEAD_BYTES
        return size if self.header is None else size + self.header.size


class Stored(Message):
    """A message that was kept until somebody asked for it: retained state, or a push held for late comers."""

    __slots__ = ()

    @classmethod
    def copy_of(cls, message: Message) -> Self:
        """`message`, for one who comes late."""
        copy = cls(
            message.topic,
            message.payload,
            message.qos,
            message.retain,
            message.header,
            message.origin,
            message.expires_at,
        )
        copy.order, copy.replayed, copy.encoded = message.order, message.replayed, message.encoded
        return copy
