"""Percentiles by nearest rank, and cuts kept apart."""

from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.report.latency import RECOVERY_NS, Latency, split, summarise

MS = 1_000_000
TIMES = st.integers(0, 20_000 * MS)


def test_percentiles_are_values_that_occurred() -> None:
    assert summarise(n * MS for n in range(100, 0, -1)) == Latency(100, 50.0, 95.0, 99.0, 100.0)
    assert summarise([7 * MS]) == Latency(1, 7.0, 7.0, 7.0, 7.0)
    assert summarise([]) == Latency()


@given(st.lists(st.integers(0, 10**10), min_size=1))
def test_percentiles_are_in_order(times: list[int]) -> None:
    latency = summarise(times)
    assert latency.p50_ms <= latency.p95_ms <= latency.p99_ms <= latency.max_ms == max(times) / MS


def test_a_cut_claims_what_was_under_way_and_its_recovery() -> None:
    window = (10_000 * MS, 15_000 * MS)
    before, under_way, within, recovering, after = (
        (1_000 * MS, MS),
        (9_990 * MS, 6_000 * MS),
        (12_000 * MS, MS),
        (15_900 * MS, MS),
        (16_100 * MS, MS),
    )
    calm, disturbed = split([before, under_way, within, recovering, after], [window])
    assert calm == [before, after]
    assert disturbed == [under_way, within, recovering]


@given(st.lists(st.tuples(TIMES, TIMES)), st.lists(st.tuples(TIMES, TIMES)))
def test_a_sample_is_disturbed_if_any_window_meets_it(
    samples: list[tuple[int, int]], cuts: list[tuple[int, int]]
) -> None:
    windows = [(start, start + length) for start, length in cuts]  # overlapping, and in any order

    def met(at: int, took: int) -> bool:
        return any(at <= end + RECOVERY_NS and at + took >= start for start, end in windows)

    calm, disturbed = split(samples, windows)
    assert calm == [each for each in samples if not met(*each)]
    assert disturbed == [each for each in samples if met(*each)]
