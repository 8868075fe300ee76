"""Axes of time: a handful of round moments, in a unit that fits."""

import pytest

from firmware_sim.report.times import MAX_TICKS, Times, duration


@pytest.mark.parametrize(
    ("length_s", "unit", "last"),
    [
        (7.5, "seconds", "7"),
        (60, "seconds", "60"),
        (150, "seconds", "150"),
        (180, "minutes", "3"),
        (3600, "minutes", "60"),
        (86_400, "hours", "24"),
        (7 * 86_400, "days", "7"),
        (366 * 86_400, "days", "320"),
    ],
)
def test_the_unit_fits_the_length(length_s: float, unit: str, last: str) -> None:
    times = Times(length_s)
    ticks = times.ticks()
    assert times.unit[1] == unit
    assert ticks[0] == (0, "0")
    assert ticks[-1][1] == last
    assert 4 <= len(ticks) <= MAX_TICKS + 1


def test_the_shortest_has_an_axis() -> None:
    assert Times(0.001).ticks() == [(0, "0")]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.04, "0.0 s"), (59.96, "60.0 s"), (125, "2 min 5 s"), (3600, "1 h"), (90_061, "1 d 1 h"), (86_410, "1 d 10 s")],
)
def test_durations_are_said_in_two_units(seconds: float, words: str) -> None:
    assert duration(seconds) == words
