"""Standard input as lines, without blocking the event loop where it can block: a pipe, a socket, a terminal."""

import asyncio
import os
import stat
from collections.abc import AsyncIterator
from typing import BinaryIO, Final

from oriole.pubsub.failure import Failure

MAX_LINE_BYTES: Final = 16 * 1024 * 1024
"""A line is one message and is held whole."""


async def lines(file: BinaryIO) -> AsyncIterator[bytes]:
    """Each line without its line end. Raises Failure for a line over MAX_LINE_BYTES."""
    if not _can_block(file):
        while line := file.readline(MAX_LINE_BYTES + 1):
            yield _checked(line)
        return
    reader = asyncio.StreamReader(limit=MAX_LINE_BYTES)
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), file)
    try:
        while line := await _readline(reader):
            yield _checked(line)
    finally:
        if not file.closed:
            os.set_blocking(file.fileno(), True)  # a terminal is shared with those who come after us


def _can_block(file: BinaryIO) -> bool:
    mode = os.fstat(file.fileno()).st_mode
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or file.isatty()


async def _readline(reader: asyncio.StreamReader) -> bytes:
    try:
        return await reader.readline()
    except ValueError:
        raise Failure(f"a line has more than {MAX_LINE_BYTES} bytes") from None


def _checked(line: bytes) -> bytes:
    line = line.removesuffix(b"\n")
    if len(line) > MAX_LINE_BYTES:
        raise Failure(f"a line has more than {MAX_LINE_BYTES} bytes")
    return line
