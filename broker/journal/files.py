"""The files of a journal: their names, their headers, and how one comes and goes.

`00000007.segment` holds frames as they were committed; `00000006.base` stands for all segments up to number 6;
`00000005.spare` was a segment and will be written over; `.new` is a file that was not finished; `.damaged` one that was
set aside. A name appears only when what it names is whole and safe.
"""

from __future__ import annotations

import os
import re
import struct
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal
from zlib import crc32

Kind = Literal["segment", "base", "spare"]

FORMAT: Final = 1
_MAGIC: Final = b"oriole\r\n"
_HEADER = struct.Struct("<8sII16s16s16sQQQ")
_CHECKSUM = struct.Struct("<I")
HEADER_BYTES: Final = _HEADER.size + _CHECKSUM.size
_NAME = re.compile(r"([0-9]{8})\.(segment|base|spare)")

MOST_SPARES: Final = 4
"""As many segments as are usually dropped together."""


class OtherFormatError(Exception):
    """A file is whole and of a format that this version does not know."""


@dataclass(slots=True, frozen=True)
class Header:
    """What a file says of itself.

    Attributes:
        number: the file's.
        position: of a segment, the first it can hold; of a base, the last it stands for.
        node, epoch: who writes, 16 bytes each.
        boot: the kernel's boot id; `boottime_ms` of two files can be compared where it is the same.
        boottime_ms, wall_ms: CLOCK_BOOTTIME and CLOCK_REALTIME when the file was made.
    """

    number: int
    position: int
    node: bytes
    epoch: bytes
    boot: bytes = bytes(16)
    boottime_ms: int = 0
    wall_ms: int = 0

    def encode(self) -> bytes:
        """The first `HEADER_BYTES` of the file."""
        fields = (self.number, self.node, self.epoch, self.boot, self.boottime_ms, self.wall_ms, self.position)
        raw = _HEADER.pack(_MAGIC, FORMAT, *fields)
        return raw + _CHECKSUM.pack(crc32(raw))


def new_header(number: int, position: int, node: bytes, epoch: bytes) -> Header:
    """The header of a file that is made now."""
    boot = bytes.fromhex(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").replace("-", ""))
    return Header(number, position, node, epoch, boot, boottime_ms(), time.time_ns() // 1_000_000)


def boottime_ms() -> int:
    """Milliseconds since the machine was switched on, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


def read_header(file: BinaryIO) -> Header | None:
    """What a file says of itself at its beginning; None when that is damaged. Raises OtherFormatError."""
    file.seek(0)
    raw = file.read(HEADER_BYTES)
    if len(raw) < HEADER_BYTES or not raw.startswith(_MAGIC):
        return None
    if _CHECKSUM.unpack_from(raw, _HEADER.size)[0] != crc32(raw[: _HEADER.size]):
        return None
    _, version, number, node, epoch, boot, boottime, wall, position = _HEADER.unpack_from(raw)
    if version != FORMAT:
        raise OtherFormatError(f"{file.name}: format {version}, and this version knows format {FORMAT}")
    return Header(number, position, node, epoch, boot, boottime, wall)


def name(kind: Kind, number: int) -> str:
    """The name of a file."""
    return f"{number:08}.{kind}"


def numbers(folder: Path, kind: Kind) -> list[int]:
    """The numbers of the files of a kind, in order."""
    matches = [_NAME.fullmatch(path.name) for path in folder.iterdir()]
    return sorted(int(match[1]) for match in matches if match is not None and match[2] == kind)


def create(folder: Path, kind: Kind, header: Header, size: int = 0) -> int:
    """Begin a file: the descriptor of its unfinished form, with room for `size` bytes. Raises OSError.

    Room is taken at once, so a commit cannot find the disk full. A segment is written over a spare one where there is
    one: that spares the file system to note with each commit which blocks hold something by now, which doubles what a
    commit of a few kilobytes writes.
    """
    path = folder / f"{name(kind, header.number)}.new"
    if kind == "segment" and (spares := numbers(folder, "spare")):
        with suppress(FileNotFoundError):  # somebody else has just taken it
            (folder / name("spare", spares[0])).rename(path)
    number = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if size:
            os.posix_fallocate(number, 0, size)
        write(number, header.encode(), 0)
    except OSError:
        os.close(number)
        path.unlink()
        raise
    return number


def publish(folder: Path, kind: Kind, header: Header, number: int) -> None:
    """Give a file its name, once its content is safe. Raises OSError."""
    path = folder / name(kind, header.number)
    os.fsync(number)
    path.with_name(f"{path.name}.new").rename(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Make names safe. Raises OSError."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def write(number: int, content: bytes, offset: int) -> None:
    """Write all of `content` into an open file. Raises OSError."""
    rest = memoryview(content)
    while rest:
        written = os.pwrite(number, rest, offset)
        rest = rest[written:]
        offset += written


def drop_unfinished(folder: Path) -> None:
    """Remove what an earlier life did not finish. Raises OSError."""
    for path in folder.glob("*.new"):
        path.unlink()


def drop_superseded(folder: Path) -> None:
    """Remove what the newest base stands for; some segments are kept to be written over, the largest.

    Nobody may read those segments any more. Raises OSError.
    """
    bases = numbers(folder, "base")
    if not bases:
        return
    for number in bases[:-1]:
        (folder / name("base", number)).unlink()
    dropped = [number for number in numbers(folder, "segment") if number <= bases[-1]]
    found = [(folder / name("segment", number), number) for number in dropped]
    found.sort(key=lambda each: each[0].stat().st_size)
    places = MOST_SPARES - len(numbers(folder, "spare"))
    for path, number in reversed(found):
        if places > 0 and path.stat().st_nlink == 1:  # a copy may be a link
            path.rename(folder / name("spare", number))
            places -= 1
        else:
            path.unlink()
    sync_folder(folder)
