"""The meters of a run, read together: the clock, the broker's process and the generator's own."""

import time
from typing import NamedTuple, Self

from firmware_sim.load import process


class Reading(NamedTuple):
    """Meters at one moment, or their growth between two."""

    seconds: float
    generator_cpu_s: float
    broker_cpu_s: float
    broker_resident_kib: float

    @classmethod
    def take(cls, pid: int | None) -> Self:
        """Read the meters; those of the broker are 0 without its `pid`. Raises ProcessGoneError."""
        broker = (process.cpu_s(pid), process.resident_kib(pid)) if pid else (0.0, 0.0)
        return cls(time.monotonic(), time.process_time(), *broker)

    def since(self, earlier: Self) -> Self:
        """What the meters grew by."""
        return type(self)(*(now - then for now, then in zip(self, earlier, strict=True)))
