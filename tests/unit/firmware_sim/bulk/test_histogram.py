"""Percentiles from counts against those of the durations themselves."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.bulk.histogram import Histogram
from firmware_sim.report.latency import summarise


@given(st.lists(st.integers(0, 10**12), min_size=1))
def test_a_percentile_is_never_too_small_and_little_too_large(times_ns: list[int]) -> None:
    histogram = Histogram()
    for took_ns in times_ns:
        histogram.add(took_ns)
    exact, found = summarise(times_ns), histogram.summary()
    assert found.count == exact.count
    assert found.max_ms == exact.max_ms
    for name in ("p50_ms", "p95_ms", "p99_ms"):
        assert getattr(exact, name) <= getattr(found, name) <= getattr(exact, name) * (1 + 1 / 16)


def test_without_any_all_is_nothing() -> None:
    assert Histogram().summary() == summarise([])


def test_a_clock_that_stood_still_counts_as_nothing() -> None:
    histogram = Histogram()
    histogram.add(-5)
    assert histogram.counts == {0: 1}


def test_two_do_not_share_their_counts() -> None:
    one, other = Histogram(), Histogram()
    one.add(1)
    assert other.counts == {}


@pytest.mark.parametrize("took_ns", [0, 31, 32, 1_000_000_007])
def test_it_survives_json(took_ns: int) -> None:
    histogram = Histogram()
    histogram.add(took_ns)
    assert msgspec.json.decode(msgspec.json.encode(histogram), type=Histogram) == histogram


def test_two_become_one() -> None:
    one, other, both = Histogram(), Histogram(), Histogram()
    for took_ns in (1, 50, 50):
        one.add(took_ns)
        both.add(took_ns)
    for took_ns in (50, 9_000_000):
        other.add(took_ns)
        both.add(took_ns)
    one.take(other)
    assert one == both
