"""What the CBOR of a stranger may do: become plain values, or one error."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.wire import cbor

REFUSED = {
    "empty": "",
    "cut integer": "18",
    "cut string": "43 6161",
    "a string of 2^64 bytes": "5b ffffffffffffffff",
    "an array of 2^64 items": "9b ffffffffffffffff",
    "invalid UTF-8": "62 c328",
    "an indefinite array": "9f01ff",
    "an indefinite string": "5f4101ff",
    "a reserved length": "1c",
    "a map with a key twice": "a2 0101 0102",
    "nine levels": "81" * 9 + "00",
    "a date": "c0 74 323031332d30332d32315432303a30343a30305a",
    "a big number": "c2 41 03",
    "a regular expression": "d823 63 282828",
    "a shared reference": "d81c 80",
    "a set": "d90102 80",
    "an unknown tag": "da000fffff 00",
    "two values": "01 02",
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED)
def test_refused(data: str) -> None:
    with pytest.raises(cbor.CborError):
        cbor.decode(bytes.fromhex(data))


def test_a_sequence_ends_where_it_must() -> None:
    assert cbor.decode_sequence(bytes.fromhex("01 6161 f5"), 3) == [1, "a", True]
    with pytest.raises(cbor.CborError):
        cbor.decode_sequence(bytes.fromhex("01 6161 f5"), 2)


values = st.recursive(
    st.one_of(st.integers(-(2**64), 2**64 - 1), st.binary(), st.text(), st.booleans(), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.integers(0, 9), inner, max_size=4)),
    max_leaves=6,
)


@given(st.lists(values, max_size=5))
def test_round_trip(sequence: list[object]) -> None:
    with contextlib.suppress(cbor.CborError):  # deeper than is taken
        assert cbor.decode_sequence(cbor.encode_sequence(sequence), 5) == sequence


@given(st.binary())
def test_any_bytes_decode_or_raise_the_one_error(data: bytes) -> None:
    with contextlib.suppress(cbor.CborError):
        cbor.decode_sequence(data, 16)
