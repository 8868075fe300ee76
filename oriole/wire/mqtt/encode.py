"""Packets to bytes, in the shortest form that the version allows. One function for each packet, found by its class."""

from collections.abc import Callable
from typing import Any, Final

from oriole.wire.mqtt.fields import (
    encode_binary,
    encode_byte,
    encode_string,
    encode_two_bytes,
    encode_variable_byte_integer,
)
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
    UnsubAck,
    Unsubscribe,
)
from oriole.wire.mqtt.properties import Properties, encode_properties
from oriole.wire.mqtt.reason_codes import CONNECT_RETURN_CODES, CONNECT_RETURN_CODES_NEAREST

_SERVER_UNAVAILABLE: Final = 3


def encode(packet: Packet, version: int) -> bytes:
    """The whole packet for a connection of `version`, V311 or V5. A CONNECT has its own version.

    Raises ValueError for what cannot be said on the wire: a string over 65,535 bytes or with a null character, packet
    identifier 0 where one is needed, a property that this packet does not carry, AUTH in 3.1.1.
    """
    return _ENCODERS[type(packet)](packet, version)


def _connect(packet: Connect, version: int) -> bytes:
    will = packet.will
    flags = packet.clean_start << 1
    payload = encode_string(packet.client_identifier)
    if will is not None:
        flags |= 0x04 | _qos(will.qos) << 3 | will.retain << 5
        payload += _properties(will.properties, PacketType.WILL, packet.version)
        payload += encode_binary(will.topic) + encode_binary(will.payload)
    if packet.username is not None:
        flags |= 0x80
        payload += encode_string(packet.username)
    if packet.password is not None:
        if packet.version == V311 and packet.username is None:
            raise ValueError("MQTT 3.1.1 has no password without a user name")
        flags |= 0x40
        payload += encode_binary(packet.password)
    properties = _properties(packet.properties, PacketType.CONNECT, packet.version)
    head = b"\x00\x04MQTT" + bytes((packet.version, flags)) + encode_two_bytes(packet.keep_alive)
    return _packet(0x10, head + properties + payload)


def _connack(packet: ConnAck, version: int) -> bytes:
    code: int = packet.reason_code
    if version != V5:
        nearest = CONNECT_RETURN_CODES_NEAREST.get(packet.reason_code, _SERVER_UNAVAILABLE)
        code = CONNECT_RETURN_CODES.get(packet.reason_code, nearest)
    properties = _properties(packet.properties, PacketType.CONNACK, version)
    return _packet(0x20, bytes((packet.session_present, code)) + properties)


def _publish(packet: Publish, version: int) -> bytes:
    topic, qos, payload = packet.topic, packet.qos, packet.payload
    head = encode_binary(topic)
    if qos:
        head += _packet_identifier(packet.packet_identifier)
    if version == V5:
        head += encode_properties(packet.properties, PacketType.PUBLISH)
    first = 0x30 | packet.dup << 3 | _qos(qos) << 1 | packet.retain
    return bytes((first,)) + encode_variable_byte_integer(len(head) + len(payload)) + head + payload


def _ack(first: int, packet_type: PacketType) -> Callable[[Ack, int], bytes]:
    """PUBACK, PUBREC, PUBREL and PUBCOMP are alike; success without properties needs no more than the identifier."""
    shortest = bytes((first, 2))

    def encode_ack(packet: Ack, version: int) -> bytes:
        identifier = _packet_identifier(packet.packet_identifier)
        if version != V5 or not (packet.reason_code or packet.properties.present):
            return shortest + identifier
        return _packet(first, identifier + _reason(packet.reason_code, packet.properties, packet_type))

    return encode_ack


def _subscribe(packet: Subscribe, version: int) -> bytes:
    pieces = [
        _packet_identifier(packet.packet_identifier),
        _properties(packet.properties, PacketType.SUBSCRIBE, version),
    ]
    for subscription in packet.subscriptions:
        options = _qos(subscription.qos)
        if version == V5:
            options |= subscription.no_local << 2 | subscription.retain_as_published << 3
            options |= subscription.retain_handling << 4
        pieces += encode_string(subscription.topic_filter), encode_byte(options)
    return _packet(0x82, b"".join(pieces))


def _suback(packet: SubAck, version: int) -> bytes:
    codes = packet.reason_codes if version == V5 else [min(code, 0x80) for code in packet.reason_codes]
    properties = _properties(packet.properties, PacketType.SUBACK, version)
    return _packet(0x90, _packet_identifier(packet.packet_identifier) + properties + bytes(codes))


def _unsubscribe(packet: Unsubscribe, version: int) -> bytes:
    head = _packet_identifier(packet.packet_identifier)
    head += _properties(packet.properties, PacketType.UNSUBSCRIBE, version)
    return _packet(0xA2, head + b"".join([encode_string(topic_filter) for topic_filter in packet.topic_filters]))


def _unsuback(packet: UnsubAck, version: int) -> bytes:
    body = _packet_identifier(packet.packet_identifier)
    if version == V5:
        body += encode_properties(packet.properties, PacketType.UNSUBACK) + bytes(packet.reason_codes)
    return _packet(0xB0, body)


def _pingreq(packet: PingReq, version: int) -> bytes:
    return b"\xc0\x00"


def _pingresp(packet: PingResp, version: int) -> bytes:
    return b"\xd0\x00"


def _disconnect(packet: Disconnect, version: int) -> bytes:
    if version != V5 or not (packet.reason_code or packet.properties.present):
        return b"\xe0\x00"
    return _packet(0xE0, _reason(packet.reason_code, packet.properties, PacketType.DISCONNECT))


def _auth(packet: Auth, version: int) -> bytes:
    if version != V5:
        raise ValueError("MQTT 3.1.1 has no AUTH")
    if not (packet.reason_code or packet.properties.present):
        return b"\xf0\x00"
    return _packet(0xF0, _reason(packet.reason_code, packet.properties, PacketType.AUTH))


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + encode_variable_byte_integer(len(body)) + body


def _reason(reason_code: int, properties: Properties, packet_type: PacketType) -> bytes:
    code = encode_byte(reason_code)
    return code + encode_properties(properties, packet_type) if properties.present else code


def _properties(properties: Properties, packet_type: PacketType, version: int) -> bytes:
    return encode_properties(properties, packet_type) if version == V5 else b""


def _packet_identifier(packet_identifier: int) -> bytes:
    if not packet_identifier:
        raise ValueError("packet identifier 0")
    return encode_two_bytes(packet_identifier)


def _qos(qos: int) -> int:
    if qos not in (0, 1, 2):
        raise ValueError(f"QoS is 0, 1 or 2, not {qos}")
    return qos


_ENCODERS: Final[dict[type, Callable[[Any, int], bytes]]] = {
    Connect: _connect,
    ConnAck: _connack,
    Publish: _publish,
    PubAck: _ack(0x40, PacketType.PUBACK),
    PubRec: _ack(0x50, PacketType.PUBREC),
    PubRel: _ack(0x62, PacketType.PUBREL),
    PubComp: _ack(0x70, PacketType.PUBCOMP),
    Subscribe: _subscribe,
    SubAck: _suback,
    Unsubscribe: _unsubscribe,
    UnsubAck: _unsuback,
    PingReq: _pingreq,
    PingResp: _pingresp,
    Disconnect: _disconnect,
    Auth: _auth,
}
