"""A copy of a journal that is being written has all up to one position, and nothing that comes later reaches it."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest
from unit.broker.journal.disks import WHO, read, tried

from broker.journal.bases import write_base
from broker.journal.copies import copy_into
from broker.journal.files import numbers


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "journal").mkdir()
    return tmp_path / "journal"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    (tmp_path / "copy").mkdir()
    return tmp_path / "copy"


def test_a_copy_goes_as_far_as_the_journal_did(source: Path, target: Path) -> None:
    with tried(source, segment_bytes=1000) as written:
        written.write(*(b"%d" % number * 100 for number in range(20)))
        reach = written.journal.reach()
        written.write(*(b"later" * 40 for _ in range(20)))
        copy_into(target, source, reach)
        assert reach.position == 20
        assert read(target) == ([(number + 1, b"%d" % number * 100) for number in range(20)], [])
        assert len(numbers(target, "segment")) > 2


def test_a_copy_of_a_new_journal_is_empty_and_whole(source: Path, target: Path) -> None:
    with tried(source) as written:
        copy_into(target, source, written.journal.reach())
    assert read(target) == ([], [])


def test_what_the_base_stands_for_is_left_out_and_what_is_dropped_later_stays(source: Path, target: Path) -> None:
    with tried(source, segment_bytes=600) as written:
        written.write(*(bytes([number]) * 200 for number in range(12)))
        upto = numbers(source, "segment")[2]
        write_base(source, upto, 2 * upto, [b"sum"], **WHO)
        reach = written.journal.reach()
        copy_into(target, source, reach)
        expected = read(source)
        assert expected[0][0] == (2 * upto, b"sum")
        last = numbers(source, "segment")[-2]
        write_base(source, last, 2 * last, [b"other"], **WHO)
        written.write(*(b"over" * 50 for _ in range(12)))  # into what has been dropped
        assert read(target) == expected


def test_copies_are_whole_whenever_they_are_made(source: Path, target: Path) -> None:
    """While a thread commits as fast as it can."""
    with tried(source, segment_bytes=4000) as written:
        done = threading.Event()

        def write() -> None:
            while not done.is_set():
                written.write(*(os.urandom(50) for _ in range(7)))

        writer = threading.Thread(target=write)
        writer.start()
        try:
            for number in range(30):
                copy = target / str(number)
                copy.mkdir()
                reach = written.journal.reach()
                copy_into(copy, source, reach)
                frames, damages = read(copy)
                assert damages == []
                assert [position for position, _ in frames] == [*range(1, reach.position + 1)]
        finally:
            done.set()
            writer.join()


def test_a_new_segment_begins_where_it_is_asked_for(source: Path) -> None:
    with tried(source) as written:
        written.write(b"a", b"b")
        upto = written.journal.end_segment()
        assert numbers(source, "segment") == [upto]
        written.write(b"c", b"d")
        assert numbers(source, "segment") == [upto, upto + 1]
        written.write(b"e")
        assert numbers(source, "segment") == [upto, upto + 1]
    assert read(source) == ([(number, b"%c" % (96 + number)) for number in range(1, 6)], [])
    write_base(source, upto, 2, [b"ab"], **WHO)
    assert read(source) == ([(2, b"ab"), (3, b"c"), (4, b"d"), (5, b"e")], [])
