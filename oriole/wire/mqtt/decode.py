"""Bytes to packets. One function for each packet, found by the first byte in a table of 256: whoever sends a first byte
that the specification does not list (§2.1.2, §2.1.3) finds a refusal there.

Every function takes (first byte, body, version), the body without the fixed header, and raises only MqttError.
"""

from collections.abc import Callable, Sequence
from typing import Final, TypeVar

from oriole.wire import topics
from oriole.wire.mqtt.errors import MalformedPacket, MqttError, ProtocolError, UnsupportedVersion
from oriole.wire.mqtt.fields import decode_binary, decode_byte, decode_string, decode_two_bytes
from oriole.wire.mqtt.packet_type import V5, V311, PacketType
from oriole.wire.mqtt.packets import (
    Ack,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
)
from oriole.wire.mqtt.properties import Properties, decode_properties
from oriole.wire.mqtt.reason_codes import REASON_CODES, REASON_OF_RETURN_CODE, SUBACK_3_1_1, ReasonCode
from oriole.wire.topics import MAX_TOPIC_LEVELS

MAX_FILTERS: Final = 4096
"""Topic filters in one SUBSCRIBE or UNSUBSCRIBE: some tens of milliseconds for whoever carries it out. A packet of a
megabyte could hold 350,000."""

AckType = TypeVar("AckType", PubAck, PubRec, PubRel, PubComp)
Outcome = TypeVar("Outcome", Disconnect, Auth)
Decoder = Callable[[int, bytes, int], Packet]


def decode(first: int, body: bytes, version: int) -> Packet:
    """The packet with this first byte and body.

    `version` is V311 or V5, as the CONNECT of this connection said; a CONNECT itself says its own. Raises MqttError:
    MalformedPacket, ProtocolError, UnsupportedVersion, or one with the reason code of a name or filter that is refused.
    """
    return _DECODERS[first](first, body, version)


def check_topic(topic: bytes) -> None:
    """Raise MqttError unless a message may be published to `topic`: the fast twin of `topics.check_topic_name`."""
    if b"+" in topic or b"#" in topic:
        raise MalformedPacket("a topic name has no wildcards")  # [MQTT-3.3.2-2]
    if not topic or b"\0" in topic:
        raise MalformedPacket("a topic name has at least one character and no null character")
    if not topic.isascii():
        try:
            topic.decode()
        except UnicodeDecodeError as error:
            raise MalformedPacket(f"a topic name is not UTF-8: {error.reason}") from None
    if topic.count(b"/") >= MAX_TOPIC_LEVELS:
        raise MqttError(ReasonCode.TOPIC_NAME_INVALID, f"a topic has at most {MAX_TOPIC_LEVELS} levels")


def _connect(first: int, body: bytes, version: int) -> Connect:
    protocol, position = decode_binary(body, 0)
    version, position = decode_byte(body, position)
    if protocol == b"MQIsdp":
        raise UnsupportedVersion(version)
    if protocol != b"MQTT":
        raise MalformedPacket("the protocol name is not MQTT")  # [MQTT-3.1.2-1]
    if version not in (V311, V5):
        raise UnsupportedVersion(version)
    flags, position = decode_byte(body, position)
    has_username, has_password, has_will = flags & 0x80, flags & 0x40, flags & 0x04
    will_retain, will_qos = bool(flags & 0x20), (flags >> 3) & 3
    if flags & 0x01:
        raise MalformedPacket("the reserved connect flag is set")  # [MQTT-3.1.2-3]
    if will_qos == 3 or (not has_will and (will_qos or will_retain)):
        raise MalformedPacket("the will flags contradict each other")  # [MQTT-3.1.2-11] to [MQTT-3.1.2-13]
    if version == V311 and has_password and not has_username:
        raise MalformedPacket("a password without a user name")  # 3.1.1 [MQTT-3.1.2-22]
    keep_alive, position = decode_two_bytes(body, position)
    properties, position = _properties(body, position, PacketType.CONNECT, version)
    client_identifier, position = decode_string(body, position)
    will = username = password = None
    if has_will:
        will_properties, position = _properties(body, position, PacketType.WILL, version)
        topic, position = decode_binary(body, position)
        check_topic(topic)
        payload, position = decode_binary(body, position)
        will = Will(topic, payload, will_qos, will_retain, will_properties)
    if has_username:
        username, position = decode_string(body, position)
    if has_password:
        password, position = decode_binary(body, position)
    _check_end(body, position)
    clean_start = bool(flags & 0x02)
    return Connect(client_identifier, version, clean_start, keep_alive, username, password, will, properties)


