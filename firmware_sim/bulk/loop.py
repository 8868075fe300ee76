"""The loop under the bulk devices: one thread, one epoll, timers. Linux only.

A pass is short, whatever piled up: then what is planned is never far behind what arrives. The clock is the one that
every process of the machine reads, and that stamps are made from.
"""

import select
import time
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Final, Protocol

from .histogram import Histogram

READABLE: Final = select.EPOLLIN
WRITABLE: Final = select.EPOLLOUT

_EVENTS_PER_PASS: Final = 16
_TIMERS_PER_PASS: Final = 16
_LONGEST_WAIT_S: Final = 1.0


class Source(Protocol):
    """Whoever has a file descriptor."""

    def ready(self, events: int) -> None:
        """The descriptor can be read (`READABLE`), written (`WRITABLE`), or is broken (other bits of epoll(7))."""


class Loop:
    """Calls sources and timers until it is stopped. It is the clock of the devices."""

    __slots__ = ("_epoll", "_is_stopped", "_number", "_sources", "_timers", "passes")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._sources: dict[int, Source] = {}
        self._timers: list[tuple[int, int, Callable[[], None]]] = []
        self._number = 0
        self._is_stopped = False
        self.passes = Histogram()
        """How long it was busy at a time: what arrived meanwhile was read so much later than it could have been."""

    def now_ns(self) -> int:
        """CLOCK_MONOTONIC."""
        return time.monotonic_ns()

    def at(self, when_ns: int, action: Callable[[], None]) -> None:
        """Do `action` at `when_ns`, or as soon as possible after it."""
        self._number += 1  # those of one moment keep their order
        heappush(self._timers, (when_ns, self._number, action))

    def watch(self, number: int, events: int, source: Source) -> None:
        """Tell `source` when the descriptor `number` is ready for `events`; with 0 only when it is broken."""
        if number in self._sources:
            self._epoll.modify(number, events)
        else:
            self._epoll.register(number, events)
        self._sources[number] = source

    def ignore(self, number: int) -> None:
        """Before a descriptor is closed."""
        if self._sources.pop(number, None) is not None:
            self._epoll.unregister(number)

    def run(self, until_ns: int | None = None) -> None:
        """Serve until `stop` is called, or it is `until_ns`."""
        self._is_stopped = False
        while not self._is_stopped:
            now_ns = time.monotonic_ns()
            if until_ns is not None and now_ns >= until_ns:
                return
            next_ns = self._timers[0][0] if self._timers else None
            deadlines = [each for each in (next_ns, until_ns) if each is not None]
            wait_s = (min(deadlines) - now_ns) / 1e9 if deadlines else _LONGEST_WAIT_S
            events = self._epoll.poll(min(max(wait_s, 0.0), _LONGEST_WAIT_S), _EVENTS_PER_PASS)
            woke_ns = time.monotonic_ns()
            self._do_what_is_due(woke_ns)
            for number, mask in events:
                source = self._sources.get(number)  # one that was served before may have ended this one
                if source is not None:
                    source.ready(mask)
            self.passes.add(time.monotonic_ns() - woke_ns)

    def stop(self) -> None:
        """End `run` after this pass."""
        self._is_stopped = True

    def close(self) -> None:
        """Let go of the epoll descriptor."""
        self._epoll.close()

    def _do_what_is_due(self, now_ns: int) -> None:
        timers = self._timers
        for _ in range(_TIMERS_PER_PASS):
            if not timers or timers[0][0] > now_ns:
                return
            heappop(timers)[2]()
