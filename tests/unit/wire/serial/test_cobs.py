"""COBS against the examples of its paper and of Wikipedia, and against itself."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.wire.serial import cobs

EXAMPLES = [
    ("", "01"),
    ("00", "0101"),
    ("0000", "010101"),
    ("001100", "01021101"),
    ("11220033", "0311220233"),
    ("11223344", "0511223344"),
    ("11000000", "0211010101"),
    (bytes(range(1, 255)).hex(), "ff" + bytes(range(1, 255)).hex()),
    (bytes(range(255)).hex(), "01ff" + bytes(range(1, 255)).hex()),
    (bytes(range(1, 256)).hex(), "ff" + bytes(range(1, 255)).hex() + "02ff"),
    ((bytes(range(2, 256)) + b"\0").hex(), "ff" + bytes(range(2, 256)).hex() + "0101"),
    ((bytes(range(3, 256)) + b"\0\1").hex(), "fe" + bytes(range(3, 256)).hex() + "0201"),
]


@pytest.mark.parametrize(("plain", "stuffed"), EXAMPLES)
def test_examples(plain: str, stuffed: str) -> None:
    assert cobs.encode(bytes.fromhex(plain)).hex() == stuffed
    assert cobs.decode(bytes.fromhex(stuffed)).hex() == plain


@pytest.mark.parametrize("stuffed", ["", "00", "02", "0311", "0211000211", "ff01"])
def test_what_cobs_never_makes_is_refused(stuffed: str) -> None:
    with pytest.raises(cobs.CobsError):
        cobs.decode(bytes.fromhex(stuffed))


@given(
    st.one_of(
        st.binary(), st.binary(min_size=250, max_size=800), st.lists(st.sampled_from((b"\0", b"x" * 254))).map(b"".join)
    )
)
def test_round_trip_without_zeros_and_with_little_overhead(data: bytes) -> None:
    stuffed = cobs.encode(data)
    assert 0 not in stuffed
    assert len(stuffed) <= len(data) + len(data) // 254 + 1
    assert cobs.decode(stuffed) == data


@given(st.binary())
def test_any_bytes_decode_or_raise_the_one_error(data: bytes) -> None:
    with contextlib.suppress(cobs.CobsError):
        cobs.decode(data)
