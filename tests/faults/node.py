"""`python -m faults.node FOLDER OPTIONS`: a broker or edge as it is, on the disk of a schedule; or one of the mutants.

Where its disk may lose its power, that is in `supply`. The time of day is off by what stands in the file `clock`. What
not every node needs is imported where it is needed: most of what a run costs is to start nodes.
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

from broker import app as broker_app
from broker import cleaning
from broker.core import queue
from broker.journal import durable
from faults.mutants import MUTANTS

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


def main(folder: Path, options: Options) -> int:
    """Run it; the exit status. Whoever started it takes it along when it ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    chance = random.Random(options.seed)
    durable.SEGMENT_BYTES = options.segment_bytes  # type: ignore[misc]
    cleaning.LOOK_S = 0.2  # type: ignore[misc]
    cleaning.LEAST_BYTES = 4 * options.segment_bytes  # type: ignore[misc]
    queue.HEAD_BYTES = 300  # type: ignore[misc]
    queue.PORTION_BYTES = 1200  # type: ignore[misc]
    queue.KEEP_BYTES = (0, 600, 1 << 20)[options.seed % 3]  # type: ignore[misc]
    if options.mutant:
        MUTANTS[options.mutant]()
    _put_off(folder / "clock")
    if options.loses_power:
        from faults.supply import watch

        watch(folder, chance, is_honest=options.mutant != "nosync")
    if options.commit_ms:
        _slow_down(chance, options.commit_ms)
    kind, *arguments = options.arguments
    arguments += ["--data", str(folder / "data"), "--log-level", "debug"]
    if kind == "edge":
        from edge_node import app as edge_app

        return edge_app.main(arguments)
    return broker_app.main(arguments)


def _slow_down(chance: random.Random, commit_ms: float) -> None:
    """Each sync takes its time before it begins: whatever strikes then finds a commit that is not complete."""
    fdatasync = os.fdatasync

    def synced(fd: Any) -> None:
        time.sleep(chance.uniform(0, commit_ms) / 1000)
        fdatasync(fd)

    os.fdatasync = synced


def _put_off(clock: Path) -> None:
    """Have the time of day be another one, as the file says."""
    time_ns = time.time_ns
    with clock.open("rb") as file:
        offset = mmap.mmap(file.fileno(), OFFSET.size, access=mmap.ACCESS_READ)
    time.time_ns = lambda: time_ns() + OFFSET.unpack(offset[:])[0]
    time.time = lambda: time.time_ns() / 1e9


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), msgspec.json.decode(sys.argv[2], type=Options)))
