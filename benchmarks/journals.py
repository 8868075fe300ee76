"""What does it cost to have messages on the disk: the journal's own files, or SQLite?

    python benchmarks/journals.py [FOLDER]

FOLDER is on the disk to measure and must be a real one, not tmpfs; nobody else may write to it meanwhile. `new` is our
journal in files that are used for the first time, `over` in files written over older ones, as in a node that has run
for a while; `sqlite` keeps one blob per commit (WAL, synchronous=FULL), from a thread of its own as ours does. Batches
are of records of 130 bytes, each of which stands for a message of 100 bytes.
docs/decisions/journal-file.md draws on it.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Condition, Thread
from typing import Final, Protocol

from broker.journal.bases import write_base
from broker.journal.disk import DiskJournal

RECORD_BYTES: Final = 130
PAYLOAD_BYTES: Final = 100
SEGMENT_BYTES: Final = 16 << 20
BUSY_S: Final = 2.0
STEADY_S: Final = 5.0
SINGLE_COMMITS: Final = 1000
MOST_AHEAD_BYTES: Final = 4 << 20


class Journal(Protocol):
    """What is compared."""

    waiting_bytes: int

    def append(self, blob: bytes) -> int:
        """As `DiskJournal.append`."""

    def close(self) -> None:
        """All is safe, and all that SQLite puts off is done."""


class Sqlite:
    """The same in a table: all that waits is one blob and one commit."""

    def __init__(self, folder: Path, on_commit: Callable[[int], None], min_interval_s: float) -> None:
        self._path = folder / "journal.db"
        self._on_commit = on_commit
        self._min_interval_s = min_interval_s
        self._ready = Condition()
        self._waiting: list[bytes] = []
        self._position = 0
        self._is_closing = False
        self.waiting_bytes = 0
        self._thread = Thread(target=self._run)
        self._thread.start()

    def append(self, blob: bytes) -> int:
        with self._ready:
            self._waiting.append(blob)
            self.waiting_bytes += len(blob)
            self._position += 1
            if len(self._waiting) == 1:
                self._ready.notify()
            return self._position

    def close(self) -> None:
        with self._ready:
            self._is_closing = True
            self._ready.notify()
        self._thread.join()

    def _run(self) -> None:
        database = sqlite3.connect(self._path, isolation_level=None)
        database.execute("PRAGMA journal_mode=WAL")
        database.execute("PRAGMA synchronous=FULL")
        database.execute("CREATE TABLE IF NOT EXISTS batches (position INTEGER PRIMARY KEY, blob BLOB)")
        at = 0.0
        while True:
            with self._ready:
                self._ready.wait_for(lambda: self._waiting or self._is_closing)
                if (pause_s := at - time.monotonic()) > 0:
                    self._ready.wait_for(lambda: self._is_closing, pause_s)
                batches, self._waiting = self._waiting, []
                position = self._position
            at = time.monotonic() + self._min_interval_s
            if not batches:
                break
            blob = b"".join(batches)
            database.execute("INSERT INTO batches VALUES (?, ?)", (position, blob))
            with self._ready:
                self.waiting_bytes -= len(blob)
            self._on_commit(position)
        database.close()


class Run:
    """One journal in a folder of its own, and the moments of its commits."""

    def __init__(self, kind: str, folder: Path, min_interval_s: float = 0) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.commits = 0
        self.committed = 0
        self.latencies_s: list[float] = []
        self.appended_at: dict[int, float] = {}
        self._changed = Condition()
        if kind == "sqlite":
            self.journal: Journal = Sqlite(folder, self._on_commit, min_interval_s)
            return
        who = {"node": bytes(16), "epoch": bytes(16)}
        if kind == "over":
            _leave_spare(folder, who)
        self.journal = DiskJournal(
            folder, self._on_commit, sys.exit, _nothing, **who,
            segment_bytes=SEGMENT_BYTES, min_interval_s=min_interval_s, max_waiting_bytes=1 << 30,
        )  # fmt: skip

    def _on_commit(self, position: int) -> None:
        now = time.perf_counter()
        self.commits += 1
        for at in range(self.committed + 1, position + 1):
            if (began := self.appended_at.pop(at, None)) is not None:
                self.latencies_s.append(now - began)
        self.committed = position
        with self._changed:
            self._changed.notify_all()

    def wait(self, position: int) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self.committed >= position)


def _nothing(*_: object) -> None: ...


def _leave_spare(folder: Path, who: dict[str, bytes]) -> None:
    """Fill a file that is no longer needed."""
    journal = DiskJournal(folder, _nothing, sys.exit, _nothing, **who, segment_bytes=SEGMENT_BYTES)
    piece = os.urandom(1 << 20)
    while not journal.closed_segments():
        if journal.waiting_bytes < MOST_AHEAD_BYTES:
            journal.append(piece)
    journal.close()
    write_base(folder, 1, journal.committed, [b"x"], **who)


def busy(kind: str, folder: Path, records: int) -> str:
    """A loop that does nothing but append."""
    run = Run(kind, folder)
    blob = os.urandom(RECORD_BYTES * records)
    appends, position, in_append_s = 0, 0, 0.0
    began, cpu = time.perf_counter(), time.process_time()
    while time.perf_counter() - began < BUSY_S:
        if run.journal.waiting_bytes > MOST_AHEAD_BYTES:
            time.sleep(0.0005)
            continue
        before = time.thread_time()
        for _ in range(100):
            position = run.journal.append(blob)
        in_append_s += time.thread_time() - before
        appends += 100
    run.wait(position)
    took_s, cpu_s = time.perf_counter() - began, time.process_time() - cpu
    run.journal.close()
    return (
        f"{appends / took_s:10,.0f} {appends * records / took_s:12,.0f} {run.commits / took_s:10,.0f} "
        f"{appends * len(blob) / took_s / 1e6:8.1f} {in_append_s / appends * 1e6:12.2f} "
        f"{cpu_s / appends * 1e6:12.2f} {cpu_s / run.commits * 1e6:12.0f}"
    )


def single(kind: str, folder: Path) -> str:
    """One batch of one record at a time."""
    run = Run(kind, folder)
    blob = os.urandom(RECORD_BYTES)
    cpu = time.process_time()
    for _ in range(SINGLE_COMMITS):
        run.appended_at[run.committed + 1] = time.perf_counter()
        run.wait(run.journal.append(blob))
    cpu_s = time.process_time() - cpu
    run.journal.close()
    return f"{_quantiles(run.latencies_s)} {cpu_s / SINGLE_COMMITS * 1e6:12.0f}"


def beside_work(kind: str, folder: Path, switch_interval_s: float) -> str:
    """A batch a millisecond, from a thread that computes in between and never waits."""
    run = Run(kind, folder)
    blob = os.urandom(RECORD_BYTES * 10)
    usual = sys.getswitchinterval()
    sys.setswitchinterval(switch_interval_s)
    position = 0
    began = next_at = time.perf_counter()
    while (now := time.perf_counter()) < began + BUSY_S:
        if now >= next_at:
            next_at += 0.001
            run.appended_at[position + 1] = now
            position = run.journal.append(blob)
    sys.setswitchinterval(usual)
    run.wait(position)
    run.journal.close()
    return _quantiles(run.latencies_s)


def steady(kind: str, folder: Path, rate: int, window_s: float, lasts_s: float = STEADY_S) -> str:
    """So many messages a second, each millisecond's together, as a node would take them."""
    run = Run(kind, folder, window_s)
    blob = os.urandom(RECORD_BYTES)
    os.sync()
    disk, process, cpu = _disk_bytes(folder), _process_bytes(), time.process_time()
    began = time.perf_counter()
    position = messages = 0
    while (passed_s := time.perf_counter() - began) < lasts_s:
        due = int(rate * passed_s) - messages
        if due > 0:
            messages += due
            position = run.journal.append(blob * due)
        time.sleep(0.001)
    run.wait(position)
    cpu_s = time.process_time() - cpu
    run.journal.close()
    os.sync()
    payload = messages * PAYLOAD_BYTES
    return (
        f"{run.commits / lasts_s:10,.0f} {(_disk_bytes(folder) - disk) / payload:10.2f} "
        f"{(_process_bytes() - process) / payload:10.2f} {cpu_s / lasts_s * 100:8.1f}"
    )


