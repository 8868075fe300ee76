"""Runs of equal packets: exactly as many as a reader of single packets would find."""

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.load.runs import PUBACK, PUBCOMP, PUBREC, PUBREL, acknowledgements, run_length

ACKNOWLEDGEMENTS = st.sampled_from([PUBACK, PUBREC, PUBREL, PUBCOMP])


@settings(deadline=None)  # a busy machine is no failure
@given(packets=st.lists(st.tuples(ACKNOWLEDGEMENTS, st.integers(1, 65_535)), min_size=1), cut=st.integers(0, 3))
def test_a_run_ends_where_the_type_changes_or_the_data_ends(packets: list[tuple[int, int]], cut: int) -> None:
    data = b"".join(bytes((first, 2)) + identifier.to_bytes(2) for first, identifier in packets)
    data = data[: len(data) - cut]
    whole = [first for first, _ in packets][: len(data) // 4]
    expected = next((index for index, first in enumerate(whole) if first != whole[0]), len(whole))
    assert run_length(data, 0, 4, (0, 1)) == expected


def test_a_run_begins_anywhere() -> None:
    assert run_length(b"xx" + b"\x40\x02\0\1" * 3 + b"\x40", 2, 4, (0, 1)) == 3


def test_a_longer_packet_ends_a_run() -> None:
    assert run_length(b"\x40\x02\0\1" * 2 + b"\x40\x03\0\1\x10" + b"\x40\x02\0\1", 0, 4, (0, 1)) == 2


def test_acknowledgements_take_the_identifiers_of_the_run() -> None:
    packets = b"x" + b"".join(b"abc" + bytes((0, number)) + b"de" for number in (1, 2, 3))
    assert acknowledgements(PUBREC, packets, 1, 3, 7, 3) == b"\x50\x02\0\1\x50\x02\0\2\x50\x02\0\3"
