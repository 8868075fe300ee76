"""Where each batch is: file and offset by position, eight bytes for each.

The thread that writes adds to it, others look things up: a new list of files takes the place of the old one.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from broker.journal.files import Header


@dataclass(slots=True)
class Contents:
    """The batches of a segment: the offset of each from position `header.position` on; 0: it is not there."""

    header: Header
    offsets: Sequence[int]


class Places:
    """The segments of a journal, oldest first."""

    __slots__ = ("_files", "_offsets")

    def __init__(self) -> None:
        self._files: list[Contents] = []
        self._offsets = array("Q")

    def put(self, header: Header, offsets: Sequence[int]) -> None:
        """A segment that was read."""
        self._files = sorted([*self._files, Contents(header, offsets)], key=_number)

    def begin(self, header: Header) -> None:
        """A new segment is being written."""
        self._offsets = array("Q")
        self.put(header, self._offsets)

    def add(self, offset: int) -> None:
        """The next batch of the new segment is at `offset`."""
        self._offsets.append(offset)

    def find(self, position: int) -> tuple[Header, int] | None:
        """Where a batch is: the segment's header, and the offset; None where it is not known."""
        files = self._files
        at = bisect_right(files, position, key=_first) - 1  # where a commit failed, a later file has the position again
        if at < 0:
            return None
        index = position - files[at].header.position
        offset = files[at].offsets[index] if index < len(files[at].offsets) else 0
        return (files[at].header, offset) if offset else None

    def forget(self, upto: int) -> None:
        """Segments up to this number are gone."""
        self._files = [contents for contents in self._files if contents.header.number > upto]


def _number(contents: Contents) -> int:
    return contents.header.number


def _first(contents: Contents) -> int:
    return contents.header.position
