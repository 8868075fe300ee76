"""`copy journal` and `compact journal`: a copy of what a running node keeps, and less of what it no longer needs."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncGenerator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from broker.control.commands import Asker, Commands, RefusedError
from broker.core.promises import JournalError

if TYPE_CHECKING:
    from broker.cleaning import Cleaner
    from broker.journal.durable import DurableJournal
    from broker.listeners.loop import Loop
    from oriole.data_dir import DataDir

COPY_PREFIX: Final = "export-"
PROGRESS_S: Final = 1.0


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No arguments."""


class JournalCommands:
    """The commands about the journal of one node, which is in `data`."""

    __slots__ = ("_cleaner", "_data", "_journal", "_loop")

    def __init__(self, loop: Loop, data: DataDir, journal: DurableJournal, cleaner: Cleaner) -> None:
        self._loop = loop
        self._data = data
        self._journal = journal
        self._cleaner = cleaner
        for left in data.path.glob(f"{COPY_PREFIX}*"):  # by a node that was killed
            shutil.rmtree(left, ignore_errors=True)

    def register(self, commands: Commands) -> None:
        """Add them to those of a node."""
        commands.register("copy journal", Nothing, self.copy)
        commands.register("compact journal", Nothing, self.compact)

    async def copy(self, _: Nothing, asker: Asker) -> AsyncGenerator[object, None]:
        """Where in the data folder a copy of the journal is, as of now; it is there until the asker hangs up."""
        try:
            folder = Path(tempfile.mkdtemp(prefix=COPY_PREFIX, dir=self._data.path))
        except OSError as error:
            raise _no_copy(error) from error
        try:
            try:
                reach = await self._loop.run_in_executor(None, self._journal.copy_into, folder)
            except OSError as error:
                raise _no_copy(error) from error
            yield {"folder": folder.name, "position": reach.position, "node": self._data.identity.node}
            await asker.left()
        finally:
            await self._loop.run_in_executor(None, partial(shutil.rmtree, folder, ignore_errors=True))

    async def compact(self, _: Nothing, __: Asker) -> AsyncGenerator[object, None]:
        """Rows while it is under way: bytes that were written anew so far, and whatever else came meanwhile."""
        before = self._journal.written_bytes
        task = self._loop.create_task(self._cleaner.clean())
        task.add_done_callback(_seen)  # also where nobody waits for it any more
        while not task.done():
            await asyncio.wait((task,), timeout=PROGRESS_S)
            yield {"written_bytes": self._journal.written_bytes - before}
        try:
            task.result()
        except JournalError as error:
            raise RefusedError(f"the old files stay: {error}") from error


def _seen(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()


def _no_copy(error: OSError) -> RefusedError:
    return RefusedError(f"no copy could be made: {error.strerror}: make room, or stop the node, and try again")