def _quantiles(seconds: list[float]) -> str:
    ordered = sorted(seconds)
    return " ".join(f"{ordered[int(len(ordered) * part)] * 1e6:10,.0f}" for part in (0.5, 0.99))


def _disk_bytes(folder: Path) -> int:
    """What the disk below `folder` was given, by anybody."""
    device = folder.stat().st_dev
    fields = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/stat").read_text().split()
    return int(fields[6]) * 512


def _process_bytes() -> int:
    """What the kernel says that this process will have written: whole pages, or larger pieces."""
    return int(Path("/proc/self/io").read_text().split("\nwrite_bytes: ")[1].split()[0])


def main() -> None:
    root = Path(sys.argv[1] if len(sys.argv) > 1 else ".") / "journals-benchmark"
    root.mkdir()
    kinds = ("new", "over", "sqlite")
    try:
        os.sync()
        before = _disk_bytes(root)
        time.sleep(STEADY_S)
        print(f"others write {(_disk_bytes(root) - before) / STEADY_S:,.0f} bytes/s meanwhile\n")
        print(
            "a busy loop, records a batch: batches/s, records/s, commits/s, MB/s; us of CPU: in append, all, a commit"
        )
        for records in (1, 16, 256):
            for kind in kinds:
                print(f"{records:6} {kind:8} {busy(kind, root / kind, records)}", flush=True)
        print("\none batch of one record after the other: p50, p99, CPU, all in us")
        for kind in kinds:
            print(f"{kind:15} {single(kind, root / kind)}", flush=True)
        print("\na batch a millisecond beside a thread that computes, by switch interval in us: p50, p99 in us")
        for interval_us in (5000, 500):
            for kind in kinds:
                print(f"{interval_us:6} {kind:8} {beside_work(kind, root / kind, interval_us / 1e6)}", flush=True)
        print("\nmessages/s, window in ms: commits/s, bytes on the disk and in /proc/self/io by payload byte, % CPU")
        for rate, window_ms in ((100, 0), (100, 10), (1000, 0), (1000, 10), (5000, 0), (5000, 10), (100, 1000)):
            for kind in kinds:
                lasts_s = STEADY_S * (2 if window_ms == 1000 else 1)
                row = steady(kind, root / kind, rate, window_ms / 1000, lasts_s)
                print(f"{rate:6} {window_ms:5} {kind:8} {row}", flush=True)
    finally:
        shutil.rmtree(root)


if __name__ == "__main__":
    main()
