"""Ranges against a plain set."""

from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.bulk.numbers import Numbers

NEARBY = st.lists(st.integers(1, 30))


@given(NEARBY)
def test_it_is_a_set(numbers: list[int]) -> None:
    found, expected = Numbers(), set[int]()
    for number in numbers:
        assert found.add(number) == (number not in expected)
        expected.add(number)
    assert len(found) == len(expected)
    assert [number for number in range(40) if number in found] == sorted(expected)


@given(NEARBY, st.integers(1, 32), st.integers(1, 32))
def test_what_is_missing(numbers: list[int], first: int, end: int) -> None:
    found = Numbers()
    for number in numbers:
        found.add(number)
    assert list(found.missing(first, end)) == [number for number in range(first, end) if number not in numbers]
    unbroken = found.unbroken_from(first)
    assert unbroken not in numbers
    assert set(range(first, unbroken)) <= set(numbers)


@given(NEARBY)
def test_it_holds_ranges_and_can_be_made_of_them(numbers: list[int]) -> None:
    found = Numbers()
    for number in numbers:
        found.add(number)
    assert found.bounds == sorted(set(found.bounds))
    assert [number for number in range(40) if number in Numbers(found.bounds)] == sorted(set(numbers))


def test_a_million_in_order_are_two_bounds() -> None:
    found = Numbers()
    for number in range(1, 1_000_001):
        found.add(number)
    assert found.bounds == [1, 1_000_001]
