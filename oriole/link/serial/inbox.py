"""What one side has heard of the other's numbered frames: received in order, acknowledged when they are settled.

The two are apart on purpose. A gateway acknowledges a publish when its engine has kept the message, which may be later
than it was received; until then the device keeps it, and the window stays where it is.
"""

from __future__ import annotations

from enum import Enum


class Arrival(Enum):
    """What the number of an arriving frame says."""

    NEXT = "next"
    REPEAT = "repeat"
    GAP = "gap"  # something before it is missing, or it is beyond the credits


class Inbox:
    """The peer's numbers, as this side remembers them, and the credits it gives."""

    __slots__ = ("acknowledged", "epoch", "limit", "paused", "peer_boot_id", "received", "window")

    def __init__(self, window: int) -> None:
        self.window = window
        self.peer_boot_id = b""  # nothing heard yet
        self.epoch = 0  # what was received in an earlier one means nothing any more
        self.received = 0
        self.acknowledged = 0
        self.limit = 0  # frames up to here may come; it never goes back while the peer's numbers last
        self.paused = False  # no further credits, whatever is acknowledged

    @property
    def credits(self) -> int:
        """How many frames behind `acknowledged` may come."""
        return self.limit - self.acknowledged

    def greet(self, peer_boot_id: bytes, oldest: int) -> bool:
        """The peer names its numbers and the first one it will send; True when they go on where they stopped."""
        resumed = peer_boot_id == self.peer_boot_id
        if not resumed:
            self.peer_boot_id = peer_boot_id
            self.epoch += 1
            self.received = self.acknowledged = self.limit = oldest - 1
        self.acknowledged = max(self.acknowledged, oldest - 1)  # what the peer has forgotten will not come
        self.received = max(self.received, self.acknowledged)
        self.limit = max(self.limit, self.acknowledged)
        self._give()
        return resumed

    def remember(self, peer_boot_id: bytes, sequence: int) -> None:
        """In an earlier life of this side, the peer's frames up to `sequence` were received and settled."""
        self.peer_boot_id = peer_boot_id
        self.received = self.acknowledged = self.limit = sequence

    def forget(self) -> None:
        """The peer's numbers are no longer known: it will greet as a new one."""
        self.peer_boot_id = b""

    def arrive(self, sequence: int) -> Arrival:
        """Judges a frame by its number; NEXT counts as received from here on."""
        if sequence <= self.received:
            return Arrival.REPEAT
        if sequence > self.received + 1 or sequence > self.limit:
            return Arrival.GAP
        self.received = sequence
        return Arrival.NEXT

    def acknowledge(self, sequence: int) -> bool:
        """Everything up to `sequence` is settled; False when that was known. ValueError before it was received."""
        if sequence > self.received:
            raise ValueError(f"{sequence} is not received yet, only {self.received}")
        if sequence <= self.acknowledged:
            return False
        self.acknowledged = sequence
        self._give()
        return True

    def disown(self, sequence: int) -> None:
        """The frames from `sequence` on were received but not taken: they count as not received, and come again."""
        self.received = max(self.acknowledged, min(self.received, sequence - 1))

    def void(self) -> None:
        """Nothing that is not acknowledged was received, whoever has it in hand."""
        self.received = self.acknowledged
        self.epoch += 1

    def pause(self, paused: bool) -> bool:
        """Withholds credits, or gives them again; True when the peer has to hear of it."""
        self.paused = paused
        before = self.limit
        self._give()
        return self.limit > before

    def _give(self) -> None:
        if not self.paused:
            self.limit = max(self.limit, self.acknowledged + self.window)
