"""Acknowledgements wait for the journal.

What a turn of the loop recorded is committed together. A promise made in that turn (an acknowledgement to send, a QoS 2
message to route) is kept when the position of that commit is reached, in the order in which the promises were made, or
broken when the journal says it failed. The memory journal commits at once, and then nothing ever waits.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from broker.core.queue import Archive
from broker.core.records import Record


class JournalError(Exception):
    """The journal cannot take or commit a batch (full disk, failing disk). Nothing of the batch is promised."""


class Journal(Protocol):
    """Where records go. Positions are integers that grow by one per batch, beginning with 1."""

    keeps: bool
    """Whether what it is given can be read again. Where not, nobody need write anything down."""
    committed: int
    """The highest position known to be safe. Those who commit later call `Engine.committed` when it grows."""

    @property
    def archive(self) -> Archive | None:
        """Where messages that it was given can be read again; None where that is not so."""

    @property
    def is_behind(self) -> bool:
        """Whether it has so much still to commit that who asks for more should wait."""

    def append(self, batch: Sequence[Record]) -> int:
        """Take a batch and return its position; it is safe once `committed` has reached it. Raises JournalError."""


class Promise(Protocol):
    """Something owed to a peer once what it rests on is safe."""

    def kept(self, now: int) -> None:
        """The journal has it: acknowledge, route, answer. The peer may have left meanwhile."""

    def broken(self, now: int) -> None:
        """The journal has not: take back what was assumed, and let the peer know that nothing was promised."""


class Promises:
    """Records and promises of the current turn, and the promises of earlier turns that still wait."""

    __slots__ = ("_is_void", "_journal", "_position", "_waiting", "archive", "is_recording", "made", "records")

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.is_recording = journal.keeps
        """Whether records are wanted."""
        self.archive = journal.archive
        """Where messages that were recorded can be read again."""
        self._position = 0
        self._is_void = False  # the last batch is lost, and with it what a promise without a batch of its own rests on
        self._waiting: deque[tuple[int, list[Promise]]] = deque()
        self.records: list[Record] = []
        """This turn's records: append to it."""
        self.made: list[Promise] = []
        """This turn's promises: append to it."""

    @property
    def is_behind(self) -> bool:
        """Whether the journal has so much still to commit that who asks for more should wait."""
        return self._journal.is_behind

    @property
    def waiting(self) -> bool:
        """Whether any promise waits for a commit."""
        return bool(self._waiting)

    def settle(self, now: int) -> None:
        """End of a turn: commit what it recorded; keep what nothing stands in the way of."""
        while self.records or self.made:
            made, self.made = self.made, []
            if self.records:
                records, self.records = self.records, []
                try:
                    self._position = self._journal.append(records)
                    self._is_void = False
                except JournalError:
                    self._is_void = True
            if self._is_void:
                for promise in made:
                    promise.broken(now)
                continue
            if self._waiting or self._position > self._journal.committed:
                if made:
                    self._waiting.append((self._position, made))
                continue
            _keep(made, now)

    def committed(self, position: int, now: int) -> None:
        """The journal is safe up to `position`."""
        waiting = self._waiting
        while waiting and waiting[0][0] <= position:
            _keep(waiting.popleft()[1], now)

    def failed(self, now: int) -> None:
        """What was appended and is not committed never will be: a later batch rests on the one that was lost."""
        self._is_void = True
        self._position = self._journal.committed  # positions above will be given again
        waiting, self._waiting = self._waiting, deque()
        for _, promises in waiting:
            for promise in promises:
                promise.broken(now)

    def write_anew(self, snapshot: Sequence[Record]) -> int:
        """Record the whole node, and with it whatever this turn recorded so far; its position. Raises JournalError."""
        self.records.clear()
        self._position = self._journal.append(snapshot)
        self._is_void = False
        return self._position


def _keep(promises: Sequence[Promise], now: int) -> None:
    """Keep promises; one that fails, by a fault of ours, does not stand between the others and their peers."""
    faults = []
    for promise in promises:
        try:
            promise.kept(now)
        except Exception as error:
            faults.append(error)
    if faults:
        raise faults[0]
