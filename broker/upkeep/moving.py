"""`oriole journal export` and `import`: out of one data folder, into another.

What is written gets its name when it is whole and on the disk, and not before: a file of an export, a folder of a
journal. An imported journal may be an old copy, and the node that goes on from it gives places and numbers again that
its earlier life gave to other messages; so the import begins a new epoch, by a last segment whose header names it.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from broker.journal.files import OtherFormatError, create, new_header, publish, sync_folder
from broker.journal.reading import Damage, Reading
from broker.upkeep.archive import About, ArchiveError, Progress, create_private, describe, read, write
from broker.upkeep.folder import UpkeepError, hold, journal_in, still
from oriole.data_dir import RANDOM_BYTES, Identity, write_atomically
from oriole.stdout import abandon


def export(data: Path, target: Path | None, progress: Progress) -> tuple[About, list[Damage]]:
    """Write all that the node of `data` keeps, as of now, to `target` (None: standard output); what was written, and
    what of it was damaged before. Raises UpkeepError.
    """
    journal_in(data)
    with _output(target) as stream, still(data) as journal:
        reading = Reading(journal.folder, set_aside=False)
        for _ in reading:
            pass
        about = describe(journal.folder, journal.node, reading.position)
        write(stream, journal.folder, about, progress)
    return about, reading.damages


@contextmanager
def _output(target: Path | None) -> Iterator[BinaryIO]:
    """Where an export goes; a file of the name is there when all of it is on the disk. Raises UpkeepError."""
    if target is None:
        try:
            yield sys.stdout.buffer
        except OSError as error:
            abandon(sys.stdout.buffer)
            raise UpkeepError(f"cannot write to standard output: {error.strerror}") from error
        return
    target = target.resolve()
    if target.exists() and not target.is_file():
        raise UpkeepError(f"{target} is no file: name one, or `-` for standard output")
    unfinished = target.with_name(f"{target.name}.new")
    try:
        with create_private(unfinished) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(target)
        sync_folder(target.parent)
    except OSError as error:
        raise UpkeepError(f"{error.filename or target}: {error.strerror}") from error
    finally:
        with suppress(OSError):
            unfinished.unlink()


def import_(data: Path, source: Path | None, progress: Progress) -> tuple[About, list[Damage]]:
    """Make of `data` the folder of the node that was exported to `source` (None: standard input); what it was, and what
    of it was damaged before. Raises UpkeepError.
    """
    journal = data / "journal"
    if journal.is_dir() and any(journal.iterdir()):
        raise UpkeepError(f"{journal}: there is a journal already: move it away, or name a new folder with --data")
    unfinished = data / "journal.new"
    with _input(source) as stream, hold(data):
        try:
            shutil.rmtree(unfinished, ignore_errors=True)  # of an import that was interrupted
            unfinished.mkdir(mode=0o700)
            about = read(stream, unfinished, progress)
            epoch = os.urandom(RANDOM_BYTES)
            _begin_epoch(unfinished, about, epoch)
            reading = Reading(unfinished, set_aside=False)
            for _ in reading:
                pass
            identity = Identity(node=about.node, epoch=epoch.hex())
            write_atomically(data / "identity.json", msgspec.json.encode(identity) + b"\n")
            unfinished.rename(journal)
            sync_folder(data)
        except (ArchiveError, OtherFormatError) as error:
            raise UpkeepError(f"{source or 'standard input'}: {error}: nothing was imported") from error
        except OSError as error:
            where = error.filename or data
            raise UpkeepError(f"{where}: {error.strerror}: nothing was imported") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return about, reading.damages


def _begin_epoch(folder: Path, about: About, epoch: bytes) -> None:
    """Add the segment that the next life's are behind: empty, and of a new epoch."""
    last = max((int(file.name[:8]) for file in about.files), default=0)
    header = new_header(last + 1, about.position + 1, bytes.fromhex(about.node), epoch)
    file = create(folder, "segment", header)
    try:
        publish(folder, "segment", header, file)
    finally:
        os.close(file)


@contextmanager
def _input(source: Path | None) -> Iterator[BinaryIO]:
    if source is None:
        yield sys.stdin.buffer
        return
    try:
        file = source.open("rb")
    except OSError as error:
        raise UpkeepError(f"{source}: {error.strerror}") from error
    with file:
        yield file
