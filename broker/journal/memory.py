"""The journal that commits at once and forgets at exit: it protects against nothing and costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from broker.core.queue import Archive
from broker.core.records import Record


class MemoryJournal:
    """Batches in memory.

    Args:
        keep: remember the batches, as a durable journal does. The broker does not ask for it:
            its own state is in the same memory, and a second copy would save nothing.
    """

    __slots__ = ("_batches", "archive", "committed", "is_behind", "keeps")

    def __init__(self, keep: bool = False) -> None:
        self.is_behind = False
        self.archive: Archive | None = None
        self._batches: dict[int, Sequence[Record]] = {}
        self.keeps = keep
        self.committed = 0

    def append(self, batch: Sequence[Record]) -> int:
        """Take a batch; it is as safe as it will ever be."""
        self.committed += 1
        if self.keeps:
            self._batches[self.committed] = batch
        return self.committed

    def replay(self, position: int) -> Iterator[tuple[int, Sequence[Record]]]:
        """The remembered batches after `position`."""
        for at, batch in self._batches.items():
            if at > position:
                yield at, batch
