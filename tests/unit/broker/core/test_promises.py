"""Promises in order, whatever the journal does: the model is a list of positions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.broker.mqtt.harness import FailingJournal, LateJournal

from broker.core.promises import Promises
from broker.core.records import Ended
from broker.journal.memory import MemoryJournal


class Note:
    """A promise that writes down how it ended."""

    def __init__(self, number: int, ended: list[tuple[int, bool]]) -> None:
        self.number = number
        self.ended = ended

    def kept(self, now: int) -> None:
        self.ended.append((self.number, True))

    def broken(self, now: int) -> None:
        self.ended.append((self.number, False))


@given(st.lists(st.sampled_from(["record", "promise", "turn", "turn", "commit", "fail"]), max_size=60))
def test_each_ends_once_and_in_order(steps: list[str]) -> None:
    journal = LateJournal()
    promises = Promises(journal)
    ended: list[tuple[int, bool]] = []
    made = 0
    is_void = False
    for step in [*steps, "turn", "commit"]:
        before = len(ended)
        if step == "record":
            promises.records.append(Ended(1))
        elif step == "promise":
            promises.made.append(Note(made, ended))
            made += 1
        elif step == "turn":
            is_void = is_void and not promises.records  # a batch that is taken is a new beginning
            promises.settle(0)
        elif step == "commit":
            journal.committed = journal.appended
            promises.committed(journal.committed, 0)
        else:
            promises.failed(0)
            journal.committed = journal.appended
            is_void = True
        is_lost = step == "fail" or (step == "turn" and is_void)
        assert all(kept != is_lost for _, kept in ended[before:])
    assert [number for number, _ in ended] == list(range(made))
    assert not promises.waiting


def test_a_batch_that_cannot_be_taken_breaks_its_own_promises_only() -> None:
    journal = FailingJournal()
    promises = Promises(journal)
    ended: list[tuple[int, bool]] = []
    for number, full in enumerate((False, True, False)):
        journal.full = full
        promises.records.append(Ended(1))
        promises.made.append(Note(number, ended))
        promises.settle(0)
    assert ended == [(0, True), (1, False), (2, True)]
    assert [position for position, _ in journal.replay(0)] == [1, 2]


def test_a_promise_that_fails_stands_in_nobody_s_way() -> None:
    kept: list[int] = []

    class Kept:
        def __init__(self, number: int) -> None:
            self.number = number

        def kept(self, now: int) -> None:
            if self.number == 1:
                raise MemoryError
            kept.append(self.number)

        def broken(self, now: int) -> None: ...

    promises = Promises(MemoryJournal())
    promises.made += [Kept(number) for number in range(3)]
    with pytest.raises(MemoryError):
        promises.settle(0)
    assert kept == [0, 2]
