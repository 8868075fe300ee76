"""An asyncio loop whose time is virtual, and the timeline that everything else is due on.

What moves messages puts plain calls on the timeline; tasks, timeouts and sleeps of asyncio work as ever and take no
time. All that is due at one moment happens in the order in which it was put there; the turn of an engine, which is
deferred, comes after it, as on the real loop.
"""

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextlib import suppress
from heapq import heappop, heappush
from typing import Any, TypeVar

from broker.listeners.loop import Loop, Selector

SECOND_NS = 1_000_000_000
LOOKS_AT_SIGNALS = 5_000
"""After so many things that happened it is looked whether a signal came."""


class Timeline:
    """What is due when, in nanoseconds. It is the clock of devices, links and nodes alike."""

    __slots__ = ("_due", "_number", "now")

    def __init__(self) -> None:
        self.now = SECOND_NS  # some code takes 0 for never
        self._due: list[tuple[int, int, Callable[..., object], tuple[Any, ...]]] = []
        self._number = 0

    def now_ns(self) -> int:
        """The time now."""
        return self.now

    def now_ms(self) -> int:
        """The same as engines count it."""
        return self.now // 1_000_000

    def at(self, when_ns: int, action: Callable[..., object], *arguments: Any) -> None:
        """Do `action` at `when_ns`; what is overdue is done now."""
        self._number += 1
        heappush(self._due, (when_ns, self._number, action, arguments))

    def next_ns(self) -> int | None:
        """When something is due next."""
        return self._due[0][0] if self._due else None

    def run(self) -> int:
        """Let time pass to the next moment at which something is due, and do all of that; how many things that was."""
        due = self._due
        when_ns = due[0][0]
        if when_ns > self.now:
            self.now = when_ns
        count = 0
        while due and due[0][0] <= when_ns:
            _, _, action, arguments = heappop(due)
            action(*arguments)
            count += 1
        return count

    def clear(self) -> None:
        """Nothing of what is due will be done."""
        self._due.clear()


class _VirtualSelector(Selector):
    """Where asyncio waits: instead of waiting, what is due happens."""

    def __init__(self, report: Callable[[dict[str, Any]], object], timeline: Timeline) -> None:
        super().__init__(report)
        self._timeline = timeline
        self._happened = 0

    def select(self, timeout: float | None = None) -> list[Any]:
        """Live on the timeline until asyncio has something to do, or `timeout` seconds are over."""
        self.wanted = False
        timeline = self._timeline
        until_ns = None if timeout is None else timeline.now + max(0, math.ceil(timeout * SECOND_NS))
        while True:
            due_ns = timeline.next_ns()
            if self.deferred and (due_ns is None or due_ns > timeline.now):
                self._catch_up()
            elif due_ns is not None and (until_ns is None or due_ns <= until_ns):
                self._happened += timeline.run()
            elif until_ns is not None:
                timeline.now = max(timeline.now, until_ns)
                return self._signals()
            else:
                raise RuntimeError("virtual time has come to an end: somebody waits for what nobody will do")
            if self.wanted:
                return self._signals() if self._happened >= LOOKS_AT_SIGNALS else []
            if self._happened >= LOOKS_AT_SIGNALS and (ready := self._signals()):
                return ready

    def _catch_up(self) -> None:
        """Nobody lives on here after a fault: it is not reported, it ends the run."""
        deferred, self.deferred = self.deferred, []
        for call in deferred:
            call()

    def _signals(self) -> list[Any]:
        """What came from outside: asyncio hears of signals through a socket."""
        self._happened = 0
        return super(Selector, self).select(0)


class VirtualLoop(Loop):
    """An event loop in virtual time. Everything that runs on it reads its clock and no other."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.clock = self._seconds
        super().__init__()

    def _selector_of_ours(self) -> Selector:
        return _VirtualSelector(self.call_exception_handler, self.timeline)

    def _seconds(self) -> float:
        return self.timeline.now / SECOND_NS

    def time(self) -> float:
        """See asyncio."""
        return self.timeline.now / SECOND_NS


Result = TypeVar("Result")


def run(main: Callable[[VirtualLoop], Coroutine[Any, Any, Result]]) -> Result:
    """Run the coroutine that `main` makes on a loop of its own, and close the loop. Whatever raises ends it."""
    loop = VirtualLoop()
    try:
        asyncio.set_event_loop(loop)
        return loop.run_until_complete(main(loop))
    finally:
        _end(loop)
        asyncio.set_event_loop(None)
        loop.close()


def _end(loop: VirtualLoop) -> None:
    """Cancel what is left, as `asyncio.run` does. Who waits in vain while it cleans up is cancelled again."""
    while tasks := asyncio.all_tasks(loop):
        loop.timeline.clear()
        for task in tasks:
            task.cancel()
        with suppress(Exception):
            loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
    loop.run_until_complete(loop.shutdown_asyncgens())
