"""The journal on a disk that works, that is full, and that fails."""

from __future__ import annotations

import errno
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import pytest
from unit.broker.journal.disks import WHO, Tried, read, tried

from broker.core.promises import JournalError
from broker.journal import disk
from broker.journal.bases import write_base


class Gate:
    """Stands in for a function of `os`: holds it back while closed, and lets it fail as often as asked."""

    def __init__(self, patch: pytest.MonkeyPatch, function: str) -> None:
        self._real: Callable[..., Any] = getattr(os, function)
        self.open = threading.Event()
        self.open.set()
        self.entered = threading.Event()
        self.calls = 0
        self.failures = 0
        self.error = errno.EIO
        patch.setattr(os, function, self)

    def __call__(self, *arguments: Any) -> Any:
        self.calls += 1
        self.entered.set()
        assert self.open.wait(20)
        if self.failures:
            self.failures -= 1
            raise OSError(self.error, os.strerror(self.error))
        return self._real(*arguments)


@pytest.fixture
def sync(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch, "fdatasync")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "PROBE_S", 0.01)


def test_positions_grow_by_one_and_are_read_again(tmp_path: Path) -> None:
    with tried(tmp_path) as life:
        assert [life.journal.append(blob) for blob in (b"a", b"", b"c" * 70_000)] == [1, 2, 3]
        life.wait(lambda: life.commits and life.commits[-1] == 3)
        assert life.journal.committed == 3
        assert life.journal.waiting_bytes == 0
    assert read(tmp_path) == ([(1, b"a"), (2, b""), (3, b"c" * 70_000)], [])


def test_the_next_life_goes_on_behind_the_last(tmp_path: Path) -> None:
    with tried(tmp_path) as life:
        life.write(b"a", b"b")
    with tried(tmp_path) as life:
        assert (life.journal.committed, life.journal.first_segment, life.journal.ended_torn) == (2, 2, False)
        assert life.write(b"c") == 3
        assert read(tmp_path, life.journal.first_segment) == ([(1, b"a"), (2, b"b")], [])
    with tried(tmp_path) as life:
        assert life.journal.committed == 3
    with tried(tmp_path) as life:
        assert life.journal.committed == 3, "also behind a life without a batch"
    assert read(tmp_path) == ([(1, b"a"), (2, b"b"), (3, b"c")], [])


def test_what_a_file_does_not_need_is_given_back(tmp_path: Path) -> None:
    life = Tried(tmp_path, segment_bytes=100_000)
    life.write(b"a")
    path = tmp_path / "00000001.segment"
    assert path.stat().st_size == 100_000
    assert path.stat().st_blocks * 512 >= 100_000, "room is taken in advance"
    life.journal.close()
    assert path.stat().st_size < 200


def test_what_a_killed_life_did_not_need_is_given_back(tmp_path: Path) -> None:
    killed, folder = tmp_path / "killed", tmp_path / "left"
    killed.mkdir()
    with tried(killed, segment_bytes=100_000) as life:
        life.write(b"a")
        shutil.copytree(killed, folder)
    with tried(folder) as life:
        assert (life.journal.committed, life.journal.ended_torn) == (1, False)
        ((number, size),) = life.journal.closed_segments()
        assert (number, size < 200) == (1, True)


def test_what_comes_during_a_commit_is_the_next_one(tmp_path: Path, sync: Gate) -> None:
    with tried(tmp_path) as life:
        sync.open.clear()
        life.journal.append(b"1")
        assert sync.entered.wait(20)
        for blob in (b"2", b"3", b"4"):
            life.journal.append(blob)
        assert life.journal.committed == 0
        assert life.journal.waiting_bytes == 4
        sync.open.set()
        life.wait(lambda: len(life.commits) == 2)
    assert life.commits == [1, 4]
    assert sync.calls == 2


def test_commits_keep_their_distance(tmp_path: Path) -> None:
    with tried(tmp_path, min_interval_s=0.1) as life:
        began = monotonic()
        for blob in (b"1", b"2", b"3"):
            life.write(blob)
        assert monotonic() - began >= 0.2
    assert life.commits == [1, 2, 3]


def test_the_first_the_last_and_many_bytes_do_not_wait_for_the_distance(tmp_path: Path) -> None:
    began = monotonic()
    with tried(tmp_path, min_interval_s=1000, hurry_bytes=50) as life:
        life.write(b"1")
        life.journal.append(b"2" * 49)
        while not life.journal._ready._waiters:  # until the thread waits, too
            pass
        assert life.journal.committed == 1
        life.write(b"3")
        assert life.journal.append(b"4") == 4
    assert monotonic() - began < 20
    assert life.commits[-1] == 4
    assert [position for position, _ in read(tmp_path)[0]] == [1, 2, 3, 4]


