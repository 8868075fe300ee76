"""One batch in a file: a head of 32 bytes and the batch's own bytes, found again by mark, length and checksum.

Each file has a mark of its own, four bytes that follow from its name and begin each of its frames. So a file may be
written over one that is no longer needed: what is left of the old content, behind the last frame, is nobody's frame.
A frame knows where its commit began, so that a commit that a power cut tore, in whatever order the disk wrote it, can
be told from one that was whole and was damaged later. What a batch means is not known here.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO
from zlib import crc32

_FIELDS = struct.Struct("<IIQQ")
HEAD = struct.Struct("<4sI24s")
"""Mark, CRC-32 of all that follows it, and the fields: length of the batch, its number within its commit (from 0),
position, CLOCK_BOOTTIME in ms.
"""

_SEARCH_BYTES = 1 << 20


@dataclass(slots=True)
class Frame:
    """A batch as it was committed: its position, the first position of its commit, CLOCK_BOOTTIME then, its bytes."""

    position: int
    commit: int
    boottime_ms: int
    blob: bytes

    @property
    def size(self) -> int:
        """Bytes in the file."""
        return HEAD.size + len(self.blob)


def mark(kind: str, number: int) -> bytes:
    """What begins the frames of file `number` of a kind: files of one folder never share it."""
    return crc32(kind.encode() + number.to_bytes(8, "little")).to_bytes(4, "little")


def head(mark: bytes, position: int, commit: int, boottime_ms: int, blob: bytes) -> bytes:
    """What stands before `blob`."""
    fields = _FIELDS.pack(len(blob), position - commit, position, boottime_ms)
    return HEAD.pack(mark, crc32(blob, crc32(fields)), fields)


def scan(file: BinaryIO, mark: bytes, begin: int, size: int) -> Iterator[tuple[int, Frame]]:
    """Every intact frame of a file of `size` bytes from `begin` on, with its offset.

    A frame that does not begin where the one before ends follows damage.
    """
    offset = begin
    while offset >= 0:
        frame = _read(file, mark, offset, size)
        if frame is not None:
            yield offset, frame
            offset += frame.size
        else:
            offset = _find(file, mark, offset + 1)


def without_torn(frames: Iterator[tuple[int, Frame]], position: int) -> Iterator[tuple[int, Frame]]:
    """The frames that follow on `position`, without what is behind a hole in the last commit: that was never safe."""
    held: list[tuple[int, Frame]] = []
    for offset, frame in frames:
        if held and frame.commit > position + 1:  # a later commit: the one with the hole had been whole
            yield from held
            position = held[-1][1].position
            held.clear()
        if held or frame.commit <= position + 1 < frame.position:
            held.append((offset, frame))
        else:
            yield offset, frame
            position = frame.position


def _read(file: BinaryIO, mark: bytes, offset: int, size: int) -> Frame | None:
    file.seek(offset)
    raw = file.read(HEAD.size)
    if len(raw) < HEAD.size or not raw.startswith(mark):
        return None
    _, checksum, fields = HEAD.unpack(raw)
    length, place, position, boottime_ms = _FIELDS.unpack(fields)
    if length > size - offset - HEAD.size:
        return None
    blob = file.read(length)
    if crc32(blob, crc32(fields)) != checksum:
        return None
    return Frame(position, position - place, boottime_ms, blob)


def read_at(file: int, mark: bytes, offset: int) -> Frame | None:
    """The frame at `offset` of an open file; None where there is no intact one. Raises OSError."""
    raw = os.pread(file, HEAD.size, offset)
    if len(raw) < HEAD.size or not raw.startswith(mark):
        return None
    _, checksum, fields = HEAD.unpack(raw)
    length, place, position, boottime_ms = _FIELDS.unpack(fields)
    if length > os.fstat(file).st_size - offset - HEAD.size:
        return None
    blob = os.pread(file, length, offset + HEAD.size)
    if crc32(blob, crc32(fields)) != checksum:
        return None
    return Frame(position, position - place, boottime_ms, blob)


def _find(file: BinaryIO, mark: bytes, offset: int) -> int:
    """Where `mark` is next, from `offset` on; -1 for nowhere."""
    overlap = len(mark) - 1
    while True:
        file.seek(offset)
        piece = file.read(_SEARCH_BYTES)
        found = piece.find(mark)
        if found >= 0:
            return offset + found
        if len(piece) <= overlap:
            return -1
        offset += len(piece) - overlap
