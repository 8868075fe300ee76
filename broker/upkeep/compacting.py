"""`oriole journal compact`: what lives is written anew, and the rest goes; by the node itself, wherever it runs.

Where none runs, one is started for as long as it takes, without listeners. It does what any start does: wills and ends
of sessions that fell due meanwhile happen.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from broker.core.promises import JournalError
from broker.journal.files import Kind, name, numbers
from broker.listeners.loop import Loop
from broker.node import Node
from broker.upkeep.folder import UpkeepError, ask, hold, is_held, journal_in
from broker.upkeep.survey import survey
from oriole.config import BrokerConfig
from oriole.data_dir import DataDir, DataDirError


def compact(data: Path, progress: Callable[[int], object]) -> tuple[int, int]:
    """Let go of history; bytes of files in use after that, and of those that are kept to be written over. `progress`
    takes the bytes written so far.

    Raises UpkeepError.
    """
    folder = journal_in(data)
    if is_held(data):
        with ask(data) as node:
            for row in node.ask("compact journal"):
                progress(row["written_bytes"])
    else:
        with hold(data) as held:
            _compact_at_rest(held)
    return _bytes_of(folder, "base") + _bytes_of(folder, "segment"), _bytes_of(folder, "spare")


def _compact_at_rest(data: DataDir) -> None:
    if survey(data.path / "journal", is_written=False).is_of_an_edge:
        raise UpkeepError(f"{data.path}: this is an edge's: start the edge, and compact it while it runs")
    loop = Loop()
    try:
        loop.run_until_complete(_start_and_clean(loop, data))
    except DataDirError as error:
        raise UpkeepError(str(error)) from None
    except JournalError as error:
        raise UpkeepError(f"{data.path}: {error}: the old files stay") from None
    finally:
        loop.close()


async def _start_and_clean(loop: Loop, data: DataDir) -> None:
    node = Node(BrokerConfig(), loop, data)
    try:
        await node.cleaner.clean()
    finally:
        await node.leave()


def _bytes_of(folder: Path, kind: Kind) -> int:
    return sum((folder / name(kind, number)).stat().st_size for number in numbers(folder, kind))
