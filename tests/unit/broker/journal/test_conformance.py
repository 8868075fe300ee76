"""What every journal promises, whatever it is made of: one suite, and all of them pass it."""

from __future__ import annotations

import errno
import os
import queue
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from unit.broker.journal.disks import PATIENCE_S, WHO

from broker.core.promises import Journal, JournalError, Promises
from broker.core.records import Ended, Placed, Record
from broker.journal.codec import outline, split
from broker.journal.durable import DurableJournal
from broker.journal.memory import MemoryJournal
from broker.journal.reading import Reading

Batches = list[tuple[int, list[Record]]]


class Kept:
    """A journal in use: what it reported, and what can be read of it again."""

    journal: Journal

    def __init__(self) -> None:
        self.commits: list[int] = []
        self.troubles: list[str] = []

    def pass_time(self) -> None:
        """Let the loop do what was left for it."""

    def wait(self, condition: Callable[[], object]) -> None:
        """Until a report makes it true."""
        until = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < until
            self.pass_time()

    def read(self) -> Batches:
        """What it was given, after its end."""
        raise NotImplementedError

    def close(self) -> None:
        """The end."""


class InMemory(Kept):
    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.journal: MemoryJournal = MemoryJournal(keep=True)

    def read(self) -> Batches:
        return [(position, [*batch]) for position, batch in self.journal.replay(0)]


class OnDisk(Kept):
    """With a loop of its own: a queue."""

    def __init__(self, folder: Path, durability: Any = "strict") -> None:
        super().__init__()
        self.folder = folder
        self.calls: queue.SimpleQueue[Callable[[], object]] = queue.SimpleQueue()
        self.journal: DurableJournal = DurableJournal(folder, **WHO, durability=durability, call=self.calls.put)
        self.journal.attach(self.report, self.troubles.append, self.write_anew, lambda damage: None, int)

    def report(self, position: int) -> None:
        assert position <= self.journal.committed
        self.commits.append(position)

    def pass_time(self) -> None:
        try:
            self.calls.get(timeout=0.01)()
        except queue.Empty:
            return

    def write_anew(self) -> int:
        return self.journal.append([Placed(0)])

    def close(self) -> None:
        self.journal.close()

    def read(self) -> Batches:
        self.close()
        shift_ms = self.journal._shift_ms
        return [
            (frame.position, [*outline(split(frame.blob)[0], frame.position, shift_ms)])
            for frame in Reading(self.folder)
        ]


class Relaxed(OnDisk):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder, "relaxed")


KINDS: list[type[InMemory | OnDisk]] = [InMemory, OnDisk, Relaxed]


@pytest.fixture(params=KINDS)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    with closing(request.param(tmp_path / "journal")) as kept:
        yield kept


def test_positions_begin_with_one_and_grow_by_one(kept: Kept) -> None:
    assert kept.journal.committed == 0
    assert [kept.journal.append([Ended(number)]) for number in range(1, 50)] == [*range(1, 50)]


def test_every_batch_is_committed_in_the_end_and_none_before_it_was_given(kept: Kept) -> None:
    journal = kept.journal
    for number in range(1, 200):
        assert journal.append([Ended(number)]) == number
        assert journal.committed <= number
    kept.wait(lambda: journal.committed == 199)


def test_commits_are_reported_in_order_where_they_come_later(kept: Kept) -> None:
    journal = kept.journal
    known = 0
    for number in range(1, 200):
        journal.append([Ended(number)])
        if number % 20 == 0:
            kept.pass_time()
            assert journal.committed >= known
            known = journal.committed
    kept.wait(lambda: journal.committed == 199)
    kept.wait(lambda: not kept.commits or kept.commits[-1] == 199)  # what commits at once need not report
    assert kept.commits == sorted(kept.commits)
    assert kept.troubles == []


def test_a_journal_that_keeps_says_so(kept: Kept) -> None:
    assert kept.journal.keeps
    assert not kept.journal.is_behind


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 5), max_size=20))
@pytest.mark.parametrize("kind", KINDS)
def test_what_it_was_given_is_read_again(
    kind: type[InMemory | OnDisk], tmp_path_factory: pytest.TempPathFactory, sizes: list[int]
) -> None:
    with closing(kind(tmp_path_factory.mktemp("journal"))) as kept:
        given = [[Ended(number) for number in range(1, size + 1)] for size in sizes]
        for batch in given:
            kept.journal.append(batch)
        assert kept.read() == [*enumerate(given, 1)]


class Promise:
    """Notes what became of it, and how much was safe by then."""

    def __init__(self, name: str, heard: list[str], journal: Journal, rests_on: int = 0) -> None:
        self.name = name
        self.heard = heard
        self.journal = journal
        self.rests_on = rests_on

    def kept(self, now: int) -> None:
        is_early = self.journal.committed < self.rests_on
        self.heard.append(f"{self.name} {'early' if is_early else 'kept'}")

    def broken(self, now: int) -> None:
        self.heard.append(f"{self.name} broken")


def test_promises_are_kept_in_order_and_not_before_what_they_rest_on_is_safe(kept: Kept) -> None:
    promises = Promises(kept.journal)
    heard: list[str] = []
    position = 0
    for number in range(30):
        if number % 3:  # the others rest on what was before
            promises.records.append(Ended(number))
            position += 1
        promises.made.append(Promise(f"{number}", heard, kept.journal, position))
        promises.settle(0)
        if number % 10 == 9:
            kept.pass_time()
            promises.committed(kept.journal.committed, 0)
    kept.wait(lambda: kept.journal.committed == position)
    promises.committed(position, 0)
    assert heard == [f"{number} kept" for number in range(30)]
    assert not promises.waiting


@pytest.mark.parametrize("kind", [OnDisk, Relaxed])
def test_a_failure_is_told_once_nothing_is_taken_then_and_positions_are_given_again(
    kind: type[OnDisk], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of journals that can fail."""
    with closing(kind(tmp_path / "journal")) as kept:
        journal = kept.journal
        promises, heard = Promises(journal), list[str]()
        journal.append([Ended(1)])
        kept.wait(lambda: journal.reach.position == 1)
        real, is_broken = os.fdatasync, True

        def fdatasync(number: int) -> None:
            if is_broken:
                raise OSError(errno.EIO, "Input/output error")
            real(number)

        monkeypatch.setattr(os, "fdatasync", fdatasync)
        promises.records.append(Ended(2))
        promises.made.append(Promise("it", heard, journal))
        promises.settle(0)
        kept.wait(lambda: kept.troubles)
        promises.failed(0)
        assert kept.troubles == [f"{tmp_path / 'journal'}: Input/output error"]
        assert heard == (["it kept"] if kind is Relaxed else ["it broken"])
        assert journal.committed == 1
        with pytest.raises(JournalError):
            journal.append([Ended(3)])
        promises.records.append(Ended(3))
        promises.made.append(Promise("later", heard, journal))
        promises.settle(0)
        assert heard[1:] == ["later broken"]
        is_broken = False
        kept.wait(lambda: kept.troubles[-1] == "")
        assert journal.append([Ended(4)]) == 3, "the one after what was written anew"
        batches = kept.read()
        assert batches[0] == (1, [Ended(1)])
        assert batches[-2:] == [(2, [Placed(0)]), (3, [Ended(4)])]


def test_after_its_end_it_takes_nothing(tmp_path: Path) -> None:
    with closing(OnDisk(tmp_path / "journal")) as kept:
        kept.close()
        with pytest.raises(JournalError, match="the journal is closed"):
            kept.journal.append([Ended(1)])
