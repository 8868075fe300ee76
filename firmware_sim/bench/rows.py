"""The workloads that brokers are measured by, and what Oriole is held to in each."""

from dataclasses import dataclass
from typing import Final

import msgspec

from firmware_sim.load import Workload

_QUICK: Final = 10
"""`--quick` sends so many times fewer messages: enough to see that it works, not enough for figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A line of the table. The bounds are for Oriole; None is no bound."""

    name: str
    title: str
    workload: Workload
    most_cpu_us: float | None = None
    """CPU microseconds per delivery."""
    most_ratio: float | None = None
    """CPU as part of Mosquitto's in the same run."""
    most_growth: tuple[str, float] | None = None
    """CPU as part of Oriole's own in another row of the same run."""
    most_kib_per_connection: float | None = None
    """Resident memory."""

    def sized(self, divisor: int) -> Workload:
        """The workload with so many times fewer messages."""
        count = max(self.workload.count // divisor, self.workload.pubs)
        return msgspec.structs.replace(self.workload, count=count)


def _row(
    name: str,
    title: str,
    words: str,
    *,
    most_cpu_us: float | None = None,
    most_ratio: float | None = None,
    most_growth: tuple[str, float] | None = None,
    most_kib_per_connection: float | None = None,
) -> Row:
    return Row(
        name=name,
        title=title,
        workload=Workload.parse(words.split()),
        most_cpu_us=most_cpu_us,
        most_ratio=most_ratio,
        most_growth=most_growth,
        most_kib_per_connection=most_kib_per_connection,
    )


ROWS: Final = {
    row.name: row
    for row in (
        _row(
            "quiet",
            "2,000 quiet pairs",
            "pubs=2000 subs=2000 count=45000 rate=15000",
            most_ratio=1.15,
            most_kib_per_connection=4.0,
        ),
        _row("quiet-1", "the same, QoS 1", "pubs=2000 subs=2000 qos=1 count=45000 rate=15000"),
        _row("many-to-1", "2,000 to 1", "pubs=2000 topics=wild count=45000 rate=15000"),
        _row("1-to-1", "1:1 QoS 0, flat out", "count=500000", most_cpu_us=1.2, most_ratio=1 / 9),
        _row("1-to-100", "1 to 100 QoS 0", "topics=one subs=100 count=20000", most_cpu_us=0.18, most_ratio=1 / 45),
        _row("pairs", "100 pairs QoS 0", "pubs=100 subs=100 count=500000"),
        _row("qos-1", "10 pairs QoS 1", "pubs=10 subs=10 qos=1 count=150000", most_cpu_us=3.4, most_ratio=1 / 6),
        _row("qos-2", "10 pairs QoS 2", "pubs=10 subs=10 qos=2 count=80000", most_cpu_us=6.0, most_ratio=1 / 6),
        _row("filters", "1:1 beside 10,000 filters", "count=500000 filters=10000", most_growth=("1-to-1", 1.10)),
        _row("steady", "1:1 QoS 0 at 2,000/s", "count=6000 rate=2000"),
        _row("steady-1", "1:1 QoS 1 at 2,000/s", "qos=1 count=6000 rate=2000"),
    )
}


def quick_divisor(quick: bool) -> int:
    """How many times fewer messages to send."""
    return _QUICK if quick else 1
