"""The power of a node's disk. It is watched from the first write on; at SIGUSR2 it fails, a few writes later.

What such a disk then holds is left in `left`, beside the data folder, and the process is gone at once.
"""

from __future__ import annotations

import os
import random
import signal
from pathlib import Path

import pytest
from unit.broker.journal.disks import Power

LOST_POWER = 86
"""Exit status."""


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


def watch(folder: Path, chance: random.Random, is_honest: bool) -> None:
    """From now on, in this process, what is below the folder of a node."""
    journal = folder / "data" / "journal"
    journal.mkdir(mode=0o700, parents=True, exist_ok=True)
    supply = Supply(journal, folder / "left", chance, is_honest)
    supply.watch(pytest.MonkeyPatch())
    signal.signal(signal.SIGUSR2, supply.fail)