def _connack(first: int, body: bytes, version: int) -> ConnAck:
    flags, position = decode_byte(body, 0)
    if flags > 1:
        raise MalformedPacket("reserved acknowledge flags are set")  # [MQTT-3.2.2-1]
    code, position = decode_byte(body, position)
    if version == V5:
        reason_code = _reason_code(code, REASON_CODES[PacketType.CONNACK])
    else:
        reason_code = _reason_code(code, REASON_OF_RETURN_CODE)
    properties, position = _properties(body, position, PacketType.CONNACK, version)
    _check_end(body, position)
    if flags and reason_code:
        raise ProtocolError("session present in a refusal")  # [MQTT-3.2.2-6]
    return ConnAck(bool(flags), reason_code, properties)


def _publish(first: int, body: bytes, version: int) -> Publish:
    if len(body) < 2:
        raise MalformedPacket("the topic is missing")
    position = 2 + (body[0] << 8 | body[1])
    topic = body[2:position]
    if len(topic) != position - 2:
        raise MalformedPacket("the topic is longer than the packet")
    packet_identifier = 0
    qos = (first >> 1) & 3
    if qos:
        packet_identifier, position = _packet_identifier(body, position)
    if version == V5:
        properties, position = decode_properties(body, position, PacketType.PUBLISH)
    else:
        properties = Properties()
    if topic:
        check_topic(topic)
    elif properties.topic_alias is None:
        raise ProtocolError("an empty topic without a topic alias")  # §3.3.2.1
    return Publish(topic, body[position:], qos, bool(first & 1), bool(first & 8), packet_identifier, properties)


def _ack(make: type[AckType], packet_type: PacketType) -> Decoder:
    """PUBACK, PUBREC, PUBREL and PUBCOMP are alike; reason code and properties may be left out (§3.4.2.1)."""
    codes = REASON_CODES[packet_type]

    def decode_ack(first: int, body: bytes, version: int) -> Ack:
        packet_identifier, position = _packet_identifier(body, 0)
        if len(body) == 2:
            return make(packet_identifier)
        if version != V5:
            raise MalformedPacket("bytes after the end of the packet")
        reason_code = _reason_code(body[2], codes)
        if len(body) == 3:
            return make(packet_identifier, reason_code)
        properties, position = decode_properties(body, 3, packet_type)
        _check_end(body, position)
        return make(packet_identifier, reason_code, properties)

    return decode_ack


def _subscribe(first: int, body: bytes, version: int) -> Subscribe:
    packet_identifier, position = _packet_identifier(body, 0)
    properties, position = _properties(body, position, PacketType.SUBSCRIBE, version)
    if position == len(body):
        raise ProtocolError("a SUBSCRIBE without a topic filter")  # [MQTT-3.8.3-2]
    subscriptions: list[Subscription] = []
    while position < len(body):
        _check_number(subscriptions)
        topic_filter, position = _topic_filter(body, position)
        options, position = decode_byte(body, position)
        subscriptions.append(_subscription(topic_filter, options, version))
    return Subscribe(packet_identifier, subscriptions, properties)


def _check_number(filters: Sequence[object]) -> None:
    if len(filters) >= MAX_FILTERS:
        raise ProtocolError(f"more than {MAX_FILTERS} topic filters in a packet", ReasonCode.QUOTA_EXCEEDED)


def _subscription(topic_filter: str, options: int, version: int) -> Subscription:
    qos, no_local, retain_handling = options & 3, bool(options & 0x04), (options >> 4) & 3
    if options & (0xC0 if version == V5 else 0xFC):
        raise MalformedPacket("reserved subscription options are set")  # [MQTT-3.8.3-5]
    if qos == 3:
        raise ProtocolError("a subscription with QoS 3")
    if retain_handling == 3:
        raise ProtocolError("a subscription with retain handling 3")
    if no_local and topic_filter.startswith(topics.SHARE_PREFIX):
        raise ProtocolError("no local on a shared subscription")  # [MQTT-3.8.3-4]
    return Subscription(topic_filter, qos, no_local, bool(options & 0x08), retain_handling)


def _suback(first: int, body: bytes, version: int) -> SubAck:
    packet_identifier, position = _packet_identifier(body, 0)
    properties, position = _properties(body, position, PacketType.SUBACK, version)
    codes = REASON_CODES[PacketType.SUBACK] if version == V5 else SUBACK_3_1_1
    return SubAck(packet_identifier, _reason_codes(body, position, codes), properties)


