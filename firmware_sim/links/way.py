"""One direction of a link and what shares it: datagrams, and the TCP streams that are sent this way.

A pipe says when packets come out; this module has them received, lets streams act when their time has come, and puts
all that into one deadline. Whoever drives it, on a real clock or a pretended one, calls `advance` at `deadline`.
"""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any, Protocol

from .model import DirectionModel
from .pipe import Decided, Pipe

Receive = Callable[[Any, int], None]
"""Called with what has arrived and the time (ns) at which it should have."""


class Ticking(Protocol):
    """Somebody with a time to act."""

    armed_ns: int | None
    """When it is to be called, as it last said."""

    def tick(self, now_ns: int) -> None:
        """It is time."""


class Way:
    """`pipe` carries pairs: who receives, and what."""

    __slots__ = ("_armed", "_timers", "pipe")

    def __init__(self, model: DirectionModel, random: Random, decided: Decided | None = None) -> None:
        self.pipe: Pipe[tuple[Receive, Any]] = Pipe(model, random, decided)
        self._timers: list[tuple[int, int, Ticking]] = []
        self._armed = 0

    def send(self, receive: Receive, what: Any, size_bytes: int, now_ns: int) -> None:
        """Put a packet in; `receive` gets it, unless it is lost."""
        self.pipe.push((receive, what), size_bytes, now_ns)

    def arm(self, who: Ticking, when_ns: int) -> None:
        """Let `who` act at `when_ns`, instead of what it said before."""
        who.armed_ns = when_ns
        self._armed += 1
        heappush(self._timers, (when_ns, self._armed, who))

    def advance(self, now_ns: int) -> None:
        """Do what is due."""
        for arrives_ns, (receive, what) in self.pipe.pop(now_ns):
            receive(what, arrives_ns)
        timers = self._timers
        while timers and timers[0][0] <= now_ns:
            when_ns, _, who = heappop(timers)
            if who.armed_ns == when_ns:
                who.armed_ns = None
                who.tick(now_ns)

    def deadline(self) -> int | None:
        """When something is due next, in ns."""
        arrival_ns = self.pipe.deadline()
        if not self._timers:
            return arrival_ns
        return self._timers[0][0] if arrival_ns is None else min(arrival_ns, self._timers[0][0])