def test_so_much_waits_for_the_disk_and_no_more(tmp_path: Path, sync: Gate) -> None:
    with tried(tmp_path, max_waiting_bytes=100) as life:
        sync.open.clear()
        life.journal.append(b"x" * 60)
        assert life.journal.append(b"x" * 1000) == 2, "whatever its size, if there is any room"
        with pytest.raises(JournalError, match="the disk is 1060 bytes behind"):
            life.journal.append(b"x")
        sync.open.set()
        life.wait(lambda: life.commits and life.commits[-1] == 2)
        assert life.write(b"y") == 3


def test_a_full_segment_is_followed_by_the_next(tmp_path: Path) -> None:
    blobs = [bytes([n]) * 500 for n in range(20)]
    with tried(tmp_path, segment_bytes=2000) as life:
        life.write(*blobs)
        closed = life.journal.closed_segments()
        assert closed == [(number, 2000) for number in range(1, len(closed) + 1)]
        assert len(closed) >= 6
        life.write(b"z" * 5000)
        assert life.journal.closed_segments()[-1][0] == len(closed) + 1
    assert read(tmp_path) == ([*enumerate(blobs, 1), (21, b"z" * 5000)], [])


def test_a_segment_that_is_no_longer_needed_is_written_over(tmp_path: Path) -> None:
    with tried(tmp_path, segment_bytes=2000) as life:
        life.write(*[b"o" * 500] * 9)
        write_base(tmp_path, life.journal.closed_segments()[-1][0], life.journal.committed, [b"sum"], **WHO)
        spares = [path.stat().st_ino for path in sorted(tmp_path.glob("*.spare"))]
        life.write(*[b"n" * 600] * 3)
        assert (tmp_path / "00000004.segment").stat().st_ino == spares[0]
        assert not (tmp_path / "00000001.spare").exists()
    assert read(tmp_path) == ([(9, b"sum"), (10, b"n" * 600), (11, b"n" * 600), (12, b"n" * 600)], [])
    with tried(tmp_path) as life:
        assert life.journal.committed == 12


def test_a_closed_journal_takes_nothing(tmp_path: Path) -> None:
    with tried(tmp_path) as life:
        life.journal.append(b"a")
    assert life.commits == [1], "the end waits for what waits"
    with pytest.raises(JournalError, match="the journal is closed"):
        life.journal.append(b"b")


def test_the_end_does_not_wait_for_a_disk_that_hangs(tmp_path: Path, sync: Gate) -> None:
    life = Tried(tmp_path)
    sync.open.clear()
    life.journal.append(b"a")
    assert sync.entered.wait(20)
    life.journal.close(timeout_s=0.01)
    assert life.commits == []
    sync.open.set()
    life.journal.close()
    assert life.commits == [1]


def test_a_life_that_ended_in_a_commit_is_said(tmp_path: Path) -> None:
    with tried(tmp_path) as life:
        life.write(b"a", b"b")
    path = tmp_path / "00000001.segment"
    path.write_bytes(path.read_bytes()[:-1])
    with tried(tmp_path) as life:
        assert (life.journal.committed, life.journal.ended_torn) == (1, True)
        life.write(b"c")
    assert read(tmp_path) == ([(1, b"a"), (2, b"c")], [])


def test_a_folder_that_cannot_be_used_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Tried(tmp_path / "missing")


# ---- Disks that fail


@pytest.mark.parametrize("function", ["fdatasync", "pwrite"])
def test_a_failed_commit_is_void_and_its_positions_are_given_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: str
) -> None:
    with tried(tmp_path) as life:
        life.write(b"safe")
        gate = Gate(monkeypatch, function)
        gate.failures = 1
        assert life.journal.append(b"void") == 2
        life.wait(lambda: life.failures)
        assert life.failures == [f"{tmp_path}: Input/output error"] == [life.journal.failure]
        assert (life.commits, life.journal.committed, life.journal.waiting_bytes) == ([1], 1, 0)
        with pytest.raises(JournalError, match="Input/output error"):
            life.journal.append(b"refused")
        assert life.recoveries == 0, "nobody said that nobody counts on it any more"
        life.journal.resume()
        life.wait(lambda: life.recoveries)
        assert life.journal.failure == ""
        assert life.write(b"next") == 2
    assert read(tmp_path) == ([(1, b"safe"), (2, b"next")], [])
    assert life.commits == [1, 2]


