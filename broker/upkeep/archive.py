"""A journal as one stream: the files of a still folder, what they are, and a checksum over all of it at the end.

It is a tar archive, which other tools can list: `export.json` says whose the journal is and which files follow, and
`end.json` comes last, so that a stream that broke off, anywhere, is not taken for whole.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final, Literal

import msgspec

from broker.journal.files import name as file_name
from broker.journal.files import numbers
from oriole import __version__
from oriole.data_dir import Hex128

FORMAT: Final = 1
FIRST: Final = "export.json"
LAST: Final = "end.json"
MOST_FIRST_BYTES: Final = 64 << 20
"""More than a list of a million files, and no more than can be read at once."""
PIECE_BYTES: Final = 1 << 20
NAME: Final = re.compile(r"[0-9]{8}\.(base|segment)")

Progress = Callable[[int, int], object]
"""Takes how many bytes are done, and of how many."""


class ArchiveError(Exception):
    """A stream is no export, or not a whole one; the message says which."""


class File(msgspec.Struct, frozen=True):
    """A file of the journal."""

    name: str
    bytes: int


class About(msgspec.Struct, frozen=True, kw_only=True):
    """What an export is.

    Attributes:
        node: whose journal it is, as in `identity.json`.
        position: of the last batch in it.
        oriole: the version that wrote it.
        made_at: when, in seconds since 1970.
        files: what follows, in this order.
    """

    format: Literal[1] = FORMAT
    node: Hex128
    position: int
    oriole: str = __version__
    made_at: int
    files: list[File]

    @property
    def total_bytes(self) -> int:
        """Of all files."""
        return sum(file.bytes for file in self.files)


class End(msgspec.Struct, frozen=True):
    """The end of an export: SHA-256 of `export.json` and all files, one behind the other, in hexadecimal."""

    sha256: str


def describe(folder: Path, node: str, position: int) -> About:
    """An export of the journal in `folder`, which nobody changes."""
    base = max(numbers(folder, "base"), default=0)
    names = [file_name("base", base)] if base else []
    names += [file_name("segment", number) for number in numbers(folder, "segment") if number > base]
    files = [File(name, (folder / name).stat().st_size) for name in names]
    return About(node=node, position=position, made_at=int(time.time()), files=files)


def write(stream: BinaryIO, folder: Path, about: About, progress: Progress) -> None:
    """Write an export. Raises OSError."""
    digest = hashlib.sha256()
    with tarfile.TarFile(fileobj=_Output(stream), mode="w", copybufsize=PIECE_BYTES) as tar:
        first = msgspec.json.encode(about)
        digest.update(first)
        _add(tar, FIRST, len(first), io.BytesIO(first), about.made_at)
        done = 0

        def passed(piece: bytes) -> None:
            nonlocal done
            digest.update(piece)
            done += len(piece)
            progress(done, about.total_bytes)

        for file in about.files:
            with (folder / file.name).open("rb") as content:
                _add(tar, f"journal/{file.name}", file.bytes, _Watched(content, passed), about.made_at)
        last = msgspec.json.encode(End(digest.hexdigest()))
        _add(tar, LAST, len(last), io.BytesIO(last), about.made_at)
    stream.flush()


def read(stream: BinaryIO, folder: Path, progress: Progress) -> About:
    """Put the files of an export into `folder`, which is empty, and sync them. Raises ArchiveError, OSError."""
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=PIECE_BYTES) as tar:
            return _read(tar, folder, progress)
    except (tarfile.TarError, UnicodeDecodeError) as error:
        raise ArchiveError(f"this is no export, or it was cut off: {error}") from None


def _read(tar: tarfile.TarFile, folder: Path, progress: Progress) -> About:
    digest = hashlib.sha256()
    first = _next(tar, FIRST).read()
    digest.update(first)
    try:
        about = msgspec.json.decode(first, type=About)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ArchiveError(f"{FIRST} in it cannot be read: {error}") from None
    done = 0
    for file in about.files:
        if not NAME.fullmatch(file.name):
            raise ArchiveError(f"{file.name!r} is no file of a journal")
        content = _next(tar, f"journal/{file.name}", file.bytes)
        with create_private(folder / file.name) as copy:
            while piece := content.read(PIECE_BYTES):
                digest.update(piece)
                copy.write(piece)
                done += len(piece)
                progress(done, about.total_bytes)
            copy.flush()
            os.fsync(copy.fileno())
    try:
        end = msgspec.json.decode(_next(tar, LAST).read(), type=End)
    except msgspec.MsgspecError:
        raise ArchiveError(f"{LAST} in it cannot be read") from None
    if end.sha256 != digest.hexdigest():
        raise ArchiveError("its content is not what was exported: the checksum does not fit")
    return about


def _next(tar: tarfile.TarFile, name: str, size: int | None = None) -> BinaryIO:
    """The content of the next member, which has to be this one."""
    member = tar.next()
    if member is None:
        raise ArchiveError(f"it ends too early: {name} is missing")
    if member.name != name or not member.isreg():
        raise ArchiveError(f"this is no export: {name} was expected, and {member.name!r} came")
    if member.size > MOST_FIRST_BYTES if size is None else member.size != size:
        raise ArchiveError(f"{name} has {member.size} bytes, which is not what was exported")
    content = tar.extractfile(member)
    assert content is not None
    return content  # type: ignore[return-value] # typeshed calls it IO[bytes]


def _add(tar: tarfile.TarFile, name: str, size: int, content: io.BytesIO | _Watched, made_at: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = size, 0o600, made_at
    tar.addfile(member, content)  # type: ignore[arg-type] # it only reads


def create_private(path: Path) -> BinaryIO:
    """A new file that nobody else may read: it has everybody's messages. Raises OSError."""
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "wb")


class _Watched:
    """A file whose pieces are shown to somebody as they are read."""

    __slots__ = ("_file", "_show")

    def __init__(self, file: BinaryIO, show: Callable[[bytes], None]) -> None:
        self._file = file
        self._show = show

    def read(self, size: int) -> bytes:
        """See `BinaryIO`."""
        piece = self._file.read(size)
        self._show(piece)
        return piece


class _Output(io.RawIOBase):
    """A stream that knows how much was written, also where it is a pipe."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._count = 0

    def write(self, content: Any) -> int:
        """See `RawIOBase`."""
        written = self._stream.write(content)
        self._count += written
        return written

    def tell(self) -> int:
        """See `RawIOBase`."""
        return self._count
