"""The fixed header and the splitter, where lengths and chunks have their edges."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.wire.mqtt import MalformedPacket, Splitter, read_header

LENGTHS = [  # table 2-4 of the specification: both ends of one, two, three and four bytes
    ("00", 0), ("7F", 127), ("8001", 128), ("FF7F", 16_383), ("808001", 16_384), ("FFFF7F", 2_097_151),
    ("80808001", 2_097_152), ("FFFFFF7F", 268_435_455), ("8000", 0),
]  # fmt: skip


@pytest.mark.parametrize(("encoded", "length"), LENGTHS)
def test_read_header(encoded: str, length: int) -> None:
    data = b"..\x30" + bytes.fromhex(encoded)
    start = len(data)
    assert read_header(data, 2) == (0x30, start, start + length)
    assert [read_header(data[:cut], 2) for cut in range(2, start)] == [None] * (start - 2)


def test_a_remaining_length_of_five_bytes() -> None:
    assert read_header(b"\x30\x80\x80\x80", 0) is None
    with pytest.raises(MalformedPacket):
        read_header(b"\x30\x80\x80\x80\x80", 0)


@given(st.lists(st.binary(max_size=300), max_size=8), st.randoms(use_true_random=False))
def test_any_cutting_gives_the_same_packets(bodies: list[bytes], random: Random) -> None:
    stream = b"".join(bytes((0x30,)) + _length(len(body)) + body for body in bodies)
    splitter, position = Splitter(), 0
    found: list[tuple[int, bytes]] = []
    while position < len(stream):
        size = random.randint(1, 200)
        found += splitter.split(stream[position : position + size])
        position += size
    assert found == [(0x30, body) for body in bodies]


def _length(length: int) -> bytes:
    return bytes((length,)) if length < 128 else bytes((length & 0x7F | 0x80, length >> 7))
