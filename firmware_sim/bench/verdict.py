"""What the runs mean: figures beside Mosquitto's, against the bounds of the row, and who was the limit."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final, Literal

import msgspec

from firmware_sim.bench.measure import Measurement
from firmware_sim.bench.rows import Row

_BUSY_PERCENT: Final = 85.0
"""A one-thread process above this has no time to spare."""
_LAG_MS: Final = 100.0
"""A generator that fell further behind its rate did not offer the row's load."""
_MANY_CONNECTIONS: Final = 1000

HELD: Final = "oriole"
REFERENCE: Final = "mosquitto"


class Bound(msgspec.Struct, frozen=True):
    """What Oriole is held to, and whether it was kept in this run."""

    text: str
    kept: bool


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """A line of the table: medians of one broker in one row. None is what cannot be said."""

    row: str
    title: str
    broker: str
    runs: int
    correct: bool
    problem: str = ""
    """What was wrong in the runs that were not correct."""
    cpu_us: float | None = None
    """CPU microseconds per delivery."""
    ratio: float | None = None
    """`cpu_us` as part of Mosquitto's."""
    deliveries_per_s: float | None = None
    p50_us: float | None = None
    """Latency, only at a fixed rate: flat out it is the length of queues."""
    p99_us: float | None = None
    kib_per_connection: float | None = None
    """Only where enough connections share the broker's growth."""
    broker_cpu_percent: float | None = None
    generator_cpu_percent: float | None = None
    limit: Literal["broker", "generator", "rate", "neither"] = "neither"
    """What kept the row from going faster. With `generator`, the row says nothing about the broker's speed."""
    loop: Literal["C", "Python"] = "C"
    bounds: list[Bound] = msgspec.field(default_factory=list)


def judge(rows: Mapping[str, Row], measurements: Iterable[Measurement]) -> list[Verdict]:
    """One verdict for each measurement, in their order."""
    measurements = list(measurements)
    cpu_us = {(m.row, m.broker): m.median(lambda run: run.us_cpu_per_delivery) for m in measurements if m.runs}
    return [_verdict(rows[measurement.row], measurement, cpu_us) for measurement in measurements]


def _verdict(row: Row, measurement: Measurement, cpu_us: Mapping[tuple[str, str], float]) -> Verdict:
    broker, runs = measurement.broker, measurement.runs
    if not runs:
        return Verdict(
            row=row.name, title=row.title, broker=broker, runs=0, correct=False, problem=measurement.failures[0]
        )
    own, reference = cpu_us[row.name, broker], cpu_us.get((row.name, REFERENCE))
    ratio = own / reference if reference else None
    paced = measurement.workload.rate > 0
    many = measurement.workload.pubs + measurement.workload.subs >= _MANY_CONNECTIONS
    kib_per_connection = measurement.median(lambda run: run.kib_per_connection) if many else None
    return Verdict(
        row=row.name,
        title=row.title,
        broker=broker,
        runs=len(runs),
        correct=measurement.correct,
        problem=_problem(measurement),
        cpu_us=own,
        ratio=ratio,
        deliveries_per_s=measurement.median(lambda run: run.deliveries_per_s),
        p50_us=measurement.median(lambda run: run.p50_us) if paced else None,
        p99_us=measurement.median(lambda run: run.p99_us) if paced else None,
        kib_per_connection=kib_per_connection,
        broker_cpu_percent=measurement.median(lambda run: run.broker_cpu_percent),
        generator_cpu_percent=measurement.median(lambda run: run.generator_cpu_percent),
        limit=_limit(measurement, paced),
        loop=runs[0].loop,
        bounds=list(_bounds(row, own, ratio, kib_per_connection, cpu_us)) if broker == HELD else [],
    )


def _bounds(
    row: Row, own: float, ratio: float | None, kib_per_connection: float | None, cpu_us: Mapping[tuple[str, str], float]
) -> Iterator[Bound]:
    if row.most_cpu_us is not None:
        yield Bound(f"<= {row.most_cpu_us:g} us", own <= row.most_cpu_us)
    if row.most_ratio is not None and ratio is not None:
        yield Bound(f"<= {row.most_ratio:.3g} of {REFERENCE}", ratio <= row.most_ratio)
    if row.most_kib_per_connection is not None and kib_per_connection is not None:
        most_kib = row.most_kib_per_connection
        yield Bound(f"<= {most_kib:g} KiB per connection", kib_per_connection <= most_kib)
    if row.most_growth is not None:
        other, most = row.most_growth
        if (base := cpu_us.get((other, HELD))) is not None:
            yield Bound(f"<= {most:g} of row {other}", own <= most * base)


def _limit(measurement: Measurement, paced: bool) -> Literal["broker", "generator", "rate", "neither"]:
    broker = measurement.median(lambda run: run.broker_cpu_percent)
    generator = measurement.median(lambda run: run.generator_cpu_percent)
    if broker >= _BUSY_PERCENT:
        return "broker"
    if generator >= _BUSY_PERCENT or measurement.median(lambda run: run.lag_max_ms) > _LAG_MS:
        return "generator"
    return "rate" if paced else "neither"


def _problem(measurement: Measurement) -> str:
    worst = {
        name: max(getattr(run, name) for run in measurement.runs)
        for name in ("lost", "doubled", "reordered", "altered", "refused")
    }
    return "; ".join([*measurement.failures, *(f"{count} {name}" for name, count in worst.items() if count)])
