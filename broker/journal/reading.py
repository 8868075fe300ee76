"""Reading a journal: every batch that is still whole, in order, and an account of what is not.

Positions say what is missing: each batch has the number after the one before it. What stands behind the last batch of a
file (room not yet used, the rest of an older file, a batch that a power cut tore) is no damage as long as the next
file goes on where this one ends. Bytes that are no batch and are followed by one are damage, and so is a number that
never comes; reading goes on behind it. A damaged file is set aside under another name, never deleted, and its whole
batches stay under the old name.
"""

from __future__ import annotations

import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from broker.journal.files import (
    HEADER_BYTES,
    Header,
    Kind,
    create,
    name,
    numbers,
    publish,
    read_header,
    sync_folder,
    write,
)
from broker.journal.frames import Frame, mark, scan, without_torn
from broker.journal.places import Places

_UNKNOWN: Final = Header(0, 0, bytes(16), bytes(16))


@dataclass(slots=True, frozen=True)
class Damage:
    """Something that was written is no longer there: which file, from which offset on, how many bytes, and why.

    `bytes` is 0 where the file ends too early or is missing.
    """

    file: str
    offset: int
    bytes: int
    reason: str


class Reading:
    """The batches of a folder, once: iterate over it.

    Args:
        folder: the journal's.
        before: read segments with lower numbers only; the others are being written. None: all.
        set_aside: rename damaged files and rewrite what is whole in them.
        places: told where each batch of a segment is, once that segment was read.

    Attributes:
        damages: what was found damaged so far.
        position: the last position read or stood for.
        header: the header of the file that the last batch came from; with an all-zero boot id where it was damaged and
            there was none before.
    """

    __slots__ = ("_before", "_folder", "_places", "_set_aside", "damages", "header", "position")

    def __init__(
        self, folder: Path, before: int | None = None, set_aside: bool = True, places: Places | None = None
    ) -> None:
        self._folder = folder
        self._places = places or Places()
        self._before = before
        self._set_aside = set_aside
        self.damages: list[Damage] = []
        self.position = 0
        self.header = _UNKNOWN

    def __iter__(self) -> Iterator[Frame]:
        """Each batch once. Raises OtherFormatError."""
        folder = self._folder
        base = max(numbers(folder, "base"), default=0)
        if base:
            yield from self._base(base)
        found = [number for number in numbers(folder, "segment") if number > base]
        if self._before is not None:
            found = [number for number in found if number < self._before]
        expected = base + 1
        for number, following in zip(found, [*found[1:], self._before], strict=False):
            for missing in range(expected, number):
                self.damages.append(Damage(name("segment", missing), 0, 0, "the file is missing"))
            expected = number + 1
            yield from self._segment(number, following)

    def _base(self, number: int) -> Iterator[Frame]:
        is_whole = False
        for frame in self._file("base", number):
            is_whole = not frame.blob
            self.position = frame.position
            if frame.blob:
                yield frame
        if not is_whole:
            self.damages.append(Damage(name("base", number), 0, 0, "the file ends too early"))

    def _segment(self, number: int, following: int | None) -> Iterator[Frame]:
        after = None if following is None else _header(self._folder, "segment", following)
        limit = None if after is None else after.position
        for frame in self._file("segment", number, limit, following == number + 1):
            if frame.position > self.position:  # else the base stands for it
                self.position = frame.position
                yield frame
        if limit is not None:
            self.position = max(self.position, limit - 1)

    def _file(self, kind: Kind, number: int, limit: int | None = None, reaches_limit: bool = False) -> Iterator[Frame]:
        """The whole batches of a file before position `limit`; `reaches_limit`: it once held all of them."""
        path = self._folder / name(kind, number)
        holes: list[Damage] = []
        offsets = array("Q")
        whole: list[tuple[int, int]] = []  # what can be used: from where to where
        first, last, begin, end, size = 0, self.position, HEADER_BYTES, HEADER_BYTES, 0
        header = None
        try:
            with path.open("rb", buffering=1 << 20) as file:
                size = os.fstat(file.fileno()).st_size
                header = read_header(file)
                if header is None:
                    holes.append(Damage(path.name, 0, min(size, HEADER_BYTES), "the header is garbled"))
                else:
                    self.header, last = header, header.position - 1
                frames = scan(file, mark(kind, number), end, size)
                if kind == "segment" and limit is None:
                    frames = without_torn(frames, last)
                for offset, frame in frames:
                    if limit is not None and frame.position >= limit:
                        break  # its commit failed, and the next file begins with another batch at this position
                    if offset > end or frame.position > last + 1:
                        holes.append(Damage(path.name, end, offset - end, _missing(frame.position - last - 1)))
                        whole.append((begin, end))
                        begin = offset
                    first = first or (frame.position if header is None else header.position)
                    if kind == "segment":
                        offsets.extend([0] * (frame.position - first - len(offsets)))
                        offsets.append(offset)
                    last, end = frame.position, offset + frame.size
                    yield frame
        except OSError as error:
            holes.append(Damage(path.name, end, max(0, size - end), f"cannot be read: {error.strerror}"))
        if limit is not None and reaches_limit and limit > last + 1:
            holes.append(Damage(path.name, end, max(0, size - end), _missing(limit - last - 1)))
        self.damages += holes
        if not first:
            return
        whole.append((begin, end))
        header = header or replace(self.header, number=number, position=first)
        if self._set_aside and any(hole.bytes for hole in holes):
            with suppress(OSError):  # no room, or no links: it stays as it is, and is reported again
                self._put_aside(kind, path, header, whole)
                offsets = _moved(offsets, whole)
        if kind == "segment":
            self._places.put(header, offsets)

    def _put_aside(self, kind: Kind, path: Path, header: Header, whole: list[tuple[int, int]]) -> None:
        """Link the file to a name that nobody reads, and put its whole batches in its place."""
        new = create(self._folder, kind, header)
        try:
            with path.open("rb") as file:
                offset = HEADER_BYTES
                for begin, end in whole:
                    file.seek(begin)
                    write(new, file.read(end - begin), offset)
                    offset += end - begin
            os.link(path, _free_name(path))
            sync_folder(self._folder)
            publish(self._folder, kind, header, new)
        finally:
            os.close(new)


