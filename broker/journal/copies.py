"""A copy of a journal as of one moment, while it is being written.

Files are only appended to, or go: so links to those that are complete, and as many bytes of the last one as were
committed at that moment, are a journal of their own, whatever becomes of the original. A file that has a second name is
never written over (`files.drop_superseded`).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO, Final

from broker.journal.disk import Reach
from broker.journal.files import name, numbers

_PIECE_BYTES: Final = 1 << 20


def copy_into(target: Path, source: Path, reach: Reach) -> None:
    """Make `target`, an empty folder on the same disk, hold what `source` held when it went as far as `reach`.

    Nothing of `source` may be dropped meanwhile. Raises OSError.
    """
    base = max(numbers(source, "base"), default=0)
    complete = [name("segment", number) for number in numbers(source, "segment") if base < number < reach.segment]
    for each in [name("base", base), *complete] if base else complete:
        os.link(source / each, target / each)
    last = name("segment", reach.segment)
    with (source / last).open("rb") as file, (target / last).open("wb") as copy:
        copy_bytes(file, copy, reach.end)


def copy_bytes(source: BinaryIO, target: BinaryIO, count: int) -> None:
    """Copy so many bytes, or as many as there are. Raises OSError."""
    while count and (piece := source.read(min(count, _PIECE_BYTES))):
        target.write(piece)
        count -= len(piece)
