"""A disk that can be full: a small file system in memory, seen by this process and its programs alone. Linux, and root.

The mounts live in a namespace of their own, so that nothing can be left behind, however the fleet ends.
"""

import ctypes
import errno
import os
from pathlib import Path

CLONE_NEWNS = 0x00020000  # <linux/sched.h>
MS_REC, MS_PRIVATE = 0x4000, 1 << 18  # <linux/mount.h>
SIZE = "96m"
BLOCK = b"\0" * 65536
FILLER = "filler"

_libc = ctypes.CDLL(None, use_errno=True)


class Disks:
    """Every disk of a world. The namespace is made with the first of them, for this thread and what it starts."""

    def __init__(self) -> None:
        self._has_namespace = False

    def make(self, folder: Path) -> None:
        """Have `folder` be a disk of its own. Raises OSError: most likely, it needs root."""
        if not self._has_namespace:
            _call(_libc.unshare(CLONE_NEWNS))
            _call(_libc.mount(b"none", b"/", None, MS_REC | MS_PRIVATE, None))
            self._has_namespace = True
        _call(_libc.mount(b"oriole", str(folder).encode(), b"tmpfs", 0, f"size={SIZE}".encode()))

    def fill(self, folder: Path) -> None:
        """Write until nothing more fits."""
        with (folder / FILLER).open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(BLOCK)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise

    def free(self, folder: Path) -> None:
        """Make room again."""
        (folder / FILLER).unlink(missing_ok=True)

    def remove(self, folder: Path) -> None:
        """Take the disk away; without effect on a folder that is none."""
        _libc.umount2(str(folder).encode(), 2)  # MNT_DETACH


def _call(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
