"""What one subscriber has received of each publisher: every message once and in order, or which rule was broken."""

from dataclasses import dataclass


@dataclass(slots=True)
class Tally:
    """Messages by what became of them; one for all subscribers of a run."""

    received: int = 0
    """Different messages, counted once per subscriber."""
    doubled: int = 0
    """Received again."""
    reordered: int = 0
    """Received after a later one of the same publisher."""
    altered: int = 0
    """Packets that are not what a publisher of their subscriber has sent, byte for byte."""


class Ledger:
    """Knows messages by identity. Its memory grows with the gaps that the broker left, not with the messages."""

    __slots__ = ("_missing", "_next", "_tally")

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._next: dict[int, int] = {}
        self._missing: set[tuple[int, int]] = set()

    def expect(self, publisher: int, sequence: int) -> None:
        """All messages of a publisher before `sequence` were entered elsewhere."""
        self._next[publisher] = sequence

    def receive(self, publisher: int, first: int, count: int) -> None:
        """Enter `count` messages of a publisher, from sequence `first` on."""
        if first == self._next.get(publisher, 0):
            self._next[publisher] = first + count
            self._tally.received += count
            return
        for sequence in range(first, first + count):
            self._receive_one(publisher, sequence)

    def _receive_one(self, publisher: int, sequence: int) -> None:
        due = self._next.get(publisher, 0)
        if sequence >= due:
            self._missing.update((publisher, skipped) for skipped in range(due, sequence))
            self._next[publisher] = sequence + 1
            self._tally.received += 1
        elif (publisher, sequence) in self._missing:
            self._missing.remove((publisher, sequence))
            self._tally.reordered += 1
            self._tally.received += 1
        else:
            self._tally.doubled += 1

    def alter(self) -> None:
        """Enter a packet that is no message of a publisher, as it was sent."""
        self._tally.altered += 1
