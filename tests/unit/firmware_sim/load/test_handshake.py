"""Connecting: what is sent when, what is granted, what is refused."""

import pytest

from firmware_sim.load import LoadError
from firmware_sim.load.handshake import Handshake
from oriole.wire.mqtt import (
    V5,
    V311,
    ConnAck,
    Connect,
    Packet,
    ReasonCode,
    SubAck,
    Subscribe,
    decode,
    encode,
    read_header,
)


def handshake(filters: list[str], version: int = V311, *, persistent: bool = False) -> tuple[Handshake, bytearray]:
    sent = bytearray()
    return Handshake("me", filters, qos=1, version=version, persistent=persistent, send=sent.extend), sent


def taken(sent: bytearray, version: int) -> Packet:
    header = read_header(sent, 0)
    assert header is not None
    first, body, end = header
    packet = decode(first, bytes(sent[body:end]), version)
    del sent[:end]
    return packet


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("persistent", [False, True])
def test_connect(version: int, persistent: bool) -> None:
    _, sent = handshake([], version, persistent=persistent)
    packet = taken(sent, version)
    assert isinstance(packet, Connect)
    assert packet.version == version
    assert packet.client_identifier == "me"
    assert packet.clean_start is not persistent
    assert packet.properties.session_expiry_interval == (3600 if persistent and version == V5 else None)


def test_without_filters_it_is_ready_once_connected() -> None:
    shaking, _ = handshake([])
    assert not shaking.ready
    shaking.receive(encode(ConnAck(), V311), 0)
    assert shaking.ready


def test_many_filters_go_packet_by_packet() -> None:
    shaking, sent = handshake([f"other/{number}" for number in range(250)])
    taken(sent, V311)
    asked: list[str] = []
    answer = encode(ConnAck(), V311)
    while not shaking.ready:
        assert shaking.receive(answer[:3], 0) == 0
        assert shaking.receive(answer, 0) == len(answer)
        if sent:
            packet = taken(sent, V311)
            assert isinstance(packet, Subscribe)
            assert {subscription.qos for subscription in packet.subscriptions} == {1}
            asked += [subscription.topic_filter for subscription in packet.subscriptions]
            granted = [ReasonCode.GRANTED_QOS_1] * len(packet.subscriptions)
            answer = encode(SubAck(packet.packet_identifier, granted), V311)
    assert asked == [f"other/{number}" for number in range(250)]


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (encode(ConnAck(reason_code=ReasonCode.NOT_AUTHORIZED), V5), "refused a connection.*NOT_AUTHORIZED"),
        (encode(SubAck(1, [ReasonCode.QUOTA_EXCEEDED]), V5), "refused a subscription"),
        (b"\xd0\x00", "PINGRESP"),
    ],
)
def test_refusals_end_the_run(answer: bytes, complaint: str) -> None:
    with pytest.raises(LoadError, match=complaint):
        handshake(["a"], V5)[0].receive(answer, 0)
