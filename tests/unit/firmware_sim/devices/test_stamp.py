"""The identity in every payload: back as it went in, and nothing from anybody else's bytes."""

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.devices.stamp import Stamp, seal, unseal

KEYS = st.text(max_size=8).filter(lambda key: key != "stamp")
VALUES = st.dictionaries(
    KEYS, st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8), max_size=4
)
STAMPS = st.builds(Stamp, st.text(max_size=8), st.text(max_size=8), st.integers(0, 2**53), st.integers(0, 2**62))


@given(VALUES, STAMPS)
def test_round_trip(values: dict[str, object], stamp: Stamp) -> None:
    assert unseal(seal(values, stamp)) == (values, stamp)


@given(st.binary(max_size=40))
def test_any_bytes_are_read_without_a_stamp(payload: bytes) -> None:
    assert unseal(payload)[1] is None


def test_other_peoples_json_keeps_its_values() -> None:
    assert unseal(b'{"on": true}') == ({"on": True}, None)
    assert unseal(b'{"stamp": ["x", "y", "1", 2]}') == ({}, None)
    assert unseal(b"[1, 2]") == ({}, None)
    assert unseal(b'{"a":' + b"[" * 100_000) == ({}, None)


def test_a_person_can_read_it() -> None:
    assert msgspec.json.decode(seal({"on": True}, Stamp("r", "lamp-1", 2, 3))) == {
        "on": True,
        "stamp": ["r", "lamp-1", 2, 3],
    }
