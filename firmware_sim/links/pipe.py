"""One direction of a link, packet by packet: a bottleneck with a bounded buffer, then a wire on which things happen.

It owns whether and when a packet comes out at the other end, and nothing else: no sockets, no clock. Time is an
argument in nanoseconds that never goes back, chance is the `Random` it is given: the same packets at the same times
meet the same fate. What is carried is opaque; only its size counts.

    push -> [ buffer, drained at the rate ] -> [ wire: loss, delay, jitter, holding back, doubling ] -> pop

A packet's fate is decided when it is pushed; only a cut, or another rate while it still waits in the buffer, changes
it later. A packet that the wire loses has used the bottleneck all the same.
"""

from collections import deque
from collections.abc import Callable, Iterable
from enum import StrEnum
from heapq import heapify, heappop, heappush
from random import Random
from typing import Generic, TypeVar

from .chance import Chance
from .model import DirectionModel

Carried = TypeVar("Carried")

SECOND_NS = 1_000_000_000
MILLISECOND_NS = 1_000_000
BYTE_NS = 8_000_000
"""What a byte takes at one kilobit per second."""
CALM_NS = 100_000_000
"""After so long without a packet the next knows nothing of the burst before: what loses packets in a row, a fade or a
full queue, is over in milliseconds, and a sender that tries again after a second must not fall into the same burst."""


class Fate(StrEnum):
    """What befell a packet out of the ordinary."""

    CUT = "cut"
    """Lost: the direction was silent."""
    FULL = "full"
    """Lost: there was no room before the bottleneck."""
    LOST = "lost"
    """Lost by chance."""
    DUPLICATED = "duplicated"
    """It arrives twice."""
    REORDERED = "reordered"
    """Held back, so that later ones overtake."""


Decided = Callable[[Fate, int, int], None]
"""Told of each such fate: what, the packet's size in bytes, and when (ns)."""

Entry = tuple[int, int, int, int, Carried]
"""Arrival in ns, place in the order of pushing, when it leaves the bottleneck in ns, size in bytes, what is carried."""


