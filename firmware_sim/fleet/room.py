"""Room for what a run keeps while it lasts: logs, settlements and journals lie in the system's temporary folder.

Where that is full, nodes go on without writing down what becomes of messages, and the accounts would call lost what
nobody knows of. So it is said before a run begins, and when one has filled it.
"""

import contextlib
import errno
import shutil
import tempfile
from collections.abc import Iterator

from .world import WorldError

ENOUGH_BYTES = 1 << 20
"""With less a run hardly gets beyond its start, and a node that writes a thousand lines at once finds no room."""
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)


def shortage() -> str:
    """That there is too little room, and what to do, in words; empty where there is enough."""
    try:
        folder = tempfile.gettempdir()
    except FileNotFoundError as error:  # each that it knows is full, or cannot be written
        return _advice(f"{error.strerror}")
    free_bytes = shutil.disk_usage(folder).free
    return "" if free_bytes >= ENOUGH_BYTES else _advice(f"no room in {folder}, {free_bytes >> 10} KiB are free")


@contextlib.contextmanager
def room_for_files() -> Iterator[None]:
    """Within it a run's files have room. Raises `WorldError` where they have none, also when that turns out later."""
    if words := shortage():
        raise WorldError(words)
    try:
        yield
    except (OSError, WorldError) as error:
        cause = error.__cause__ if isinstance(error, WorldError) else error
        if isinstance(cause, OSError) and cause.errno in NO_ROOM:
            raise WorldError(_advice(f"no room in {tempfile.gettempdir()}, {cause.strerror}")) from error
        raise


def _advice(what: str) -> str:
    return f"{what}: make room for the run's files, or set TMPDIR to a folder that has some"
