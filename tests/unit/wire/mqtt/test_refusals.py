"""What a peer must not send, and the reason code that it gets."""

import pytest

from oriole.wire.mqtt import V5, V311, MqttError, ProtocolError, ReasonCode, Splitter, UnsupportedVersion, decode
from oriole.wire.mqtt.packet_type import PacketType
from oriole.wire.mqtt.reason_codes import REASON_CODES

MALFORMED, PROTOCOL = ReasonCode.MALFORMED_PACKET, ReasonCode.PROTOCOL_ERROR

CONNECT = "0004 4D515454"
REFUSALS: list[tuple[str, int, str, ReasonCode]] = [
    ("packet type 0", V5, "00", MALFORMED),
    ("CONNECT with flags", V5, f"11 {CONNECT} 05 02 0000 00 0000", MALFORMED),
    ("CONNECT: another protocol name", V5, "10 0004 6D717474 05 02 0000 00 0000", MALFORMED),
    ("CONNECT: version 3.1", V5, "10 0006 4D5149736470 03 02 0000 0001 63", ReasonCode.UNSUPPORTED_PROTOCOL_VERSION),
    ("CONNECT: version 6", V5, f"10 {CONNECT} 06 02 0000 00 0000", ReasonCode.UNSUPPORTED_PROTOCOL_VERSION),
    ("CONNECT: reserved flag", V5, f"10 {CONNECT} 05 03 0000 00 0000", MALFORMED),
    ("CONNECT: will QoS without will", V5, f"10 {CONNECT} 05 0A 0000 00 0000", MALFORMED),
    ("CONNECT: will retain without will", V5, f"10 {CONNECT} 05 22 0000 00 0000", MALFORMED),
    ("CONNECT: will QoS 3", V5, f"10 {CONNECT} 05 1E 0000 00 0000 00 0001 61 0000", MALFORMED),
    ("CONNECT: will topic with wildcard", V5, f"10 {CONNECT} 05 06 0000 00 0000 00 0001 23 0000", MALFORMED),
    ("CONNECT: no will payload", V5, f"10 {CONNECT} 05 06 0000 00 0000 00 0001 61", MALFORMED),
    ("CONNECT: 3.1.1 password without user name", V311, f"10 {CONNECT} 04 42 0000 0001 63 0001 70", MALFORMED),
    ("CONNECT: no user name", V311, f"10 {CONNECT} 04 82 0000 0001 63", MALFORMED),
    ("CONNECT: no client identifier", V5, f"10 {CONNECT} 05 02 0000 00", MALFORMED),
    ("CONNECT: null character", V5, f"10 {CONNECT} 05 02 0000 00 0001 00", MALFORMED),
    ("CONNECT: surrogate", V5, f"10 {CONNECT} 05 02 0000 00 0003 EDA080", MALFORMED),
    ("CONNECT: overlong UTF-8", V5, f"10 {CONNECT} 05 02 0000 00 0002 C080", MALFORMED),
    ("CONNECT: trailing byte", V5, f"10 {CONNECT} 05 02 0000 00 0000 00", MALFORMED),
    ("CONNECT: receive maximum 0", V5, f"10 {CONNECT} 05 02 0000 03 21 0000 0000", PROTOCOL),
    ("CONNECT: maximum packet size 0", V5, f"10 {CONNECT} 05 02 0000 05 27 00000000 0000", PROTOCOL),
    ("CONNECT: request problem information 2", V5, f"10 {CONNECT} 05 02 0000 02 17 02 0000", PROTOCOL),
    ("CONNECT: authentication data alone", V5, f"10 {CONNECT} 05 02 0000 04 16 0001 00 0000", PROTOCOL),
    ("CONNECT: property twice", V5, f"10 {CONNECT} 05 02 0000 06 21 0001 21 0001 0000", PROTOCOL),
    ("CONNECT: property of PUBLISH", V5, f"10 {CONNECT} 05 02 0000 02 01 00 0000", PROTOCOL),
    ("CONNECT: property unknown", V5, f"10 {CONNECT} 05 02 0000 02 7E 00 0000", PROTOCOL),
    ("CONNACK: reserved flags", V5, "20 02 00 00", MALFORMED),
    ("CONNACK: session present in a refusal", V5, "20 01 87 00", PROTOCOL),
    ("CONNACK: return code 6", V311, "20 00 06", PROTOCOL),
    ("PUBLISH: QoS 3", V5, "36 0001 61 0001 00", MALFORMED),
    ("PUBLISH: DUP with QoS 0", V5, "38 0001 61 00", MALFORMED),
    ("PUBLISH: packet identifier 0", V5, "32 0001 61 0000 00", PROTOCOL),
    ("PUBLISH: no packet identifier", V311, "32 0001 61", MALFORMED),
    ("PUBLISH: +", V5, "30 0001 2B 00", MALFORMED),
    ("PUBLISH: #", V5, "30 0003 612F23 00", MALFORMED),
    ("PUBLISH: null character", V5, "30 0001 00 00", MALFORMED),
    ("PUBLISH: not UTF-8", V5, "30 0001 FF 00", MALFORMED),
    ("PUBLISH: surrogate", V311, "30 0003 EDBFBF", MALFORMED),
    ("PUBLISH: 129 levels", V311, "30 0080" + "2F" * 128, ReasonCode.TOPIC_NAME_INVALID),
    ("PUBLISH: empty topic", V311, "30 0000", PROTOCOL),
    ("PUBLISH: empty topic without alias", V5, "30 0000 00", PROTOCOL),
    ("PUBLISH: empty topic, other property", V5, "30 0000 02 01 00", PROTOCOL),
    ("PUBLISH: alias 0", V5, "30 0000 03 23 0000", ReasonCode.TOPIC_ALIAS_INVALID),
    ("PUBLISH: payload format 2", V5, "30 0001 61 02 01 02", PROTOCOL),
    ("PUBLISH: subscription identifier 0", V5, "30 0001 61 02 0B 00", PROTOCOL),
    ("PUBLISH: response topic with wildcard", V5, "30 0001 61 04 08 0001 23", PROTOCOL),
    ("PUBLISH: response topic twice", V5, "30 0001 61 08 08 0001 61 08 0001 61", PROTOCOL),
    ("PUBLISH: properties too long", V5, "30 0001 61 03 01 00", MALFORMED),
    ("PUBLISH: a property that leaves its block", V5, "30 0001 61 03 03 0005 6162636465", MALFORMED),
    ("PUBLISH: property length longer than needed", V5, "30 0001 61 8000", MALFORMED),
    ("PUBLISH: property length of five bytes", V5, "30 0001 61 8080808001", MALFORMED),
    ("PUBACK: identifier 0", V311, "40 0000", PROTOCOL),
    ("PUBACK: one byte", V311, "40 01", MALFORMED),
    ("PUBACK: 3.1.1 with a reason", V311, "40 0001 00", MALFORMED),
    ("PUBACK: another's reason", V5, "40 0001 92", PROTOCOL),
    ("PUBACK: flags", V5, "42 0001", MALFORMED),
    ("PUBREL: no flags", V5, "60 0001", MALFORMED),
    ("PUBREL: flag 1", V311, "61 0001", MALFORMED),
    ("SUBSCRIBE: no flags", V5, "80 0001 00 0001 61 00", MALFORMED),
    ("SUBSCRIBE: nothing", V5, "82 0001 00", PROTOCOL),
    ("SUBSCRIBE: identifier 0", V5, "82 0000 00 0001 61 00", PROTOCOL),
    ("SUBSCRIBE: no options", V311, "82 0001 0001 61", MALFORMED),
    ("SUBSCRIBE: QoS 3", V311, "82 0001 0001 61 03", PROTOCOL),
    ("SUBSCRIBE: reserved options", V5, "82 0001 00 0001 61 40", MALFORMED),
    ("SUBSCRIBE: 3.1.1 with 5.0's options", V311, "82 0001 0001 61 04", MALFORMED),
    ("SUBSCRIBE: retain handling 3", V5, "82 0001 00 0001 61 30", PROTOCOL),
    ("SUBSCRIBE: no local, shared", V5, "82 0001 00 000A 24736861 72652F67 2F61 04", PROTOCOL),
    ("SUBSCRIBE: # within", V5, "82 0001 00 0003 232F61 00", MALFORMED),
    ("SUBSCRIBE: empty filter", V5, "82 0001 00 0000 00", MALFORMED),
    ("SUBSCRIBE: 129 levels", V5, "82 0001 00 0080" + "2F" * 128 + "00", ReasonCode.TOPIC_FILTER_INVALID),
    ("SUBSCRIBE: two subscription identifiers", V5, "82 0001 04 0B 01 0B 02 0001 61 00", PROTOCOL),
    ("SUBACK: nothing", V5, "90 0001 00", PROTOCOL),
    ("SUBACK: 3.1.1 with 5.0's reason", V311, "90 0001 87", PROTOCOL),
    ("UNSUBSCRIBE: nothing", V311, "A2 0001", PROTOCOL),
    ("UNSUBSCRIBE: no flags", V311, "A0 0001 0001 61", MALFORMED),
    ("UNSUBACK: 3.1.1 with reasons", V311, "B0 0001 00", MALFORMED),
    ("PINGREQ: with a body", V5, "C0 00", MALFORMED),
    ("PINGRESP: flags", V5, "D1", MALFORMED),
    ("DISCONNECT: flags", V5, "E1", MALFORMED),
    ("DISCONNECT: 3.1.1 with a body", V311, "E0 00", MALFORMED),
    ("DISCONNECT: another's reason", V5, "E0 01", PROTOCOL),
    ("AUTH: 3.1.1", V311, "F0", MALFORMED),
    ("AUTH: reason", V5, "F0 01", PROTOCOL),
]


