"""The least event loop that the broker's listener and host can run on: what a loop in Python costs at the least.

It has asyncio's names for the few calls that `broker.listeners.tcp` and `broker.listeners.host` make: sockets to watch,
calls to make after everybody who is readable now, timers. No tasks, no signals, no error handling: for measuring only.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

Call = Callable[..., None]


class EpollTimer:
    """A call at a time; a cancelled one is skipped when it comes up."""

    __slots__ = ("arguments", "at", "call", "cancelled")

    def __init__(self, at: float, call: Call, arguments: tuple[object, ...]) -> None:
        self.at = at
        self.call = call
        self.arguments = arguments
        self.cancelled = False

    def cancel(self) -> None:
        """Do not call."""
        self.cancelled = True


class EpollLoop:
    """`select.epoll` and a dictionary of what to call for which socket."""

    __slots__ = ("_epoll", "_numbers", "_readers", "_soon", "_timers", "_writers", "time")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._readers: dict[int, tuple[Call, tuple[object, ...]]] = {}
        self._writers: dict[int, Call] = {}
        self._soon: list[Call] = []
        self._timers: list[tuple[float, int, EpollTimer]] = []
        self._numbers = count()
        self.time = time.monotonic

    def add_reader(self, connection: socket.socket, call: Call, *arguments: object) -> None:
        """Call when there is something to read."""
        self._readers[connection.fileno()] = call, arguments
        self._watch(connection.fileno())

    def remove_reader(self, connection: socket.socket) -> None:
        """Undo `add_reader`."""
        if self._readers.pop(connection.fileno(), None) is not None:
            self._watch(connection.fileno())

    def add_writer(self, connection: socket.socket, call: Call) -> None:
        """Call when there is room to write."""
        self._writers[connection.fileno()] = call
        self._watch(connection.fileno())

    def remove_writer(self, connection: socket.socket) -> None:
        """Undo `add_writer`."""
        if self._writers.pop(connection.fileno(), None) is not None:
            self._watch(connection.fileno())

    def call_soon(self, call: Call) -> None:
        """Call after everybody who is readable now."""
        self._soon.append(call)

    def call_later(self, delay: float, call: Call, *arguments: object) -> EpollTimer:
        """Call `delay` seconds from now."""
        return self.call_at(self.time() + delay, call, *arguments)

    def call_at(self, at: float, call: Call, *arguments: object) -> EpollTimer:
        """Call at `at` seconds of `time`."""
        timer = EpollTimer(at, call, arguments)
        heappush(self._timers, (at, next(self._numbers), timer))
        return timer

    def run_forever(self) -> None:
        """Serve until the process is told to end."""
        while True:
            for number, events in self._epoll.poll(self._wait()):
                if events & ~select.EPOLLOUT and number in self._readers:
                    call, arguments = self._readers[number]
                    call(*arguments)
                if events & select.EPOLLOUT and number in self._writers:
                    self._writers[number]()
            soon, self._soon = self._soon, []
            for call in soon:
                call()
            self._ring()

    def _wait(self) -> float | None:
        """Seconds until there is something to do whoever writes; None for ever."""
        if self._soon:
            return 0
        return max(0.0, self._timers[0][0] - self.time()) if self._timers else None

    def _ring(self) -> None:
        while self._timers and self._timers[0][0] <= self.time():
            timer = heappop(self._timers)[2]
            if not timer.cancelled:
                timer.call(*timer.arguments)

    def _watch(self, number: int) -> None:
        wanted = (number in self._readers) * select.EPOLLIN | (number in self._writers) * select.EPOLLOUT
        try:
            if wanted:
                self._epoll.modify(number, wanted)
            else:
                self._epoll.unregister(number)
        except FileNotFoundError:
            self._epoll.register(number, wanted)
