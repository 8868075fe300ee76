"""Verdicts: medians, ratios, bounds, and who was the limit."""

from typing import Any

import msgspec
import pytest

from firmware_sim.bench.measure import Measurement
from firmware_sim.bench.rows import ROWS, Row
from firmware_sim.bench.verdict import Verdict, judge
from firmware_sim.load import Report, Workload

_NOTHING: dict[str, Any] = {name: 0 for name in Report.__struct_fields__ if name != "loop"}


def report(**figures: Any) -> Report:
    return msgspec.convert(_NOTHING | {"loop": "C"} | figures, Report)


def measured(row: str, broker: str, *cpu_us: float, **figures: Any) -> Measurement:
    runs = [report(us_cpu_per_delivery=each, **figures) for each in cpu_us]
    return Measurement(row=row, broker=broker, workload=ROWS[row].workload, runs=runs)


def verdicts(*measurements: Measurement) -> list[Verdict]:
    return judge(ROWS, measurements)


def test_the_median_stands_beside_mosquittos() -> None:
    ours, theirs = verdicts(measured("1-to-1", "oriole", 0.9, 0.1, 0.5), measured("1-to-1", "mosquitto", 8, 10, 12))
    assert (ours.cpu_us, ours.ratio) == (0.5, 0.05)
    assert (theirs.cpu_us, theirs.ratio) == (10, 1)
    assert [bound.kept for bound in ours.bounds] == [True, True]
    assert not theirs.bounds


def test_a_missed_bound_says_so() -> None:
    ours, _ = verdicts(measured("qos-1", "oriole", 3.0), measured("qos-1", "mosquitto", 15.0))
    assert [(bound.text, bound.kept) for bound in ours.bounds] == [
        ("<= 3.4 us", True),
        ("<= 0.167 of mosquitto", False),
    ]


@pytest.mark.parametrize(("cpu_us", "kept"), [(1.09, True), (1.11, False)])
def test_growth_is_judged_against_the_other_row(cpu_us: float, kept: bool) -> None:
    _, filters = verdicts(measured("1-to-1", "oriole", 1.0), measured("filters", "oriole", cpu_us))
    assert [bound.kept for bound in filters.bounds] == [kept]


def test_without_the_other_side_nothing_is_claimed() -> None:
    (filters,) = verdicts(measured("filters", "oriole", 1.0))
    assert filters.ratio is None
    assert not filters.bounds


def test_memory_per_connection_counts_only_where_there_are_many() -> None:
    quiet, single = verdicts(
        measured("quiet", "oriole", 20.0, kib_per_connection=4.5),
        measured("1-to-1", "oriole", 1.0, kib_per_connection=99),
    )
    assert [(bound.text, bound.kept) for bound in quiet.bounds] == [("<= 4 KiB per connection", False)]
    assert single.kib_per_connection is None


def test_latency_is_told_only_at_a_rate() -> None:
    steady, flat_out = verdicts(
        measured("steady", "oriole", 1.0, p50_us=100), measured("pairs", "oriole", 1.0, p50_us=9000)
    )
    assert steady.p50_us == 100
    assert flat_out.p50_us is None


@pytest.mark.parametrize(
    ("row", "figures", "limit"),
    [
        ("pairs", {"broker_cpu_percent": 99, "generator_cpu_percent": 95}, "broker"),
        ("pairs", {"broker_cpu_percent": 60, "generator_cpu_percent": 95}, "generator"),
        ("pairs", {"broker_cpu_percent": 60, "generator_cpu_percent": 60}, "neither"),
        ("steady", {"broker_cpu_percent": 10, "generator_cpu_percent": 20}, "rate"),
        ("steady", {"broker_cpu_percent": 10, "generator_cpu_percent": 20, "lag_max_ms": 500}, "generator"),
    ],
)
def test_the_limit(row: str, figures: dict[str, float], limit: str) -> None:
    (verdict,) = verdicts(measured(row, "oriole", 1.0, **figures))
    assert verdict.limit == limit


def test_a_wrong_message_in_any_run_is_told() -> None:
    measurement = measured("pairs", "oriole", 1.0)
    measurement.runs.append(report(lost=3, doubled=1))
    measurement.failures.append("the broker closed a connection")
    (verdict,) = verdicts(measurement)
    assert not verdict.correct
    assert verdict.problem == "the broker closed a connection; 3 lost; 1 doubled"


def test_no_run_no_figures() -> None:
    (verdict,) = verdicts(Measurement(row="pairs", broker="amqtt", workload=Workload(), failures=["did not start"]))
    assert not verdict.correct
    assert verdict.problem == "did not start"
    assert verdict.cpu_us is None


def test_quick_rows_are_smaller_and_nobody_stays_silent() -> None:
    row: Row = ROWS["quiet"]
    assert row.sized(10).count == row.workload.count // 10
    assert row.sized(10**9).count == row.workload.pubs
