"""The journal that commits at once and forgets at exit: it protects against nothing and costs nothing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from broker.core.records import Record


class MemoryJournal:
    """Batches in memory.

    Args:
        keep: remember the batches until they are trimmed, as a durable journal does. The broker does not ask for it:
            its own state is in the same memory, and a second copy would save nothing.
    """

    __slots__ = ("_batches", "_keep", "_state", "committed")

    def __init__(self, keep: bool = False) -> None:
        self._batches: dict[int, Sequence[Record]] = {}
        self._keep = keep
        self._state = b""
        self.committed = 0

    def append(self, batch: Sequence[Record]) -> int:
        """Take a batch; it is as safe as it will ever be."""
        self.committed += 1
        if self._keep:
            self._batches[self.committed] = batch
        return self.committed

    def replay(self, position: int) -> Iterator[tuple[int, Sequence[Record]]]:
        """The remembered batches after `position`."""
        for at, batch in self._batches.items():
            if at > position:
                yield at, batch

    def checkpoint(self, state: bytes) -> int:
        """Keep `state` as the sum of all batches so far."""
        self._state = state
        return self.committed

    def trim(self, position: int) -> None:
        """Forget the batches up to and including `position`."""
        for at in [at for at in self._batches if at <= position]:
            del self._batches[at]
