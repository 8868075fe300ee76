"""Time as devices see it: now, and later. A virtual clock is one more class with these two methods."""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol

SECOND_NS = 1_000_000_000


class Clock(Protocol):
    """Nanoseconds that never go back."""

    def now_ns(self) -> int:
        """The time now."""

    def at(self, when_ns: int, action: Callable[[], None]) -> None:
        """Do `action` at `when_ns`."""


class RealClock:
    """The machine's monotonic clock and the running asyncio loop. `lags_ns` is how late each planned action began:
    the generator's own fault, which no report may blame on the system under test."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self.lags_ns: list[int] = []

    def now_ns(self) -> int:
        """CLOCK_MONOTONIC, the same for every process of the machine."""
        return time.monotonic_ns()

    def at(self, when_ns: int, action: Callable[[], None]) -> None:
        """Do `action` at `when_ns`, and note how late it was."""
        self._loop.call_at(when_ns / SECOND_NS, self._do, when_ns, action)

    def _do(self, when_ns: int, action: Callable[[], None]) -> None:
        self.lags_ns.append(max(0, time.monotonic_ns() - when_ns))
        action()
