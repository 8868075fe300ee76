"""How long messages took: percentiles, with what met a cut link kept apart from what did not."""

from bisect import bisect_right
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
    starts, ends = _apart(windows)
    calm: list[Sample] = []
    disturbed: list[Sample] = []
    for sample in samples:
        at_ns, took_ns = sample
        last = bisect_right(starts, at_ns + took_ns) - 1  # the last window that began before it was there
        (disturbed if last >= 0 and ends[last] >= at_ns else calm).append(sample)
    return calm, disturbed


def _apart(windows: Sequence[Window]) -> tuple[list[int], list[int]]:
    """Beginnings and ends of the windows with their recoveries, those that overlap made one, in order."""
    starts: list[int] = []
    ends: list[int] = []
    for start_ns, end_ns in sorted(windows):
        if ends and start_ns <= ends[-1]:
            ends[-1] = max(ends[-1], end_ns + RECOVERY_NS)
        else:
            starts.append(start_ns)
            ends.append(end_ns + RECOVERY_NS)
    return starts, ends
