"""Packets written by hand from the specification's figures, against `encode`, `decode` and `Splitter`.

Each vector is fed whole, byte by byte, cut at every index, and followed by rubbish.
"""

from contextlib import suppress

import pytest

from oriole.wire.mqtt import (
    V5,
    V311,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    MalformedPacket,
    MqttError,
    Packet,
    PingReq,
    PingResp,
    Properties,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    ReasonCode,
    Splitter,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    Will,
    decode,
    encode,
)

VECTORS: list[tuple[str, int, str, Packet]] = [
    (
        "CONNECT of 3.1.1 figure 3.6, with a client identifier",
        V311,
        "10 15  0004 4D515454 04 02 000A  0009 6F72696F6C652D7831",
        Connect("oriole-x1", V311, keep_alive=10),
    ),
    (
        "CONNECT with everything, 3.1.1",
        V311,
        "10 1E  0004 4D515454 04 F4 003C  0001 63  0003 6C2F77  0003 6F6666  0001 75  0002 00FF",
        Connect("c", V311, False, 60, "u", b"\x00\xff", Will(b"l/w", b"off", 2, True)),
    ),
    (
        "CONNECT with everything, 5.0; password without user name",
        V5,
        """10 31  0004 4D515454 05 4E 000A  12 11 0000000A 21 0014 22 000A 26 0001 61 0001 62
        0001 63  07 18 0000003C 01 01  0001 77  0001 78  0001 70""",
        Connect(
            "c",
            V5,
            True,
            10,
            None,
            b"p",
            Will(b"w", b"x", 1, False, Properties(will_delay_interval=60, payload_format_indicator=1)),
            Properties(
                session_expiry_interval=10, receive_maximum=20, topic_alias_maximum=10, user_property=[("a", "b")]
            ),
        ),
    ),
    ("CONNACK 3.1.1", V311, "20 02  01 00", ConnAck(True)),
    ("CONNACK 3.1.1 refused", V311, "20 02  00 05", ConnAck(False, ReasonCode.NOT_AUTHORIZED)),
    ("CONNACK 5.0", V5, "20 03  01 00 00", ConnAck(True)),
    (
        "CONNACK 5.0 with properties",
        V5,
        "20 14  00 00 11  12 0002 7A39  13 000A  24 01  25 00  27 00010000",
        ConnAck(
            properties=Properties(
                assigned_client_identifier="z9",
                server_keep_alive=10,
                maximum_qos=1,
                retain_available=0,
                maximum_packet_size=65_536,
            )
        ),
    ),
    (
        "PUBLISH of 3.1.1 figure 3.11, QoS 1",
        V311,
        "32 07  0003 612F62 000A",
        Publish(b"a/b", qos=1, packet_identifier=10),
    ),
    (
        "PUBLISH of 5.0 figure 3-9, QoS 1",
        V5,
        "32 08  0003 612F62 000A 00",
        Publish(b"a/b", qos=1, packet_identifier=10),
    ),
    ("PUBLISH retained QoS 0", V311, "31 05  0001 74 6F6E", Publish(b"t", b"on", retain=True)),
    ("PUBLISH again, QoS 2", V5, "3C 06  0001 74 FFFF 00", Publish(b"t", qos=2, dup=True, packet_identifier=65_535)),
    (
        "PUBLISH with U+2A6D4 in its topic, figure 1-1",
        V5,
        "30 08  0005 41F0AA9B94 00",
        Publish("A\U0002a6d4".encode()),
    ),
    (
        "PUBLISH by alias, with every property of a message",
        V5,
        """30 27  0000  23  01 01  02 00000005  03 0001 63  08 0001 72  09 0002 00FF  0B FF7F  0B 01  23 0003
        26 0001 6B 0001 76  78""",
        Publish(
            b"",
            b"x",
            properties=Properties(
                payload_format_indicator=1,
                message_expiry_interval=5,
                content_type="c",
                response_topic="r",
                correlation_data=b"\x00\xff",
                subscription_identifier=[16_383, 1],
                topic_alias=3,
                user_property=[("k", "v")],
            ),
        ),
    ),
    ("PUBACK", V311, "40 02  000A", PubAck(10)),
    ("PUBACK shortest", V5, "40 02  000A", PubAck(10)),
    ("PUBACK with a reason", V5, "40 03  000A 97", PubAck(10, ReasonCode.QUOTA_EXCEEDED)),
    (
        "PUBACK with reason and text",
        V5,
        "40 09  000A 10  05 1F 0002 6E6F",
        PubAck(10, ReasonCode.NO_MATCHING_SUBSCRIBERS, Properties(reason_string="no")),
    ),
    ("PUBREC", V5, "50 02  0001", PubRec(1)),
    ("PUBREL", V5, "62 02  0001", PubRel(1)),
    ("PUBREL not found", V5, "62 03  0001 92", PubRel(1, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND)),
    ("PUBCOMP", V311, "70 02  0100", PubComp(256)),
    (
        "SUBSCRIBE of 3.1.1 figure 3.23",
        V311,
        "82 0E  000A  0003 612F62 01  0003 632F64 02",
        Subscribe(10, [Subscription("a/b", 1), Subscription("c/d", 2)]),
    ),
    (
        "SUBSCRIBE 5.0 with options and identifier",
        V5,
        "82 11  000A 02 0B 07  0003 612F62 2D  0003 632F64 12",
        Subscribe(
            10,
            [Subscription("a/b", 1, True, True, 2), Subscription("c/d", 2, retain_handling=1)],
            Properties(subscription_identifier=[7]),
        ),
    ),
    (
        "SUBACK 3.1.1",
        V311,
        "90 05  000A 00 02 80",
        SubAck(10, [ReasonCode.GRANTED_QOS_0, ReasonCode.GRANTED_QOS_2, ReasonCode.UNSPECIFIED_ERROR]),
    ),
    ("SUBACK 5.0", V5, "90 05  000A 00 01 A2", SubAck(10, [ReasonCode(1), ReasonCode(0xA2)])),
    (
        "UNSUBSCRIBE of 3.1.1 figure 3.30",
        V311,
        "A2 0C  000A  0003 612F62  0003 632F64",
        Unsubscribe(10, ["a/b", "c/d"]),
    ),
    ("UNSUBSCRIBE 5.0", V5, "A2 06  000A 00  0001 61", Unsubscribe(10, ["a"])),
    ("UNSUBACK 3.1.1", V311, "B0 02  000A", UnsubAck(10)),
    ("UNSUBACK 5.0", V5, "B0 05  000A 00 00 11", UnsubAck(10, [ReasonCode(0), ReasonCode(0x11)])),
    ("PINGREQ", V311, "C0 00", PingReq()),
    ("PINGRESP", V5, "D0 00", PingResp()),
    ("DISCONNECT 3.1.1", V311, "E0 00", Disconnect()),
    ("DISCONNECT 5.0 shortest", V5, "E0 00", Disconnect()),
    ("DISCONNECT with will", V5, "E0 01  04", Disconnect(ReasonCode.DISCONNECT_WITH_WILL_MESSAGE)),
    (
        "DISCONNECT moved",
        V5,
        "E0 06  9D 04 1C 0001 62",
        Disconnect(ReasonCode.SERVER_MOVED, Properties(server_reference="b")),
    ),
    ("AUTH shortest", V5, "F0 00", Auth()),
    (
        "AUTH continued",
        V5,
        "F0 0A  18 08  15 0001 53  16 0001 00",
        Auth(ReasonCode.CONTINUE_AUTHENTICATION, Properties(authentication_method="S", authentication_data=b"\0")),
    ),
]
IDS = [name for name, *_ in VECTORS]
each_vector = pytest.mark.parametrize(
    ("version", "data", "packet"),
    [(version, bytes.fromhex(data), packet) for _, version, data, packet in VECTORS],
    ids=IDS,
)


