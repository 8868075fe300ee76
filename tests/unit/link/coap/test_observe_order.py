"""The order of notifications, going out and coming in (RFC 7641 §3.4, §4.4)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.link.coap import Freshness, ObserveNumbers


def test_numbers_go_up_within_a_millisecond_and_with_the_clock() -> None:
    numbers = ObserveNumbers()
    assert [numbers.following(16_000) for _ in range(3)] == [1_000, 1_001, 1_002]
    assert numbers.following(32_000) == 2_000
    assert ObserveNumbers().following(48_000) == 3_000


@given(st.integers(0, 1 << 40), st.lists(st.integers(0, 100_000), max_size=50))
def test_each_number_is_fresh_after_the_one_before(start: int, steps: list[int]) -> None:
    numbers, freshness, now = ObserveNumbers(), Freshness(), start
    assert freshness.accepts(numbers.following(now), now)
    for step in steps:
        now += step
        assert freshness.accepts(numbers.following(now), now)


@pytest.mark.parametrize(
    ("first", "second", "later", "fresh"),
    [
        (5, 6, 0, True),
        (5, 5, 0, False),
        (6, 5, 0, False),
        (0xFFFFFF, 0, 0, True),
        (0, 0xFFFFFF, 0, False),
        (0, (1 << 23) - 1, 0, True),
        (0, 1 << 23, 0, False),
        (6, 5, 128_000, False),
        (6, 5, 128_001, True),
    ],
)
def test_freshness(first: int, second: int, later: int, fresh: bool) -> None:
    freshness = Freshness()
    assert freshness.accepts(first, 1_000)
    assert freshness.accepts(second, 1_000 + later) is fresh


def test_what_was_stale_does_not_become_the_newest() -> None:
    freshness = Freshness()
    freshness.accepts(10, 0)
    freshness.accepts(8, 0)
    assert not freshness.accepts(9, 0)