def _unsubscribe(first: int, body: bytes, version: int) -> Unsubscribe:
    packet_identifier, position = _packet_identifier(body, 0)
    properties, position = _properties(body, position, PacketType.UNSUBSCRIBE, version)
    if position == len(body):
        raise ProtocolError("an UNSUBSCRIBE without a topic filter")  # [MQTT-3.10.3-2]
    topic_filters: list[str] = []
    while position < len(body):
        _check_number(topic_filters)
        topic_filter, position = _topic_filter(body, position)
        topic_filters.append(topic_filter)
    return Unsubscribe(packet_identifier, topic_filters, properties)


def _unsuback(first: int, body: bytes, version: int) -> UnsubAck:
    packet_identifier, position = _packet_identifier(body, 0)
    if version == V311:
        _check_end(body, position)
        return UnsubAck(packet_identifier)
    properties, position = decode_properties(body, position, PacketType.UNSUBACK)
    return UnsubAck(packet_identifier, _reason_codes(body, position, REASON_CODES[PacketType.UNSUBACK]), properties)


def _pingreq(first: int, body: bytes, version: int) -> PingReq:
    _check_end(body, 0)
    return PingReq()


def _pingresp(first: int, body: bytes, version: int) -> PingResp:
    _check_end(body, 0)
    return PingResp()


def _outcome(make: type[Outcome], packet_type: PacketType) -> Decoder:
    """DISCONNECT and AUTH: reason code and properties may be left out (§3.14.2.1, §3.15.2.1)."""
    codes = REASON_CODES[packet_type]

    def decode_outcome(first: int, body: bytes, version: int) -> Disconnect | Auth:
        if version != V5 and (body or packet_type is PacketType.AUTH):
            raise MalformedPacket(f"{packet_type.name} is not so in 3.1.1")
        if not body:
            return make()
        reason_code = _reason_code(body[0], codes)
        if len(body) == 1:
            return make(reason_code)
        properties, position = decode_properties(body, 1, packet_type)
        _check_end(body, position)
        return make(reason_code, properties)

    return decode_outcome


def _malformed(first: int, body: bytes, version: int) -> Packet:
    raise MalformedPacket(f"no packet starts with 0x{first:02x}")  # [MQTT-2.1.3-1] [MQTT-3.3.1-4]


def _properties(body: bytes, position: int, packet_type: PacketType, version: int) -> tuple[Properties, int]:
    return decode_properties(body, position, packet_type) if version == V5 else (Properties(), position)


def _packet_identifier(body: bytes, position: int) -> tuple[int, int]:
    packet_identifier, position = decode_two_bytes(body, position)
    if not packet_identifier:
        raise ProtocolError("packet identifier 0")  # [MQTT-2.2.1-3]
    return packet_identifier, position


def _topic_filter(body: bytes, position: int) -> tuple[str, int]:
    topic_filter, position = decode_string(body, position)
    try:
        topics.check_topic_filter(topic_filter)
    except topics.TooManyLevels as error:
        raise MqttError(ReasonCode.TOPIC_FILTER_INVALID, str(error)) from None
    except topics.TopicError as error:
        raise MalformedPacket(str(error)) from None
    return topic_filter, position


def _reason_code(code: int, allowed: dict[int, ReasonCode]) -> ReasonCode:
    reason_code = allowed.get(code)
    if reason_code is None:
        raise ProtocolError(f"reason code 0x{code:02x} is not one of this packet's")
    return reason_code


def _reason_codes(body: bytes, position: int, allowed: dict[int, ReasonCode]) -> list[ReasonCode]:
    if position == len(body):
        raise ProtocolError("an acknowledgement without reason codes")
    return [_reason_code(code, allowed) for code in body[position:]]


def _check_end(body: bytes, position: int) -> None:
    if position != len(body):
        raise MalformedPacket("bytes after the end of the packet")


def _table() -> tuple[Decoder, ...]:
    table: list[Decoder] = [_malformed] * 256
    table[0x10] = _connect
    table[0x20] = _connack
    for qos_and_retain in range(6):
        table[0x30 | qos_and_retain] = _publish
        if qos_and_retain >= 2:  # DUP is for what can be sent again [MQTT-3.3.1-2]
            table[0x38 | qos_and_retain] = _publish
    table[0x40] = _ack(PubAck, PacketType.PUBACK)
    table[0x50] = _ack(PubRec, PacketType.PUBREC)
    table[0x62] = _ack(PubRel, PacketType.PUBREL)
    table[0x70] = _ack(PubComp, PacketType.PUBCOMP)
    table[0x82] = _subscribe
    table[0x90] = _suback
    table[0xA2] = _unsubscribe
    table[0xB0] = _unsuback
    table[0xC0] = _pingreq
    table[0xD0] = _pingresp
    table[0xE0] = _outcome(Disconnect, PacketType.DISCONNECT)
    table[0xF0] = _outcome(Auth, PacketType.AUTH)
    return tuple(table)


_DECODERS: Final = _table()
