"""Streams: every packet decodes to the message it stands for, and no other packet passes for one."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.load.stream import IDENTITY_BYTES, Stream
from oriole.wire.mqtt import V5, V311, Publish, decode, read_header


def messages(packets: bytes, version: int) -> list[Publish]:
    position, found = 0, []
    while header := read_header(packets, position):
        first, body, position = header
        packet = decode(first, packets[body:position], version)
        assert isinstance(packet, Publish)
        found.append(packet)
    assert position == len(packets)
    return found


@settings(deadline=None)  # a busy machine is no failure
@given(
    publisher=st.integers(0, 2**32 - 1),
    first=st.one_of(st.integers(0, 200), st.integers(65_400, 65_600), st.integers(2**24 - 90, 2**24 + 90)),
    count=st.integers(1, 150),
    qos=st.integers(0, 2),
    size=st.integers(IDENTITY_BYTES, 300),
    version=st.sampled_from([V311, V5]),
)
def test_each_packet_is_the_message_of_its_sequence(
    publisher: int, first: int, count: int, qos: int, size: int, version: int
) -> None:
    stream = Stream(publisher, "bench/7", qos=qos, size=size, version=version)
    for sequence, message in enumerate(messages(bytes(stream.packets(first, count)), version), first):
        assert message.topic == b"bench/7"
        assert message.qos == qos
        assert not message.retain
        assert not message.dup
        assert message.packet_identifier == (sequence % 65_535 + 1 if qos else 0)
        assert message.payload[:4] == sequence.to_bytes(4)
        assert message.payload[4:IDENTITY_BYTES] == publisher.to_bytes(4)
        assert len(message.payload) == size


def test_taking_advances() -> None:
    stream = Stream(1, "bench/1", qos=1, size=20, version=V311)
    assert stream.take(3) + stream.take(2) == stream.packets(0, 5)
    assert stream.published == 5


@pytest.mark.parametrize("qos", [0, 1])
def test_any_changed_byte_is_noticed_except_in_the_packet_identifier(qos: int) -> None:
    stream = Stream(1, "bench/1", qos=qos, size=20, version=V311)
    stream.take(10)
    sent = bytes(stream.packets(4, 3))
    assert stream.arrived(4, 3, b"before" + sent + b"after", 6)
    identifier = range(stream.identifier_at, stream.identifier_at + 2) if qos else ()
    for index in range(len(sent)):
        changed = bytearray(sent)
        changed[index] ^= 0x10
        assert stream.arrived(4, 3, bytes(changed), 0) == (index % stream.packet_bytes in identifier)


def test_a_message_that_was_not_published_has_not_arrived() -> None:
    stream = Stream(1, "bench/1", qos=0, size=20, version=V311)
    stream.take(5)
    assert stream.arrived(0, 5, bytes(stream.packets(0, 5)), 0)
    assert not stream.arrived(0, 6, bytes(stream.packets(0, 6)), 0)
