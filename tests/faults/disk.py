"""The disk of a node, which may be a small one that gets full: then it is a file system of its own, in memory."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SMALL = "24m"
UNSAFE_S = 1.0
"""What a node does is on its disk so much later at the latest, on a busy machine."""
RECOVERY_S = 3.0
"""So long after there is room again all that the node did meanwhile is."""


class Disk:
    """Holds `data` in the folder of a node.

    Attributes:
        is_full: whether all its room is taken on purpose.
    """

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.is_full = False
        self._ballast = self.data / "ballast"
        self._filled_s = self._freed_s = 0.0

    @contextmanager
    def small(self) -> Iterator[None]:
        """Be a small one; what it holds is copied in the end, for who looks into it."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "none", self.data], check=True)
        try:
            yield
            shutil.copytree(self.data, self.data.with_name("copy"), ignore=shutil.ignore_patterns("control"))
        finally:
            subprocess.run(["umount", "--lazy", self.data], check=True)

    def fill(self) -> None:
        """Leave no room."""
        self.is_full = True
        self._filled_s = time.monotonic()
        self._take_all()

    def _take_all(self) -> None:
        with self._ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        """Make room again."""
        self.is_full = False
        self._freed_s = time.monotonic()
        self._ballast.unlink()

    def unsafe_since(self, at_s: float) -> float:
        """Since when a node that ended at this moment may not have got written down what it did."""
        if self.is_full or at_s - self._freed_s < RECOVERY_S:
            return min(self._filled_s, at_s - UNSAFE_S)
        return at_s - UNSAFE_S

    def put_back(self, left: Path) -> None:
        """Have the journal be what is `left` of it, which goes."""
        if self.is_full:  # it may have names and room of files that were to go
            self._ballast.unlink()
        journal = self.data / "journal"
        shutil.rmtree(journal)
        shutil.copytree(left, journal)
        shutil.rmtree(left)
        if self.is_full:
            self._take_all()
