"""The seam that every journal fits: append, replay, checkpoint, trim. Add a durable one to `JOURNALS`."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from broker.core.promises import Journal
from broker.core.records import SessionEnded
from broker.journal.memory import MemoryJournal

JOURNALS: dict[str, Callable[[], Journal]] = {"memory": lambda: MemoryJournal(keep=True)}


@pytest.fixture(params=JOURNALS.values(), ids=list(JOURNALS))
def journal(request: pytest.FixtureRequest) -> Journal:
    made: Journal = request.param()
    return made


def test_positions_grow_by_one_and_batches_come_back(journal: Journal) -> None:
    batches = [[SessionEnded(str(number))] for number in range(5)]
    assert [journal.append(batch) for batch in batches] == [1, 2, 3, 4, 5]
    assert journal.committed == 5
    assert list(journal.replay(0)) == list(enumerate(batches, 1))
    assert list(journal.replay(3)) == [(4, batches[3]), (5, batches[4])]


def test_a_trimmed_journal_keeps_its_positions(journal: Journal) -> None:
    for number in range(3):
        journal.append([SessionEnded(str(number))])
    assert journal.checkpoint(b"state") == 3
    journal.trim(2)
    assert [position for position, _ in journal.replay(0)] == [3]
    assert journal.append([SessionEnded("next")]) == 4


def test_without_keep_nothing_is_kept() -> None:
    journal = MemoryJournal()
    journal.append([SessionEnded("a")])
    assert (journal.committed, list(journal.replay(0))) == (1, [])
