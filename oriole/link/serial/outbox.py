"""What one side has promised to say: its numbered frames, until the peer has settled them.

Numbers run from 1 for as long as the boot id lives; frames stand in line without a gap. The peer tells three things
about them: up to where it has them (not to be repeated), up to where they are settled (forgotten here), and up to where
it has room (not to be sent before).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import islice


class QueueFull(Exception):  # noqa: N818 - as asyncio and queue name it
    """The frame is refused: what waits for the peer has reached its limit in bytes."""


class Outbox:
    """Numbered frames, as bytes for the line, from the oldest unsettled one to the newest."""

    __slots__ = ("_cursor", "_frames", "boot_id", "bytes", "limit", "max_bytes", "oldest", "received")

    def __init__(self, boot_id: bytes, max_bytes: int) -> None:
        self.boot_id = boot_id
        self.max_bytes = max_bytes
        self.bytes = 0
        self.oldest = 1  # number of the first frame here, or of the next one when there is none
        self.received = 0  # the peer has everything up to here
        self.limit = 0  # the peer has room up to here
        self._cursor = 1  # number of the next frame to go on the line
        self._frames: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def next_sequence(self) -> int:
        """The number of the next frame that is put here."""
        return self.oldest + len(self._frames)

    def put(self, encoded: bytes) -> int:
        """Keeps the frame that was encoded with `next_sequence`; returns that number. Raises QueueFull."""
        if self.bytes + len(encoded) > self.max_bytes:
            raise QueueFull(f"{self.bytes} of {self.max_bytes} bytes wait to be acknowledged")
        self._frames.append(encoded)
        self.bytes += len(encoded)
        return self.next_sequence - 1

    def take(self) -> list[bytes]:
        """The frames to put on the line now; they count as sent from here on."""
        end = min(self.limit + 1, self.next_sequence)
        if end <= self._cursor:
            return []
        taken = list(islice(self._frames, self._cursor - self.oldest, end - self.oldest))
        self._cursor = end
        return taken

    def settle(self, received: int, acknowledged: int, credit: int) -> int:
        """Takes the peer's word; returns how many frames it settled. ValueError when it has what was never here."""
        if received >= self.next_sequence:
            raise ValueError(f"the peer has received {received}, but {self.next_sequence} is still to come")
        self.received = max(self.received, received)
        self._cursor = max(self._cursor, self.received + 1)
        self.limit = max(self.limit, acknowledged + credit)
        return self._forget(acknowledged)

    def resume(self, acknowledged: int, credit: int) -> int:
        """The peer is back and remembers these numbers: everything behind `acknowledged` (< next) is sent again."""
        settled = self._forget(acknowledged)
        self.received = self.oldest - 1
        self._cursor = self.oldest
        self.limit = max(self.limit, acknowledged + credit)
        return settled

    def restart(self, credit: int) -> None:
        """The peer remembers nothing: everything unsettled is sent again, from `oldest`."""
        self.received = self.oldest - 1
        self._cursor = self.oldest
        self.limit = self.received + credit

    def rewind(self) -> bool:
        """Sends again what the peer has not received; False when nothing sent is missing."""
        missing = self._cursor > self.received + 1
        self._cursor = self.received + 1
        return missing

    def replace_longer(self, max_frame_bytes: int, filler: Callable[[int], bytes]) -> list[int]:
        """The peer takes no frames longer than that: puts fillers in their numbers; returns these."""
        replaced: list[int] = []
        for index, frame in enumerate(self._frames):
            if len(frame) > max_frame_bytes + 1:  # the delimiter does not count
                self._frames[index] = filler(self.oldest + index)
                self.bytes += len(self._frames[index]) - len(frame)
                replaced.append(self.oldest + index)
        return replaced

    def _forget(self, acknowledged: int) -> int:
        settled = 0
        while self.oldest <= acknowledged:
            self.bytes -= len(self._frames.popleft())
            self.oldest += 1
            settled += 1
        return settled
