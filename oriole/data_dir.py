"""The folder of `--data`: made if missing, held by one process at a time, with the identity of the node in it.

What else lies there (the journal, the spool) belongs to others; they get `DataDir.path`.
"""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import IO, Annotated, Literal, Self

import msgspec

RANDOM_BYTES = 16

Hex128 = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{32}\Z")]


class DataDirError(Exception):
    """The folder cannot be used; the message says which, why, and what to do."""


class Identity(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Who a node is: 128 random bits each, in hexadecimal.

    `node` stays with the folder for good; `epoch` begins again wherever the numbering of messages does.
    """

    format: Literal[1] = 1
    node: Hex128
    epoch: Hex128

    @classmethod
    def new(cls, random: Callable[[int], bytes] = os.urandom) -> Self:
        """A node nobody has met, from `random(count) -> bytes`."""
        return cls(node=random(RANDOM_BYTES).hex(), epoch=random(RANDOM_BYTES).hex())


class DataDir:
    """A folder held by this process until `close`, or for a `with` block."""

    __slots__ = ("_lock", "identity", "path")

    def __init__(self, path: str | Path, random: Callable[[int], bytes] = os.urandom) -> None:
        """Make, lock and read the folder at `path`; a new one gets an identity from `random`.

        Raises `DataDirError`.
        """
        self.path = Path(path)
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._lock = _lock(self.path / "lock")
            try:
                self.identity = _identity(self.path / "identity.json", random)
            except BaseException:
                self.close()
                raise
        except (FileExistsError, NotADirectoryError):
            raise DataDirError(f"{path}: not a folder: name another one with --data") from None
        except OSError as error:
            where = error.filename or path
            raise DataDirError(f"{where}: {error.strerror}: name a folder that this user may write to") from error

    def close(self) -> None:
        """Let another process have the folder. May be called again."""
        self._lock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_atomically(path: Path, content: bytes) -> None:
    """Replace the file at `path`: after a power cut it holds the old content or the new, whole. Raises `OSError`."""
    temporary = path.with_name(f"{path.name}.new")
    with temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)  # the name is data of the folder
    finally:
        os.close(folder)


def _lock(path: Path) -> IO[str]:
    """The open file that holds the lock: the kernel lets go of it however the process ends."""
    file = path.open("a+")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        holder = file.read(20).strip() or "unknown"
        file.close()
        raise DataDirError(
            f"{path.parent}: in use by another Oriole (process {holder}): stop it, or name another folder with --data"
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    return file


def _identity(path: Path, random: Callable[[int], bytes]) -> Identity:
    """The identity in the file at `path`, made where there is none."""
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        identity = Identity.new(random)
        write_atomically(path, msgspec.json.encode(identity) + b"\n")
        return identity
    try:
        identity = msgspec.json.decode(content, type=Identity)
    except msgspec.MsgspecError as error:  # also what is no UTF-8
        raise DataDirError(
            f"{path}: cannot be read ({error}): restore it from a copy, "
            f"or move {path.parent} away to begin as a new node"
        ) from error
    return identity
