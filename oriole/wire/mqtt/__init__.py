"""MQTT 3.1.1 and 5.0 on the wire."""

from oriole.wire.mqtt.decode import check_topic, decode
from oriole.wire.mqtt.encode import encode
from oriole.wire.mqtt.errors import MalformedPacket, MqttError, ProtocolError, UnsupportedVersion
from oriole.wire.mqtt.framing import MAX_PACKET_BYTES, Splitter, read_header
from oriole.wire.mqtt.packet_type import V5, V311, PacketType
from oriole.wire.mqtt.packets import (
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
from oriole.wire.mqtt.properties import Properties, decode_properties, encode_properties
from oriole.wire.mqtt.reason_codes import ReasonCode

__all__ = [
    "MAX_PACKET_BYTES",
    "V5",
    "V311",
    "Auth",
    "ConnAck",
    "Connect",
    "Disconnect",
    "MalformedPacket",
    "MqttError",
    "Packet",
    "PacketType",
    "PingReq",
    "PingResp",
    "Properties",
    "ProtocolError",
    "PubAck",
    "PubComp",
    "PubRec",
    "PubRel",
    "Publish",
    "ReasonCode",
    "Splitter",
    "SubAck",
    "Subscribe",
    "Subscription",
    "UnsubAck",
    "Unsubscribe",
    "UnsupportedVersion",
    "Will",
    "check_topic",
    "decode",
    "decode_properties",
    "encode",
    "encode_properties",
    "read_header",
]
