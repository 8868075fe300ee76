"""A data folder as somebody finds it who does not run a node there: who holds it, and what of its journal can be read.

A node that runs holds the folder's lock, and is asked; where none runs, the lock is ours meanwhile.
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from oriole.control import Control, ControlError
from oriole.data_dir import DataDir, DataDirError

FAILED: Final = 1
USAGE: Final = 2


class UpkeepError(Exception):
    """Something cannot be done; the message says why and what to do, `status` is for the shell."""

    def __init__(self, text: str, status: int = FAILED) -> None:
        super().__init__(text)
        self.status = status


@dataclass(slots=True, frozen=True)
class Still:
    """A journal that nobody changes for as long as we look at it: where its files are, and whose they are."""

    folder: Path
    node: str


def journal_in(data: Path) -> Path:
    """The folder of the journal below `data`. Raises UpkeepError where there is none."""
    try:
        if not data.is_dir():
            raise UpkeepError(f"{data}: no such folder: name a node's folder with --data", USAGE)
        if not (data / "journal").is_dir():
            raise UpkeepError(f"{data}: there is no journal in it: name a node's folder with --data", USAGE)
    except PermissionError:
        raise UpkeepError(f"{data}: permission denied: try as the user that the node runs as", USAGE) from None
    return data / "journal"


def is_held(data: Path) -> bool:
    """Whether a node runs on `data`. A copy of a folder is nobody's."""
    try:
        with (data / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


@contextmanager
def still(data: Path) -> Iterator[Still]:
    """The journal of `data` as of now, whether a node runs there or not, for a `with` block. Raises UpkeepError."""
    folder = journal_in(data)
    if is_held(data):
        with ask(data) as node:
            copy = next(node.ask("copy journal"))
            yield Still(data / copy["folder"], copy["node"])
    else:
        with hold(data) as held:
            yield Still(folder, held.identity.node)


@contextmanager
def ask(data: Path) -> Iterator[Control]:
    """The node that runs on `data`. Raises UpkeepError, also where it refuses something within the `with` block."""
    try:
        with Control(data) as node:
            yield node
    except ControlError as error:
        raise UpkeepError(f"{data}: a node runs there, and could not do it: {error}") from None


def hold(data: Path) -> DataDir:
    """The folder, held by this process. Raises UpkeepError."""
    try:
        return DataDir(data)
    except DataDirError as error:
        raise UpkeepError(str(error)) from None
