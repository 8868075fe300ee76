"""What a run of the load generator found."""

from typing import Literal

import msgspec


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """One run. Figures of the broker are 0 when its process was not named."""

    loop: Literal["C", "Python"]
    """Which loop ran: the Python one lets a broker that writes packet by packet coalesce, and so look cheaper."""
    expected: int
    """Deliveries that the workload asks for."""
    delivered: int
    """Different messages received, by all subscribers together."""
    lost: int
    doubled: int
    reordered: int
    altered: int
    """Packets that are not what was published, byte for byte, or that nobody asked for."""
    refused: int
    """Messages that the broker acknowledged with a failure, and those never acknowledged to the end."""

    seconds: float
    """From the first publish to the last delivery and acknowledgement."""
    deliveries_per_s: float
    us_cpu_per_delivery: float
    """The broker's CPU time, microseconds."""
    broker_cpu_percent: float
    """The broker's CPU time as part of `seconds`: near 100, a one-thread broker was the limit."""
    generator_cpu_percent: float
    """The generator's CPU time as part of `seconds`."""
    lag_max_ms: float
    """How far publishing fell behind the requested rate at worst; 0 without a rate."""

    p50_us: float
    """Latency from publish call to receipt; without a rate it is the time spent in queues."""
    p99_us: float
    p999_us: float

    us_cpu_per_connect: float
    connects_per_s: float
    kib_per_connection: float
    """Growth of the broker's resident memory from before the first connection to after the last SUBACK."""
    idle_cpu_percent: float
    """The broker's CPU time while all connections were held quiet."""

    @property
    def correct(self) -> bool:
        """Whether every message arrived once, in order, unaltered."""
        return not (self.lost or self.doubled or self.reordered or self.altered or self.refused)
