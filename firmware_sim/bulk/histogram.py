"""Durations by the thousand, kept as counts: percentiles of a run of any length in bounded memory."""

import msgspec

from firmware_sim.report.latency import MS_NS, Latency

_PRECISION_BITS = 5
"""A bucket is at most 1/16 wider than its lower bound: a percentile is never too small, and at most 6 % too large."""


class Histogram(msgspec.Struct):
    """Durations in nanoseconds."""

    counts: dict[int, int] = {}
    """By the upper bound of each bucket, which lies in it."""
    max_ns: int = 0

    def add(self, took_ns: int) -> None:
        """Count one; less than nothing is nothing."""
        took_ns = max(took_ns, 0)
        shift = max(took_ns.bit_length() - _PRECISION_BITS, 0)
        bucket = took_ns | (1 << shift) - 1
        self.counts[bucket] = self.counts.get(bucket, 0) + 1
        if took_ns > self.max_ns:
            self.max_ns = took_ns

    def take(self, other: "Histogram") -> None:
        """Count all that the other has counted."""
        for bucket, count in other.counts.items():
            self.counts[bucket] = self.counts.get(bucket, 0) + count
        self.max_ns = max(self.max_ns, other.max_ns)

    def percentile_ns(self, percent: int) -> int:
        """The nearest rank, rounded up to its bucket's end; 0 without any."""
        rank = -(-sum(self.counts.values()) * percent // 100)
        for bucket in sorted(self.counts):
            rank -= self.counts[bucket]
            if rank <= 0:
                return min(bucket, self.max_ns)
        return 0

    def summary(self) -> Latency:
        """The same figures as of everything else in a report."""
        p50, p95, p99 = (self.percentile_ns(percent) / MS_NS for percent in (50, 95, 99))
        return Latency(sum(self.counts.values()), p50, p95, p99, self.max_ns / MS_NS)
