"""The centre's side of an uplink: clients that are Oriole nodes (docs/uplink.md).

They differ from other clients in three ways: what they publish is numbered, so that a repeat is known whatever happened
to the link; what they are sent says where it stands in this node's order; and retained messages that answer a
SUBSCRIBE end with a mark, so that what is missing is known to be deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.core.message import Header, Message
from broker.core.records import Mark
from broker.core.settlement import Reason
from broker.mqtt.forms import MqttForm, publish_properties, read_header
from oriole.link.uplink import SNAPSHOT_END, Stamp, StampError
from oriole.wire.mqtt import V5, Properties, ProtocolError, PubAck, encode

if TYPE_CHECKING:
    from broker.core.routes import Route
    from broker.core.sink import Sink
    from broker.mqtt.connection import Connection
    from broker.mqtt.session import Session


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


class Arrival:
    """A numbered message of a node: routed and acknowledged, with its place in the order, once it is recorded."""

    __slots__ = ("connection", "identifier", "message", "repeat", "session", "stamp")

    def __init__(
        self,
        connection: Connection,
        session: Session,
        identifier: int,
        stamp: Stamp,
        message: Message,
        repeat: bool,
    ) -> None:
        self.connection = connection
        self.session = session
        self.identifier = identifier
        self.stamp = stamp
        self.message = message
        self.repeat = repeat

    def kept(self, now: int) -> None:
        """Route it, unless it is a repeat, and acknowledge."""
        message = self.message
        if not self.repeat:
            self.session.router.backlog.remove(message)
            self.session.router.publish(message, now)
        order = self._order(now) if message.retain else 0
        if self.connection.session is self.session:
            pairs = Stamp(order=order).pairs()
            answer = PubAck(self.identifier, properties=Properties(user_property=pairs))
            self.connection.channel.send(encode(answer, V5))

    def _order(self, now: int) -> int:
        """The place of a retained value. Of a repeat, that of what the node set last; 0 where somebody else did since:
        that value is on its way to the node, and has the higher place."""
        message, peer = self.message, self.session.node
        if not self.repeat:
            return message.order
        kept = self.session.router.retained.get(message.topic, now)
        if kept is None or kept.header is None or peer is None or kept.header.node_path[-1:] != (peer.name,):
            return 0
        return kept.order

    def broken(self, now: int) -> None:
        """It was not recorded: the repeat is new."""
        peer = self.session.node
        if not self.repeat:
            self.session.router.backlog.remove(self.message)
            self.session.router.let_go(self.message)
        if peer is not None and not self.repeat:
            self.session.service.marks.withdraw(peer.epoch, self.stamp.traffic_class, self.stamp.sequence)
        if self.connection.session is self.session:
            self.connection.end(now)


def read_stamped(session: Session, properties: Properties) -> tuple[Header | None, Stamp]:
    """A node's PUBLISH properties as the publisher's header and the node's stamp. Raises ProtocolError."""
    try:
        stamp = Stamp.read(properties.user_property)
    except StampError as error:
        raise ProtocolError(str(error)) from None
    return read_header(properties, stamp.path), stamp


def receive(
    connection: Connection, session: Session, message: Message, stamp: Stamp, identifier: int, route: Route, now: int
) -> Arrival | Sink | Reason:
    """Take a numbered message of a node: the promise to acknowledge it, or what stands in its way."""
    service, peer = session.service, session.node
    assert peer is not None
    marks, number = service.marks, (peer.epoch, stamp.traffic_class, stamp.sequence)
    repeat = marks.is_repeat(*number)
    if repeat:
        session.settlement.refuse(message, Reason.REPEAT, now)
    else:
        obstacle = Reason.QUEUE_FULL if marks.overtakes(*number) else session.router.obstacle(message, route)
        if obstacle is not None:
            marks.refuse(*number)
            return obstacle
        marks.take(*number)
        message.qos = stamp.qos or message.qos
        session.router.take_over([message], mark=Mark(*number))
        session.router.backlog.add(message)
    return Arrival(connection, session, identifier, stamp, message, repeat)


def snapshot_end(session: Session, filters: list[bytes]) -> Message:
    """The mark after the retained messages that answer a SUBSCRIBE for `filters`."""
    mark = Message(SNAPSHOT_END.encode(), b"\n".join(filters), qos=1)
    mark.order = session.router.order
    return mark


def _kept(message: Message) -> Message:
    """A QoS 0 message with QoS 1."""
    copy = type(message)(
        message.topic, message.payload, 1, message.retain, message.header, message.origin, message.expires_at
    )
    copy.order, copy.replayed, copy.record = message.order, message.replayed, message.record
    return copy
