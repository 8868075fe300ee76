"""How many bytes may be on the way to the centre: enough to fill the link, and little more.

Bytes beyond what the link holds wait in somebody's queue, a modem's or a kernel's, and an alarm behind them. So the
window follows the delay, like TCP Vegas (Brakmo and Peterson, 1995): what is on the way, times the share of the round
trip that is longer than the shortest one, is what waits somewhere. Less than `LEAST_QUEUED` of it, and the window
grows; more than `MOST_QUEUED`, and it shrinks. Below it TCP does what it must about loss.

What always waits makes every round trip longer, and would be taken for the way once the shortest one is forgotten. So
then the window lets it drain for one round trip, like BBR (Cardwell et al., 2016).
"""

from __future__ import annotations

from collections import deque
from typing import Final

FIRST_BYTES: Final = 14_000
"""What TCP sends at once over a new connection (ten segments, RFC 6928)."""
LEAST_BYTES: Final = 4_096
"""A link of 56 kbit/s with a round trip of half a second holds so much."""
MOST_BYTES: Final = 4 << 20
"""A link of 100 Mbit/s with a round trip of 300 ms holds so much."""
LEAST_QUEUED: Final = 16 << 10
MOST_QUEUED: Final = 48 << 10
"""So much may wait in the bottleneck: at 20 Mbit/s, 20 ms; a router's buffer is larger (bufferbloat) or as large."""
MOST_BATCH_BYTES: Final = 32 << 10
"""An alarm waits for a batch at most: 13 ms at 20 Mbit/s."""
MEMORY_MS: Final = 30_000
"""For how long the shortest round trip is believed: then the way may have become a longer one."""


class Window:
    """Bytes on the way, and how many may be.

    Attributes:
        bytes_on_the_way: sent, and not answered.
        size: how many may be.
    """

    __slots__ = (
        "_changed_at", "_held_back", "_is_starting", "_on_the_way", "_shortest_at", "_shortest_ms", "bytes_on_the_way",
        "size",
    )  # fmt: skip

    def __init__(self) -> None:
        self._on_the_way: deque[tuple[int, int, int]] = deque()  # bytes of a batch, when it was sent, the load then
        self.restart()

    @property
    def room(self) -> int:
        """Bytes that may be sent now; with nothing on the way, whatever there is."""
        return self.size - self.bytes_on_the_way

    @property
    def batch_bytes(self) -> int:
        """The most that is to be sent at once: what is behind it should not wait for more than half a round trip."""
        if self._held_back is not None:  # a batch waits for itself, too, and that is no part of the way
            return LEAST_BYTES
        return min(MOST_BATCH_BYTES, max(LEAST_BYTES, self.size // 4))

    def restart(self) -> None:
        """A new connection, perhaps another way: nothing is on it, and TCP feels its way anew."""
        self._on_the_way.clear()
        self.bytes_on_the_way = 0
        self.size = FIRST_BYTES
        self._is_starting = True  # then it nearly doubles with each round trip
        self._shortest_ms = 0  # round trip; not known yet
        self._shortest_at = 0  # when there was one so short
        self._held_back: int | None = None  # bytes that it is smaller by while that is found out again
        self._changed_at = 0  # when it shrank or was held back: what was sent before knows nothing of it

    def sent(self, size: int, now: int) -> None:
        """A batch of `size` bytes has left."""
        self.bytes_on_the_way += size
        self._on_the_way.append((size, now, self.bytes_on_the_way))

    def answered(self, now: int) -> None:
        """The oldest batch on the way is answered."""
        if not self._on_the_way:
            return
        size, sent_at, load = self._on_the_way.popleft()
        self.bytes_on_the_way -= size
        took = max(1, now - sent_at)
        if self._held_back is not None:
            if sent_at <= self._changed_at:
                return
            self._set(self.size + self._held_back)
            self._held_back = None
            self._shortest_ms = took
        if took <= self._shortest_ms or not self._shortest_ms:
            self._shortest_ms, self._shortest_at = took, now
        waiting = load * (took - self._shortest_ms) // took
        queued = waiting - size  # the batch waits for itself, too
        if now - self._shortest_at > MEMORY_MS:
            self._hold_back(waiting + LEAST_BYTES, now)
        elif queued > MOST_QUEUED:
            self._is_starting = False
            if sent_at >= self._changed_at:  # once in a round trip
                self._changed_at = now
                self._set(self.size - min(queued - MOST_QUEUED // 2, self.size // 2))
        elif queued <= LEAST_QUEUED and 2 * load >= self.size:  # it is made use of
            self._set(self.size + (size if self._is_starting else size // 8))

    def _hold_back(self, size: int, now: int) -> None:
        """Let what waits drain for one round trip: only that shows how short it can be."""
        before = self.size
        self._set(before - size)
        self._held_back = before - self.size
        self._changed_at = now

    def _set(self, size: int) -> None:
        self.size = max(LEAST_BYTES, min(size, MOST_BYTES))
