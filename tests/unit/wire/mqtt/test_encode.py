"""What cannot be said on the wire is our error; what 3.1.1 cannot say is left out."""

import pytest

from oriole.wire.mqtt import (
    V5,
    V311,
    Auth,
    ConnAck,
    Connect,
    Packet,
    Properties,
    PubAck,
    Publish,
    ReasonCode,
    SubAck,
    Subscribe,
    Subscription,
    encode,
)


@pytest.mark.parametrize(
    "packet",
    [
        Publish(b"a", qos=3, packet_identifier=1),
        Publish(b"a", qos=1),
        Publish(b"a" * 65_536),
        Publish(b"a", properties=Properties(server_keep_alive=1)),
        PubAck(0),
        PubAck(65_536),
        Connect("a\0b"),
        Connect("\ud800"),
        Connect("c", keep_alive=65_536),
        Connect("c", V311, password=b"p"),
        Connect("c", properties=Properties(session_expiry_interval=1 << 32)),
        Subscribe(1, [Subscription("a", 3)]),
    ],
    ids=repr,
)
def test_impossible(packet: Packet) -> None:
    with pytest.raises(ValueError, match=r"."):
        encode(packet, V5)


def test_no_auth_in_3_1_1() -> None:
    with pytest.raises(ValueError, match="no AUTH"):
        encode(Auth(), V311)


def test_3_1_1_leaves_out_what_it_cannot_say() -> None:
    properties = Properties(reason_string="no")
    assert encode(PubAck(1, ReasonCode.QUOTA_EXCEEDED, properties), V311).hex() == "40020001"
    assert encode(SubAck(1, [ReasonCode.GRANTED_QOS_1, ReasonCode.NOT_AUTHORIZED]), V311).hex() == "900400010180"
    assert encode(Subscribe(1, [Subscription("a", 1, True, True, 2)]), V311).hex() == "8206000100016101"


@pytest.mark.parametrize(
    ("reason_code", "return_code"),
    [
        (ReasonCode.SUCCESS, 0),
        (ReasonCode.UNSUPPORTED_PROTOCOL_VERSION, 1),
        (ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, 2),
        (ReasonCode.SERVER_BUSY, 3),
        (ReasonCode.QUOTA_EXCEEDED, 3),
        (ReasonCode.BAD_USER_NAME_OR_PASSWORD, 4),
        (ReasonCode.NOT_AUTHORIZED, 5),
        (ReasonCode.BANNED, 5),
    ],
)
def test_connack_of_3_1_1_says_the_nearest(reason_code: ReasonCode, return_code: int) -> None:
    assert encode(ConnAck(False, reason_code), V311) == bytes((0x20, 2, 0, return_code))


@pytest.mark.parametrize("length", [0, 120, 121, 16_376, 16_377, 2_097_144, 2_097_145])
def test_remaining_length_is_minimal(length: int) -> None:
    encoded = encode(Publish(b"a/b/c", bytes(length)), V311)
    size = 1 if length + 7 < 128 else 2 if length + 7 < 16_384 else 3 if length + 7 < 2_097_152 else 4
    assert len(encoded) == 1 + size + 7 + length
    assert encoded[size] < 0x80
