"""`python -m faults.node FOLDER OPTIONS`: a broker or edge as it is, on the disk of a schedule; or one of the mutants.

A disk that may lose its power is watched from the first write on. At SIGUSR2 the power fails, a few writes later: what
such a disk then holds is left in `left`, beside the data folder, and the process is gone at once. The time of day is
off by what stands in the file `clock`.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import random
import signal
import struct
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from unit.broker.journal.disks import Power

from broker import app as broker_app
from broker import cleaning
from broker.journal import durable
from edge_node import app as edge_app
from faults.mutants import MUTANTS

LOST_POWER = 86
"""Exit status."""
PR_SET_PDEATHSIG = 1
"""See prctl(2)."""
OFFSET = struct.Struct("=q")
"""Nanoseconds, in the file `clock`."""


class Options(msgspec.Struct, forbid_unknown_fields=True):
    """How a node is to live this time."""

    arguments: list[str]
    seed: int
    segment_bytes: int
    commit_ms: float
    loses_power: bool = False
    mutant: str = ""


class Supply(Power):
    """The power of this process."""

    def __init__(self, folder: Path, left: Path, chance: random.Random, is_honest: bool) -> None:
        super().__init__(folder, chance, cut_at=0, is_honest=is_honest)
        self._into = left
        self._writes_left = chance.choice((0, 1, 1, 2, 3, 8))

    def fail(self, *_: object) -> None:
        """Cut, a few writes from now."""
        if self._writes_left == 0:
            self.cut()
        self._cut_at = self._steps + self._writes_left

    def cut(self) -> None:
        """Leave what is left, and end."""
        with self._lock:
            super().cut()
            unfinished = self._into.with_suffix(".new")
            self.write_left(unfinished)
            unfinished.rename(self._into)
            os._exit(LOST_POWER)


def main(folder: Path, options: Options) -> int:
    """Run it; the exit status. Whoever started it takes it along when it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    chance = random.Random(options.seed)
    durable.SEGMENT_BYTES = options.segment_bytes  # type: ignore[misc]
    cleaning.LOOK_S = 0.2  # type: ignore[misc]
    cleaning.LEAST_BYTES = 4 * options.segment_bytes  # type: ignore[misc]
    if options.mutant:
        MUTANTS[options.mutant]()
    with pytest.MonkeyPatch.context() as patch:
        _put_off(folder / "clock", patch)
        if options.loses_power:
            _watch(folder, chance, options.mutant != "nosync", patch)
        if options.commit_ms:
            _slow_down(chance, options.commit_ms, patch)
        kind, *arguments = options.arguments
        arguments += ["--data", str(folder / "data"), "--log-level", "debug"]
        return edge_app.main(arguments) if kind == "edge" else broker_app.main(arguments)


def _watch(folder: Path, chance: random.Random, is_honest: bool, patch: pytest.MonkeyPatch) -> None:
    journal = folder / "data" / "journal"
    journal.mkdir(mode=0o700, parents=True, exist_ok=True)
    supply = Supply(journal, folder / "left", chance, is_honest)
    supply.watch(patch)
    signal.signal(signal.SIGUSR2, supply.fail)


def _slow_down(chance: random.Random, commit_ms: float, patch: pytest.MonkeyPatch) -> None:
    """Each sync takes its time before it begins: whatever strikes then finds a commit that is not complete."""
    fdatasync = os.fdatasync

    def synced(*arguments: Any) -> None:
        time.sleep(chance.uniform(0, commit_ms) / 1000)
        fdatasync(*arguments)

    patch.setattr(os, "fdatasync", synced)


def _put_off(clock: Path, patch: pytest.MonkeyPatch) -> None:
    """Have the time of day be another one, as the file says."""
    time_ns = time.time_ns
    with clock.open("rb") as file:
        offset = mmap.mmap(file.fileno(), OFFSET.size, access=mmap.ACCESS_READ)
    patch.setattr(time, "time_ns", lambda: time_ns() + OFFSET.unpack(offset[:])[0])
    patch.setattr(time, "time", lambda: time.time_ns() / 1e9)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Options)))
