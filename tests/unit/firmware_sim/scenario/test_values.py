"""Durations as people write them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.scenario.values import MAX_DURATION_S, Duration, names_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90), ("1h30m", 5400), ("250ms", 0.25), ("7d", 604_800), ("0.5s", 0.5), ("1d2h3m4s", 93_784),
        ("1.5h", 5400), ("0s", 0), (20, 20), (0.25, 0.25), (0, 0), ("366d", MAX_DURATION_S),
    ],
)  # fmt: skip
def test_reads_what_people_write(text: str | float, seconds: float) -> None:
    assert Duration.parse(text) == seconds


@pytest.mark.parametrize("text", ["", "1 h", "5", "-5s", "1h 30m", "s", "5x", "1e3s", "5S", "1,5s", " 5s", "٣s٣"])
def test_refuses_what_nobody_means(text: str) -> None:
    with pytest.raises(ValueError, match="no duration: write it like 20s"):
        Duration.parse(text)


@pytest.mark.parametrize("value", [-1, -0.001, float("inf"), float("nan"), "367d", "99999999999999999999d"])
def test_refuses_times_that_cannot_be(value: str | float) -> None:
    with pytest.raises(ValueError, match="not negative and at most a year"):
        Duration.parse(value)


@given(st.integers(0, 366 * 86_400))
def test_whole_seconds_are_written_so_that_they_can_be_read(seconds: int) -> None:
    assert Duration.parse(str(Duration(seconds))) == seconds


def test_a_part_of_a_duration_is_one() -> None:
    part = Duration(90.0) / 60
    assert isinstance(part, Duration)
    assert part.ns == 1_500_000_000


def test_one_name_or_several() -> None:
    assert names_of("") == []
    assert names_of("lamp") == ["lamp"]
    assert names_of(["lamp", "lock"]) == ["lamp", "lock"]