@pytest.mark.parametrize(
    ("version", "data", "reason_code"),
    [(version, bytes.fromhex(data), reason_code) for _, version, data, reason_code in REFUSALS],
    ids=[name for name, *_ in REFUSALS],
)
def test_refused(version: int, data: bytes, reason_code: ReasonCode) -> None:
    """`data` is first byte and body, without the remaining length."""
    with pytest.raises(MqttError) as refusal:
        decode(data[0], data[1:], version)
    assert refusal.value.reason_code is reason_code
    assert str(refusal.value)


@pytest.mark.parametrize(
    ("connect", "answer"), [("0006 4D5149736470 03", V311), (f"{CONNECT} 03", V311), (f"{CONNECT} 06", V5)]
)
def test_an_unsupported_version_is_answered_in_one_that_is_understood(connect: str, answer: int) -> None:
    with pytest.raises(UnsupportedVersion) as refusal:
        decode(0x10, bytes.fromhex(connect), V5)
    assert refusal.value.answer_version == answer


@pytest.mark.parametrize("packet_type", list(REASON_CODES), ids=lambda packet_type: packet_type.name)
def test_only_the_reason_codes_of_the_packet(packet_type: PacketType) -> None:
    """Every byte where the reason code is: the table's decode, others are refused."""
    first = packet_type << 4 | (2 if packet_type is PacketType.PUBREL else 0)
    before, after = {
        PacketType.CONNACK: ("00", "00"),
        PacketType.SUBACK: ("0001 00", ""),
        PacketType.UNSUBACK: ("0001 00", ""),
        PacketType.DISCONNECT: ("", ""),
        PacketType.AUTH: ("", ""),
    }.get(packet_type, ("0001", ""))
    for code in range(256):
        body = bytes.fromhex(before) + bytes((code,)) + bytes.fromhex(after)
        if code in REASON_CODES[packet_type]:
            decode(first, body, V5)
        else:
            with pytest.raises(ProtocolError):
                decode(first, body, V5)


def test_a_packet_that_is_too_large_is_refused_by_its_header() -> None:
    splitter = Splitter(max_packet_bytes=1_000)
    assert [len(body) for _, body in splitter.split(b"\x30\xe5\x07" + bytes(997))] == [997]
    with pytest.raises(MqttError) as refusal:
        list(splitter.split(b"\x30\xe6\x07"))
    assert refusal.value.reason_code is ReasonCode.PACKET_TOO_LARGE


def test_packets_before_the_refused_one_are_delivered() -> None:
    found = Splitter(max_packet_bytes=100).split(b"\xc0\x00\xd0\x00\x30\xff\xff\xff\x7f")
    assert (next(found), next(found)) == ((0xC0, b""), (0xD0, b""))
    with pytest.raises(MqttError):
        next(found)
