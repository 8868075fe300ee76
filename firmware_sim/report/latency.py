"""How long messages took: percentiles, with what met a cut link kept apart from what did not."""

from collections.abc import Iterable, Sequence

import msgspec

MS_NS = 1_000_000
RECOVERY_NS = 1_000 * MS_NS  # after a link heals, what it held back is still under way

Window = tuple[int, int]
Sample = tuple[int, int]


class Latency(msgspec.Struct, frozen=True):
    """Nearest-rank percentiles in milliseconds of `count` samples; all 0 without any."""

    count: int = 0
    p50_ms: float = 0.0
    p95_ms: float = 0.0
    p99_ms: float = 0.0
    max_ms: float = 0.0


def summarise(times_ns: Iterable[int]) -> Latency:
    """The percentiles of durations in nanoseconds."""
    ordered = sorted(times_ns)
    if not ordered:
        return Latency()
    p50, p95, p99 = (ordered[(len(ordered) * part - 1) // 100] / MS_NS for part in (50, 95, 99))
    return Latency(len(ordered), p50, p95, p99, ordered[-1] / MS_NS)


def split(samples: Iterable[Sample], windows: Sequence[Window]) -> tuple[list[Sample], list[Sample]]:
    """Samples (sent at, took; ns) that met none of the windows, and those that met one or its recovery."""
    calm: list[Sample] = []
    disturbed: list[Sample] = []
    for at_ns, took_ns in samples:
        met = any(at_ns <= end + RECOVERY_NS and at_ns + took_ns >= start for start, end in windows)
        (disturbed if met else calm).append((at_ns, took_ns))
    return calm, disturbed