def _moved(offsets: Iterable[int], whole: Sequence[tuple[int, int]]) -> array[int]:
    """Where `offsets` are when `whole` is all that there is."""
    moved = array("Q")
    to = HEADER_BYTES
    at = 0
    for offset in offsets:
        while offset >= whole[at][1]:
            to += whole[at][1] - whole[at][0]
            at += 1
        moved.append(to + offset - whole[at][0] if offset else 0)
    return moved


def _missing(count: int) -> str:
    return f"{count} batches are missing" if count > 0 else "garbled"


def last_batch(folder: Path, kind: Kind, number: int) -> tuple[int, int, bool]:
    """Of a file: its last position, where that batch ends, and whether a torn one follows it.

    The position is the one before its first where the file holds no batch, and 0 where nothing can be read.
    """
    begins = mark(kind, number)
    with (folder / name(kind, number)).open("rb", buffering=1 << 20) as file:
        header = read_header(file)
        position, end = 0 if header is None else header.position - (kind == "segment"), HEADER_BYTES
        frames = scan(file, begins, end, os.fstat(file.fileno()).st_size)
        for offset, frame in without_torn(frames, position):
            position, end = frame.position, offset + frame.size
        file.seek(end)
        return position, end, file.read(len(begins)) == begins


def _header(folder: Path, kind: Kind, number: int) -> Header | None:
    try:
        with (folder / name(kind, number)).open("rb") as file:
            return read_header(file)
    except OSError:
        return None


def _free_name(path: Path) -> Path:
    """`00000003.segment.damaged`, or with a number where that is taken."""
    free, count = path.with_name(f"{path.name}.damaged"), 1
    while free.exists():
        count += 1
        free = path.with_name(f"{path.name}.{count}.damaged")
    return free