def test_a_failed_commit_is_void_also_where_it_cannot_be_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: Gate
) -> None:
    with tried(tmp_path) as life:
        life.write(b"safe")
        sync.failures = 1
        cut_off = Gate(monkeypatch, "truncate")
        cut_off.failures = 1
        life.journal.append(b"void")
        life.wait(lambda: life.failures)
        life.journal.resume()
        life.wait(lambda: life.recoveries)
        life.write(b"next")
    assert b"void" in (tmp_path / "00000001.segment").read_bytes()
    assert read(tmp_path) == ([(1, b"safe"), (2, b"next")], [])


def test_what_was_reported_before_a_failure_stays(tmp_path: Path, sync: Gate) -> None:
    """A commit over two files whose second half fails."""
    with tried(tmp_path, segment_bytes=1000) as life:
        sync.open.clear()
        life.journal.append(b"1")
        assert sync.entered.wait(20)
        for _ in range(4):
            life.journal.append(b"x" * 300)
        real = sync._real

        def third_fails(number: int) -> None:
            if sync.calls == 3:
                raise OSError(errno.EIO, "broken")
            real(number)

        sync._real = third_fails
        sync.open.set()
        life.wait(lambda: life.failures)
        assert life.commits == [1, 3]
        life.journal.resume()
        life.wait(lambda: life.recoveries)
        assert life.write(b"y") == 4
    assert read(tmp_path) == ([(1, b"1"), (2, b"x" * 300), (3, b"x" * 300), (4, b"y")], [])


def test_no_room_for_the_next_file_is_tried_again_until_there_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tried(tmp_path, segment_bytes=1000) as life:
        life.write(b"x" * 800)
        room = Gate(monkeypatch, "posix_fallocate")
        room.failures, room.error = 5, errno.ENOSPC
        assert life.journal.append(b"x" * 800) == 2
        life.wait(lambda: life.failures)
        life.journal.resume()
        life.wait(lambda: life.recoveries)
        assert room.calls == 6
        assert life.failures == [f"{tmp_path}: No space left on device"], "said once"
        assert life.write(b"y" * 800) == 2
    assert read(tmp_path) == ([(1, b"x" * 800), (2, b"y" * 800)], [])


@pytest.mark.parametrize("is_resumed", [False, True])
def test_a_journal_that_has_failed_can_be_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sync: Gate, is_resumed: bool
) -> None:
    life = Tried(tmp_path)
    sync.failures = 1
    Gate(monkeypatch, "posix_fallocate").failures = 1_000_000
    life.journal.append(b"void")
    life.wait(lambda: life.failures)
    if is_resumed:
        life.journal.resume()
    began = monotonic()
    life.journal.close()
    assert monotonic() - began < 5
    assert life.recoveries == 0
    assert read(tmp_path) == ([], [])


def test_a_flow_fills_pages_while_it_is_fast_enough() -> None:
    flow = disk.Flow()
    for number in range(100):  # 1,000 a second, of 130 bytes
        flow.add(1, 130, 100 + number / 1000)
        assert not flow.fills_pages
    for number in range(100):  # five times as much
        flow.add(5, 650, 100.1 + number / 1000)
    assert flow.fills_pages
    assert flow.pause_s == pytest.approx(disk.GAPS / 5000, rel=0.1)
    flow.add(1, 130, 101)
    assert not flow.fills_pages
    assert flow.pause_s == disk.WINDOW_S / 10


def test_a_batch_alone_is_committed_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "WINDOW_S", 60.0)
    with tried(tmp_path) as life:
        life.write(b"a")
        life.write(b"b")
        assert life.commits == [1, 2]


def test_what_comes_in_a_stream_is_committed_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "WINDOW_S", 5.0)
    with tried(tmp_path) as life:
        life.write(bytes(disk.PAGE_BYTES))
        life.journal.append(b"a")
        sleep(0.03)  # a commit takes less
        assert life.journal.committed == 1
        life.write(b"b")
        assert life.commits == [1, 3]


def test_a_stream_that_ends_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "WINDOW_S", 60.0)
    with tried(tmp_path) as life:
        for _ in range(1000):
            life.journal.append(bytes(100))
        life.wait(lambda: life.commits and life.commits[-1] == 1000)
        life.write(b"a")
