"""One ordered structure of deadlines for the whole node.

An owner (a connection, a session, an exchange table) has at most one live entry. A packet never touches it: whoever is
woken looks at its own clock readings (`last_heard`, ...) and says when it wants to be woken next.
"""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from typing import Protocol


class Owner(Protocol):
    """Somebody who waits for a time."""

    wake_at: int
    """When its live entry is due, in milliseconds; 0 without one. Written by `Deadlines` only."""

    def due(self, now: int) -> int | None:
        """Do what is due. Returns when to be woken next, or None."""


MOST_STALE = 64
"""Withdrawn entries that may lie in the heap before it is looked whether they are the greater part of it."""


class Deadlines:
    """A heap of (time, number, owner). An entry that its owner no longer waits for is skipped when it comes up."""

    __slots__ = ("_heap", "_number", "_stale")

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Owner]] = []
        self._number = 0
        self._stale = 0

    def __len__(self) -> int:
        return len(self._heap)

    def schedule(self, owner: Owner, at: int) -> None:
        """Wake `owner` at `at` milliseconds or before.

        An entry that is due sooner is kept instead: the owner is asked then, and names the later time itself. So a
        client that reconnects every second adds no entry every second.
        """
        if owner.wake_at and owner.wake_at <= at:
            return
        owner.wake_at = at
        self._number += 1
        heappush(self._heap, (at, self._number, owner))

    def withdraw(self, owner: Owner) -> None:
        """`owner` waits no more. Its entry must not keep it in memory until its time comes, which may be days away."""
        if not owner.wake_at:
            return
        owner.wake_at = 0
        self._stale += 1
        if self._stale > MOST_STALE and self._stale * 2 > len(self._heap):
            self._heap[:] = [entry for entry in self._heap if entry[2].wake_at == entry[0]]
            heapify(self._heap)
            self._stale = 0

    def next_at(self) -> int | None:
        """The earliest time at which `run` may have something to do."""
        return self._heap[0][0] if self._heap else None

    def run(self, now: int) -> None:
        """Wake everyone who is due."""
        heap = self._heap
        while heap and heap[0][0] <= now:
            at, _, owner = heappop(heap)
            if owner.wake_at != at:
                continue
            owner.wake_at = 0
            following = owner.due(now)
            if following is not None:
                self.schedule(owner, following)
