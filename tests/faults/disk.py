"""The disk of a node, which may be a small one that gets full: then it is a file system of its own, in memory."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

SMALL = "24m"


class Disk:
    """Holds `data` in the folder of a node.

    Attributes:
        is_full: whether all its room is taken on purpose.
    """

    def __init__(self, folder: Path) -> None:
        self.data = folder / "data"
        self.is_full = False
        self._ballast = self.data / "ballast"

    @contextmanager
    def small(self) -> Iterator[None]:
        """Be a small one; what it holds is copied in the end, for who looks into it."""
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "none", self.data], check=True)
        try:
            yield
            shutil.copytree(self.data, self.data.with_name("copy"))
        finally:
            subprocess.run(["umount", "--lazy", self.data], check=True)

    def fill(self) -> None:
        """Leave no room."""
        self.is_full = True
        with self._ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        """Make room again."""
        self.is_full = False
        self._ballast.unlink()

    def put_back(self, left: Path) -> None:
        """Have the journal be what is `left` of it, which goes."""
        was_full = self.is_full
        if was_full:  # it may have names and room of files that were to go
            self.free()
        journal = self.data / "journal"
        shutil.rmtree(journal)
        shutil.copytree(left, journal)
        shutil.rmtree(left)
        if was_full:
            self.fill()
