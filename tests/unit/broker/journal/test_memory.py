"""The journal that tests read back: positions and batches."""

from __future__ import annotations

from broker.core.records import Ended
from broker.journal.memory import MemoryJournal


def test_positions_grow_by_one_and_batches_come_back() -> None:
    journal = MemoryJournal(keep=True)
    batches = [[Ended(number)] for number in range(5)]
    assert [journal.append(batch) for batch in batches] == [1, 2, 3, 4, 5]
    assert journal.committed == 5
    assert list(journal.replay(0)) == list(enumerate(batches, 1))
    assert list(journal.replay(3)) == [(4, batches[3]), (5, batches[4])]


def test_without_keep_nothing_is_kept() -> None:
    journal = MemoryJournal()
    journal.append([Ended(1)])
    assert (journal.committed, list(journal.replay(0))) == (1, [])
