"""One PUBLISH packet as a message: whatever it carries, checked in the order in which the specification names it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.message import Message
from broker.core.pushes import open_push
from broker.mqtt import nodes
from broker.mqtt.forms import read_header
from oriole.link.uplink import Stamp
from oriole.wire.mqtt import (
    V5,
    MalformedPacket,
    PacketType,
    Properties,
    ProtocolError,
    ReasonCode,
    check_topic,
    decode_properties,
)

if TYPE_CHECKING:
    from broker.mqtt.session import Session

NO_STAMP = Stamp()


def read_publish(
    session: Session, first: int, data: bytes, body: int, stop: int, now: int
) -> tuple[Message, int, Stamp]:
    """The message of a PUBLISH (3.3) with first byte `first` and the rest in `data[body:stop]`; its packet identifier,
    0 with QoS 0; and what another node stamped on it.

    Raises MqttError with the specification's reason.
    """
    if stop - body < 2:
        raise MalformedPacket("PUBLISH without a topic")
    qos = first >> 1 & 3
    position = body + 2 + (data[body] << 8) + data[body + 1]
    topic = data[body + 2 : position]
    identifier = 0
    header = None
    stamp = NO_STAMP
    expires_at = 0
    if qos:
        if qos == 3 or position + 2 > stop:
            raise MalformedPacket("QoS 3" if qos == 3 else "PUBLISH cut short")
        identifier = data[position] << 8 | data[position + 1]
        position += 2
        if not identifier:
            raise ProtocolError("packet identifier 0")
    elif first & 8:
        raise MalformedPacket("DUP with QoS 0")
    if session.encoding.version == V5:
        if position >= stop:
            raise MalformedPacket("PUBLISH without properties")
        if data[position]:
            properties, size = decode_properties(data[position:stop], 0, PacketType.PUBLISH)
            position += size
            _check_properties(properties)
            if session.node is None:
                header = read_header(properties)
            else:
                header, stamp = nodes.read_stamped(session, properties)
            lifetime = properties.message_expiry_interval
            if lifetime is not None:
                expires_at = now + lifetime * 1000
        else:
            position += 1
        if not topic:
            raise ProtocolError("an empty topic without a topic alias")  # 3.3.2.1
    elif position > stop:
        raise MalformedPacket("topic longer than its packet")
    if topic not in session.router.routes.cached:  # every topic in there was checked before
        check_topic(topic)
    message = Message(topic, data[position:stop], qos, first & 1 == 1, header, session, expires_at)
    if session.encoding.version != V5:
        open_push(message, now)
    return message, identifier, stamp


def _check_properties(properties: Properties) -> None:
    if properties.topic_alias is not None:
        raise ProtocolError("no topic alias was offered", ReasonCode.TOPIC_ALIAS_INVALID)
    if properties.subscription_identifier:
        raise ProtocolError("a client's PUBLISH carries no subscription identifier")
