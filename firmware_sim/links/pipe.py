"""One direction of a link: a bottleneck with a bounded buffer, then a wire with a delay.

It owns when a piece of data comes out at the other end, and nothing else: no sockets, no clock. Time is an argument in
nanoseconds that never goes back. What is carried is opaque; only its size counts.

    push -> [ buffer, drained at `rate` ] -> [ wire, `delay` long ] -> pop
"""

from collections import deque
from dataclasses import dataclass
from typing import Generic, TypeVar

Carried = TypeVar("Carried")

SECOND_NS = 1_000_000_000


@dataclass(slots=True, frozen=True)
class PipeModel:
    """What a direction of a link is like. Rate 0 is no bottleneck: then nothing waits in the buffer."""

    delay_ns: int = 0
    rate_bytes_per_s: int = 0
    buffer_bytes: int = 64 * 1024


class Pipe(Generic[Carried]):
    """First in, first out: everything that goes through shares the rate, as on the real thing."""

    __slots__ = ("_busy_until_ns", "_model", "_under_way", "carried_bytes", "is_cut", "lost_bytes")

    def __init__(self, model: PipeModel) -> None:
        self._model = model
        self._under_way: deque[tuple[int, int, Carried]] = deque()  # arrival in ns, size in bytes, what
        self._busy_until_ns = 0
        self.is_cut = False
        self.carried_bytes = 0
        self.lost_bytes = 0

    def push(self, carried: Carried, size: int, now_ns: int, must: bool = False) -> bool:
        """Put `size` bytes in. False, and counted as lost: the wire is cut, or the buffer is full and it is no `must`.

        An idle bottleneck takes any size, or a datagram larger than the buffer could never pass.
        """
        waiting = self._waiting_bytes(now_ns)
        if self.is_cut or (waiting and waiting + size > self._model.buffer_bytes and not must):
            self.lost_bytes += size
            return False
        rate = self._model.rate_bytes_per_s
        leaves_ns = max(now_ns, self._busy_until_ns) + (size * SECOND_NS // rate if rate else 0)
        self._busy_until_ns = leaves_ns
        self._under_way.append((leaves_ns + self._model.delay_ns, size, carried))
        return True

    def pop(self, now_ns: int) -> list[tuple[int, Carried]]:
        """What has arrived, each with the time (ns) at which it should have: what is later is the caller's own lag."""
        arrived: list[tuple[int, Carried]] = []
        while self._under_way and self._under_way[0][0] <= now_ns:
            arrives_ns, size, carried = self._under_way.popleft()
            self.carried_bytes += size
            arrived.append((arrives_ns, carried))
        return arrived

    def deadline(self) -> int | None:
        """When `pop` has something next, in ns."""
        return self._under_way[0][0] if self._under_way else None

    def room(self, now_ns: int) -> int:
        """Bytes that the buffer still takes: the owner of a stream reads no more than this."""
        return max(0, self._model.buffer_bytes - self._waiting_bytes(now_ns))

    def cut(self) -> list[tuple[int, Carried]]:
        """Silence from now on. Returns what was under way with its size: a datagram is lost, a stream sends again."""
        self.is_cut = True
        under_way = [(size, carried) for _, size, carried in self._under_way]
        self._under_way.clear()
        self._busy_until_ns = 0
        return under_way

    def heal(self) -> None:
        """The wire carries again, empty."""
        self.is_cut = False

    def _waiting_bytes(self, now_ns: int) -> int:
        return max(0, self._busy_until_ns - now_ns) * self._model.rate_bytes_per_s // SECOND_NS
