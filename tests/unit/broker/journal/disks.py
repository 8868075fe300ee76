"""What the tests of the journal on a disk share: a journal to wait for, and a disk that loses its power."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from broker.journal.disk import DiskJournal
from broker.journal.reading import Damage, Reading

WHO = {"node": b"n" * 16, "epoch": b"e" * 16}
PATIENCE_S = 20


class Tried:
    """A `DiskJournal` and what it reported."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.commits: list[int] = []
        self.failures: list[str] = []
        self.recoveries = 0
        self._changed = threading.Condition()
        self.journal = DiskJournal(folder, self._on_commit, self._on_failure, self._on_recovery, **{**WHO, **options})

    def _on_commit(self, position: int) -> None:
        with self._changed:
            self.commits.append(position)
            self._changed.notify_all()

    def _on_failure(self, reason: str) -> None:
        with self._changed:
            self.failures.append(reason)
            self._changed.notify_all()

    def _on_recovery(self) -> None:
        with self._changed:
            self.recoveries += 1
            self._changed.notify_all()

    def wait(self, condition: Callable[[], object]) -> None:
        """Until a report makes the condition true."""
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE_S)

    def write(self, *blobs: bytes) -> int:
        """Append, and wait until all of it is safe."""
        position = [self.journal.append(blob) for blob in blobs][-1]
        self.wait(lambda: self.commits and self.commits[-1] >= position)
        return position


@contextmanager
def tried(folder: Path, **options: Any) -> Iterator[Tried]:
    """A journal that is closed in the end."""
    made = Tried(folder, **options)
    try:
        yield made
    finally:
        made.journal.close()


def read(folder: Path, before: int | None = None) -> tuple[list[tuple[int, bytes]], list[Damage]]:
    """All positions and batches, and what is damaged."""
    reading = Reading(folder, before)
    return [(frame.position, frame.blob) for frame in reading], reading.damages


@dataclass
class File:
    """What the disk holds of a file, and what it was told since: contents at offsets, and where to cut it off."""

    safe: bytearray = field(default_factory=bytearray)
    told: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        for offset, content in self.told:
            _apply(self.safe, offset, content)
        self.told.clear()

    def after_cut(self, chance: random.Random) -> bytes:
        """What is found when the power is back: any sectors of what was not synced."""
        found = bytearray(self.safe)
        share = chance.choice((0, chance.random(), 1))
        for offset, content in self.told:
            sectors = range(0, len(content), 512) if content else (0,)
            for begin in sectors:
                if chance.random() < share:
                    _apply(found, offset + begin, content and content[begin : begin + 512])
        return bytes(found)


def _apply(target: bytearray, offset: int, content: bytes | None) -> None:
    if content is None:
        del target[offset:]
        return
    target.extend(bytes(max(0, offset + len(content) - len(target))))
    target[offset : offset + len(content)] = content


Names = dict[str, File]


class Power:
    """Watches what is written below a folder, and at step `cut_at` keeps what a power cut would have left of it.

    Contents are safe when they were synced. Names change in order, and any number of the last changes may be lost
    unless the folder was synced. `reported_at_cut` is the position that was reported to be safe by then.
    """

    def __init__(self, folder: Path, chance: random.Random, cut_at: int, is_honest: bool = True) -> None:
        self._folder = folder
        self._chance = chance
        self._cut_at = cut_at
        self._is_honest = is_honest
        self._lock = threading.RLock()
        self._now: Names = {path.name: File(bytearray(path.read_bytes())) for path in folder.iterdir()}
        self._safe = dict(self._now)
        self._changes: list[Callable[[Names], object]] = []
        self._open: dict[int, File | None] = {}
        self._steps = 0
        self._reported = 0
        self._left: dict[str, bytes] = {}
        self.reported_at_cut = -1

    def on_commit(self, position: int) -> None:
        with self._lock:
            self._reported = position

    def cut(self) -> None:
        """The power fails now, unless it did already."""
        with self._lock:
            if self.reported_at_cut >= 0:
                return
            names = dict(self._safe)
            for change in self._changes[: self._chance.randint(0, len(self._changes))]:
                change(names)
            self._left = {name: file.after_cut(self._chance) for name, file in names.items()}
            self.reported_at_cut = self._reported

    def write_left(self, folder: Path) -> None:
        """Make a folder of what is left."""
        folder.mkdir()
        for name, content in self._left.items():
            (folder / name).write_bytes(content)

    def watch(self, patch: pytest.MonkeyPatch) -> None:
        """From now on."""
        patch.setattr(os, "open", self._watched(os.open, self._opened))
        for function in "close pwrite fsync fdatasync posix_fallocate truncate rename unlink link".split():
            patch.setattr(os, function, self._watched(getattr(os, function), getattr(self, f"_{function}")))

    def _watched(self, real: Callable[..., Any], note: Callable[..., None]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            target = arguments[0]
            with self._lock:
                is_ours = target in self._open if isinstance(target, int) else self._folder in self._around(target)
                done = real(*arguments, **options)
                if is_ours:
                    note(done, *arguments)
                    self._steps += 1
                    if self._steps == self._cut_at:
                        self.cut()
                return done

        return call

    @staticmethod
    def _around(target: str | Path) -> tuple[Path, Path]:
        return Path(target), Path(target).parent

    def _change(self, change: Callable[[Names], object]) -> None:
        change(self._now)
        self._changes.append(change)

    def _file(self, target: int | str | Path) -> File:
        file = self._open[target] if isinstance(target, int) else self._now[Path(target).name]
        assert file is not None
        return file

    def _opened(self, number: int, target: str | Path, *_: object) -> None:
        name, is_folder = Path(target).name, Path(target) == self._folder
        if not is_folder and name not in self._now:
            made = File()
            self._change(lambda names: names.update({name: made}))
        self._open[number] = None if is_folder else self._now[name]

    def _close(self, _: object, number: int) -> None:
        del self._open[number]

    def _pwrite(self, written: int, number: int, content: bytes, offset: int) -> None:
        self._file(number).told.append((offset, bytes(content[:written])))

    def _fsync(self, _: object, number: int) -> None:
        if (file := self._open[number]) is not None:
            file.sync()
            return
        for change in self._changes:
            change(self._safe)
        self._changes.clear()

    def _fdatasync(self, _: object, number: int) -> None:
        if self._is_honest:
            self._file(number).sync()

    def _posix_fallocate(self, _: object, number: int, offset: int, length: int) -> None:
        self._file(number).told.append((offset + length, b""))

    def _truncate(self, _: object, target: int | str | Path, length: int) -> None:
        self._file(target).told.append((length, None))

    def _rename(self, _: object, source: str | Path, target: str | Path) -> None:
        self._change(lambda names: names.update({Path(target).name: names.pop(Path(source).name)}))

    def _unlink(self, _: object, target: str | Path) -> None:
        self._change(lambda names: names.pop(Path(target).name))

    def _link(self, _: object, source: str | Path, target: str | Path) -> None:
        self._change(lambda names: names.update({Path(target).name: names[Path(source).name]}))