def decode_all(splitter: Splitter, data: bytes, version: int) -> list[Packet]:
    return [decode(first, body, version) for first, body in splitter.split(data)]


@each_vector
def test_encode(version: int, data: bytes, packet: Packet) -> None:
    assert encode(packet, version).hex(" ") == data.hex(" ")


@each_vector
def test_decode_whole(version: int, data: bytes, packet: Packet) -> None:
    assert decode_all(Splitter(), data * 3, version) == [packet] * 3


@each_vector
def test_decode_byte_by_byte(version: int, data: bytes, packet: Packet) -> None:
    splitter = Splitter()
    packets = [packet for byte in data * 2 for packet in decode_all(splitter, bytes((byte,)), version)]
    assert packets == [packet] * 2


@each_vector
def test_decode_cut_at_every_index(version: int, data: bytes, packet: Packet) -> None:
    for cut in range(1, len(data)):
        splitter = Splitter()
        assert decode_all(splitter, data[:cut], version) == []
        assert decode_all(splitter, data[cut:] + data, version) == [packet] * 2


@each_vector
def test_a_packet_cut_short_decodes_to_another_or_is_refused(version: int, data: bytes, packet: Packet) -> None:
    body = data[2:]
    for length in range(len(body)):
        with suppress(MqttError):
            assert decode(data[0], body[:length], version) != packet


@each_vector
def test_decode_followed_by_rubbish(version: int, data: bytes, packet: Packet) -> None:
    found = Splitter().split(data + b"\x00\x00")
    assert decode(*next(found), version) == packet
    with pytest.raises(MalformedPacket):
        decode(*next(found), version)


@each_vector
def test_rubbish_at_the_end_of_a_packet_is_refused(version: int, data: bytes, packet: Packet) -> None:
    if isinstance(packet, Publish):  # whatever follows is payload
        assert decode(data[0], data[2:] + b"\xee\xee", version) != packet
    else:
        with pytest.raises(MqttError):
            decode(data[0], data[2:] + b"\xee\xee", version)
