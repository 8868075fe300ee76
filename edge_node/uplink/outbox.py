"""Messages that wait for the uplink, in order, bounded in bytes."""

from __future__ import annotations

from collections import deque

from broker.core.message import Message


class Outbox:
    """What was accepted here and is not with the centre yet.

    Args:
        max_bytes: bytes of `Message.size` that may wait or be on the way; above it publishers are refused or slowed.
    """

    __slots__ = ("_refused", "_waiting", "bytes", "max_bytes", "sent")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self._waiting: deque[Message] = deque()
        self._refused: list[Message] = []
        self.sent: dict[int, Message] = {}
        """Packet identifier to message: on the way, not acknowledged."""

    def __len__(self) -> int:
        return len(self._waiting) + len(self._refused) + len(self.sent)

    @property
    def unsent(self) -> list[Message]:
        """Messages that are not on the way, in the order in which they will be."""
        return [*self._refused, *self._waiting]

    @property
    def full(self) -> bool:
        """No more is to be accepted."""
        return self.bytes >= self.max_bytes

    @property
    def overflowing(self) -> bool:
        """Not even what was acknowledged already finds room."""
        return self.bytes >= 2 * self.max_bytes

    def add(self, message: Message) -> None:
        """Let `message` wait behind the others."""
        self._waiting.append(message)
        self.bytes += message.size

    @property
    def held_up(self) -> bool:
        """Messages were put back: what waits behind them must not overtake them."""
        return bool(self._refused)

    def next(self) -> Message | None:
        """The message to send next, taken out of the queue; it still counts until `settle`."""
        return self._waiting.popleft() if self._waiting else None

    def put_back(self, message: Message) -> None:
        """There is no room for `message` now: it goes again, before the others, after `retry`."""
        self._refused.append(message)

    def retry(self) -> None:
        """What was put back waits again, in its old order, before the others."""
        self._waiting.extendleft(reversed(self._refused))
        self._refused.clear()

    def settle(self, message: Message) -> None:
        """`message` has ended, one way or another."""
        self.bytes -= message.size