class Pipe(Generic[Carried]):
    """First in, first out, but for what is held back: everything that goes through shares the rate."""

    __slots__ = (
        "_buffer_bytes",
        "_busy_until_ns",
        "_comes_in_bursts",
        "_decided",
        "_delay_ns",
        "_duplicate",
        "_held",
        "_is_fair",
        "_jitter_ns",
        "_last_ns",
        "_loss",
        "_pushed",
        "_random",
        "_rate_kbit",
        "_reorder",
        "_reorder_ns",
        "_tried_ns",
        "_wire",
        "carried",
        "carried_bytes",
        "fates",
        "is_cut",
        "lost_bytes",
    )

    def __init__(self, model: DirectionModel, random: Random, decided: Decided | None = None) -> None:
        self._random = random
        self._decided = decided
        self._wire: deque[Entry[Carried]] = deque()  # in the order of arrival
        self._held: list[Entry[Carried]] = []  # a heap: what was held back
        self._pushed = 0
        self._busy_until_ns = 0
        self._last_ns = 0  # when the last one on the wire arrives: nothing pushed later comes before
        self.is_cut = False
        self.carried = 0
        self.carried_bytes = 0
        self.lost_bytes = 0
        self.fates = dict.fromkeys(Fate, 0)
        self._set(model)

    def push(self, carried: Carried, size_bytes: int, now_ns: int) -> bool:
        """Put a packet in. False when it is lost, which its sender cannot know.

        An idle bottleneck takes any size, or a packet larger than the buffer could never pass.
        """
        if self.is_cut:
            return self._lose(Fate.CUT, size_bytes, now_ns)
        leaves_ns = now_ns
        if rate := self._rate_kbit:
            if (busy_ns := self._busy_until_ns - now_ns) > 0:
                if busy_ns * rate // BYTE_NS + size_bytes > self._buffer_bytes:
                    return self._lose(Fate.FULL, size_bytes, now_ns)
                leaves_ns += busy_ns
            leaves_ns += size_bytes * BYTE_NS // rate
            self._busy_until_ns = leaves_ns
        arrives_ns = leaves_ns + self._delay_ns
        if not self._is_fair:
            return self._dare(carried, size_bytes, now_ns, leaves_ns, arrives_ns)
        if arrives_ns < self._last_ns:
            arrives_ns = self._last_ns
        self._last_ns = arrives_ns
        self._pushed += 1
        self._wire.append((arrives_ns, self._pushed, leaves_ns, size_bytes, carried))
        return True

    def pop(self, now_ns: int) -> list[tuple[int, Carried]]:
        """What has arrived, each with the time (ns) at which it should have: what is later is the caller's own lag."""
        wire, held = self._wire, self._held
        arrived: list[tuple[int, Carried]] = []
        while True:
            if held and not (wire and wire[0] < held[0]):
                if held[0][0] > now_ns:
                    break
                arrives_ns, _, _, size_bytes, carried = heappop(held)
            elif wire and wire[0][0] <= now_ns:
                arrives_ns, _, _, size_bytes, carried = wire.popleft()
            else:
                break
            self.carried_bytes += size_bytes
            arrived.append((arrives_ns, carried))
        self.carried += len(arrived)
        return arrived

    def deadline(self) -> int | None:
        """When `pop` has something next, in ns."""
        if not self._held:
            return self._wire[0][0] if self._wire else None
        return min(self._wire[0], self._held[0])[0] if self._wire else self._held[0][0]

    def cut(self, now_ns: int) -> None:
        """Silence from now on: what is under way is lost, and what comes. Nobody is told."""
        self.is_cut = True
        for entry in (*self._wire, *self._held):
            self._lose(Fate.CUT, entry[3], now_ns)
        self._wire.clear()
        self._held.clear()
        self._busy_until_ns = 0

    def heal(self) -> None:
        """The wire carries again, empty."""
        self.is_cut = False

    def change(self, model: DirectionModel, now_ns: int) -> None:
        """From now on it is like `model`. What waits before the bottleneck leaves at the new rate; what has left it
        keeps its time of arrival, and nothing overtakes it because the wire became shorter.
        """
        old_rate_kbit = self._rate_kbit
        self._set(model)

        def later(leaves_ns: int) -> int:
            """When that leaves which would have left at `leaves_ns`."""
            return now_ns + ((leaves_ns - now_ns) * old_rate_kbit // self._rate_kbit if self._rate_kbit else 0)

        def again(entries: Iterable[Entry[Carried]]) -> list[Entry[Carried]]:
            return [
                (arrives_ns - leaves_ns + later(leaves_ns), number, later(leaves_ns), size_bytes, carried)
                if leaves_ns > now_ns
                else (arrives_ns, number, leaves_ns, size_bytes, carried)
                for arrives_ns, number, leaves_ns, size_bytes, carried in entries
            ]

        wire, self._held = again(self._wire), again(self._held)
        heapify(self._held)
        self._wire.clear()
        self._last_ns = 0
        for arrives_ns, number, leaves_ns, size_bytes, carried in wire:
            self._last_ns = max(self._last_ns, arrives_ns)
            self._wire.append((self._last_ns, number, leaves_ns, size_bytes, carried))
        if self._busy_until_ns > now_ns:
            self._busy_until_ns = later(self._busy_until_ns)

    def queued_bytes(self, now_ns: int) -> int:
        """What waits before the bottleneck."""
        return max(0, self._busy_until_ns - now_ns) * self._rate_kbit // BYTE_NS

    @property
    def under_way(self) -> int:
        """Packets that were pushed, are not lost, and were not popped yet."""
        return len(self._wire) + len(self._held)

    @property
    def lost(self) -> int:
        """Packets lost for any reason."""
        return self.fates[Fate.CUT] + self.fates[Fate.FULL] + self.fates[Fate.LOST]

    @property
    def delay_ns(self) -> int:
        """What the wire takes at least."""
        return self._delay_ns

    def _set(self, model: DirectionModel) -> None:
        self._delay_ns = round(model.delay_ms * MILLISECOND_NS)
        self._jitter_ns = model.jitter_ms * MILLISECOND_NS
        self._rate_kbit = model.rate_kbit
        self._buffer_bytes = model.buffer_kib * 1024
        self._reorder_ns = round(model.reorder_ms * MILLISECOND_NS)
        self._is_fair = not (model.jitter_ms or model.loss or model.reorder or model.duplicate)
        self._loss = Chance(model.loss, self._random, model.burst)
        self._comes_in_bursts = model.burst > 1
        self._tried_ns = 0
        self._duplicate = Chance(model.duplicate, self._random)
        self._reorder = Chance(model.reorder, self._random)

    def _dare(self, carried: Carried, size_bytes: int, now_ns: int, leaves_ns: int, arrives_ns: int) -> bool:
        """The wire, where things are left to chance."""
        if self._comes_in_bursts:
            if now_ns - self._tried_ns > CALM_NS:
                self._loss.forget()
            self._tried_ns = now_ns
        if self._loss.hit():
            return self._lose(Fate.LOST, size_bytes, now_ns)
        if self._jitter_ns:
            arrives_ns += int(self._random.random() * self._jitter_ns)
        arrives_ns = max(arrives_ns, self._last_ns)
        is_held = self._reorder.hit()
        copies = 1
        if is_held:
            self._decide(Fate.REORDERED, size_bytes, now_ns)
        if self._duplicate.hit():
            self._decide(Fate.DUPLICATED, size_bytes, now_ns)
            copies = 2
        for _ in range(copies):
            self._pushed += 1
            if is_held:
                heappush(self._held, (arrives_ns + self._reorder_ns, self._pushed, leaves_ns, size_bytes, carried))
            else:
                self._wire.append((arrives_ns, self._pushed, leaves_ns, size_bytes, carried))
        if not is_held:
            self._last_ns = arrives_ns
        return True

    def _lose(self, fate: Fate, size_bytes: int, now_ns: int) -> bool:
        self.lost_bytes += size_bytes
        self._decide(fate, size_bytes, now_ns)
        return False

    def _decide(self, fate: Fate, size_bytes: int, now_ns: int) -> None:
        self.fates[fate] += 1
        if self._decided is not None:
            self._decided(fate, size_bytes, now_ns)
