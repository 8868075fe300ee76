"""The event loop: asyncio's, with a short way past it for what carries messages.

An event loop wraps whoever waits in a handle and a context, queues it, and calls it from its queue. For a quiet fleet,
one packet in each read, that is a good part of what a message costs. So channels are watched here instead: a pass waits
for all of them in one call, hands each that is ready its events, does what was put off until then (the engine's turn),
and waits again. asyncio sees nothing but a selector that takes its time; as soon as anything of its own is due (a
timer, a task, a signal, a socket that is connecting) it goes on, after the same pass.
docs/decisions/listener-owns-its-socket.md has the measurements.
"""

from __future__ import annotations

import asyncio
import select
import selectors
import time
from collections.abc import Callable
from contextvars import Context
from typing import Any, Protocol, TypeVarTuple

Arguments = TypeVarTuple("Arguments")

READABLE = select.EPOLLIN
WRITABLE = select.EPOLLOUT
HUNG_UP = select.EPOLLRDHUP
"""The peer has closed its side, or all of it: for who does not read now and would not find out."""


class Source(Protocol):
    """Something with a file descriptor that messages come and go through."""

    def ready(self, events: int) -> None:
        """The descriptor can be read (`READABLE`), written (`WRITABLE`), or is broken (other bits of epoll(7))."""

    def broken(self, error: Exception) -> None:
        """It raised `error`: an end of it, so that it does not fail again for ever."""


class Selector(selectors.EpollSelector):
    """What asyncio waits in: its own descriptors are one among those of the sources."""

    def __init__(self, report: Callable[[dict[str, Any]], object]) -> None:
        super().__init__()
        self.sources: dict[int, Source] = {}
        self.deferred: list[Callable[[], object]] = []
        self.wanted = False
        """asyncio has been given something to do."""
        self._report = report
        self._inner = self.fileno()
        self.epoll = select.epoll()
        self.epoll.register(self._inner, READABLE)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Serve the sources until something else is ready, was asked for, or `timeout` seconds are over."""
        self.wanted = False
        until = None if timeout is None else time.monotonic() + timeout
        while True:
            if self.deferred:
                self._catch_up()
            at_once = self.wanted or self.deferred  # what was deferred may have deferred something
            others = self._serve(self.epoll.poll(0 if at_once else timeout))
            if self.deferred:
                self._catch_up()
            if others:
                return super().select(0)
            if self.wanted:
                return []
            if until is not None:
                timeout = until - time.monotonic()
                if timeout <= 0:
                    return []

    def _serve(self, events: list[tuple[int, int]]) -> bool:
        """Hand events to their sources; whether any were for somebody else."""
        sources = self.sources
        others = False
        for number, mask in events:
            source = sources.get(number)  # one that was served before may have ended this one
            if source is not None:
                try:
                    source.ready(mask)
                except Exception as error:
                    self._report({"message": f"failed: {source!r}", "exception": error})
                    source.broken(error)
            elif number == self._inner:
                others = True
        return others

    def _catch_up(self) -> None:
        deferred, self.deferred = self.deferred, []
        for call in deferred:
            try:
                call()
            except Exception as error:
                self._report({"message": f"failed: {call!r}", "exception": error})

    def close(self) -> None:
        """Let go of the descriptors."""
        self.epoll.close()
        super().close()


class Loop(asyncio.SelectorEventLoop):
    """An asyncio event loop that also serves sources.

    Attributes:
        clock: seconds that never go back; what runs on the loop reads no other clock.
    """

    clock: Callable[[], float] = staticmethod(time.monotonic)

    def __init__(self) -> None:
        self._waiting = self._selector_of_ours()
        super().__init__(self._waiting)

    def _selector_of_ours(self) -> Selector:
        return Selector(self.call_exception_handler)

    def watch(self, number: int, events: int, source: Source) -> None:
        """Tell `source` when the descriptor `number` is ready for `events`; for none of them: no more.

        To be called with 0 before the descriptor is closed. Events of a descriptor that is broken come whatever was
        asked for, as long as anything is.
        """
        sources, epoll = self._waiting.sources, self._waiting.epoll
        if not events:
            if sources.pop(number, None) is not None:
                epoll.unregister(number)
        elif number in sources:
            epoll.modify(number, events)
        else:
            epoll.register(number, events)
            sources[number] = source

    def defer(self, call: Callable[[], object]) -> None:
        """Call once, after all sources that are ready now."""
        self._waiting.deferred.append(call)

    # What gives asyncio something to do ends its wait.

    def call_soon(
        self, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.Handle:
        """See asyncio."""
        self._waiting.wanted = True
        return super().call_soon(callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[[*Arguments], object], *args: *Arguments, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """See asyncio."""
        self._waiting.wanted = True
        return super().call_at(when, callback, *args, context=context)

    def stop(self) -> None:
        """See asyncio."""
        self._waiting.wanted = True
        super().stop()
