"""The centre's side of an uplink: clients that are Oriole nodes (docs/uplink.md).

They differ from other clients in three ways: what they publish comes in numbered batches (`batches`), so that a repeat
is known whatever happened to the link; what they are sent says where it stands in this node's order; and retained
messages that answer a SUBSCRIBE end with a mark, so that what is missing is known to be deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.core.message import Header, Message
from broker.mqtt.forms import MqttForm, publish_properties, read_header
from oriole.link.uplink import SNAPSHOT_END, Greeting, Stamp, StampError
from oriole.wire.mqtt import V5, Properties, ProtocolError

if TYPE_CHECKING:
    from broker.mqtt.session import Session


class Peer:
    """A node that is connected.

    Attributes:
        name, epoch, life: how it introduced itself.
        expected: the number to follow, by class, once there was one on this connection.
    """

    __slots__ = ("epoch", "expected", "life", "name")

    def __init__(self, greeting: Greeting) -> None:
        self.name = greeting.name
        self.epoch = greeting.epoch
        self.life = greeting.life
        self.expected: dict[str, int] = {}


class NodeForm(MqttForm):
    """The form of messages for another node: stamped, and with QoS 2 said in the stamp instead of four packets."""

    __slots__ = ("name",)

    def __init__(
        self,
        name: str,
        qos: int = 1,
        no_local: bool = False,
        retain_as_published: bool = False,
        identifiers: tuple[int, ...] = (),
        max_packet_bytes: int = 0,
    ) -> None:
        super().__init__(V5, qos, no_local, retain_as_published, identifiers, max_packet_bytes)
        self.name = name
        self.takes = 0

    def granting(
        self, qos: int, no_local: bool, retain_as_published: bool, identifiers: tuple[int, ...] = ()
    ) -> NodeForm:
        """The same for another subscription; never more than QoS 1."""
        return NodeForm(self.name, min(qos, 1), no_local, retain_as_published, identifiers, self.max_packet_bytes)

    def deliver(self, message: Message, sinks: Sequence[Session], now: int) -> None:
        """A retained value waits for the node like a QoS 1 message: both sides must end with the same one."""
        super().deliver(_kept(message) if message.retain and not message.qos else message, sinks, now)

    def properties(self, message: Message, identifiers: tuple[int, ...], now: int) -> bytes:
        """The message's own properties and its stamp."""
        path = (*(message.header.node_path if message.header is not None else ()), self.name)
        stamp = Stamp(order=message.order, qos=message.qos, path=path)
        return publish_properties(message, identifiers, now, stamp.pairs())


def read_stamped(session: Session, properties: Properties) -> tuple[Header | None, Stamp]:
    """A node's PUBLISH properties as the publisher's header and the node's stamp. Raises ProtocolError."""
    try:
        stamp = Stamp.read(properties.user_property)
    except StampError as error:
        raise ProtocolError(str(error)) from None
    return read_header(properties, stamp.path), stamp


def snapshot_end(session: Session, filters: list[bytes]) -> Message:
    """The mark after the retained messages that answer a SUBSCRIBE for `filters`: they are for the life of the node
    that is connected now, for others may have seen a part of them.
    """
    life = session.node.life.encode() if session.node is not None else b""
    mark = Message(SNAPSHOT_END.encode(), b"\n".join((life, *filters)), qos=1)
    mark.order = session.router.order
    return mark


def _kept(message: Message) -> Message:
    """A QoS 0 message with QoS 1."""
    copy = type(message)(
        message.topic, message.payload, 1, message.retain, message.header, message.origin, message.expires_at
    )
    copy.order, copy.replayed, copy.record = message.order, message.replayed, message.record
    return copy
