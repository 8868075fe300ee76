"""The control socket: a Unix socket in the data folder, open to the node's own user alone.

It moves lines and knows no command. Whoever asks for much gets it in portions, between the node's other work; whoever
does not read, sends rubbish or says nothing is let go of, and nobody else notices.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Final

import msgspec

from broker.control.commands import Commands, Done, RefusedError
from oriole.control.lines import MOST_REQUEST_BYTES, Answer
from oriole.logging import Log

MOST_PATH_BYTES: Final = 107
"""What fits into a `sockaddr_un`."""
MOST_ASKERS: Final = 16
SLICE_S: Final = 0.001
"""An answer is made for so long at a time."""
PAUSE_S: Final = 0.001
"""Between two portions: others are served meanwhile."""
CROWDED_S: Final = 1.0
"""Where the process has no files left, it looks so much later whether there are some."""
IDLE_S: Final = 60.0
"""Whoever asks for nothing, or does not read an answer, for so long is let go of."""

log = Log("control")


class ControlDoor:
    """The socket at `path`, which answers by `commands`; the folder belongs to this process alone."""

    __slots__ = ("_commands", "_loop", "_path", "_socket", "_tasks")

    def __init__(self, loop: asyncio.AbstractEventLoop, path: Path, commands: Commands) -> None:
        self._loop = loop
        self._path = path
        self._commands = commands
        self._socket: socket.socket | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def open(self) -> None:
        """Listen. A node can do without: what stands in the way is a line of the log."""
        path = os.fsencode(self._path)
        if len(path) > MOST_PATH_BYTES:
            log.warning(
                "not opened: the path is too long for a socket; choose a shorter --data",
                path=self._path,
                bytes=len(path),
                most=MOST_PATH_BYTES,
            )
            return
        listening = socket.socket(socket.AF_UNIX)
        umask = os.umask(0o177)
        try:
            self._path.unlink(missing_ok=True)  # of a process that was killed: nobody else has the folder
            listening.bind(path)
            listening.listen(MOST_ASKERS)
        except OSError as error:
            listening.close()
            log.warning("not opened", path=self._path, reason=error.strerror)
            return
        finally:
            os.umask(umask)
        listening.setblocking(False)
        self._socket = listening
        self._loop.add_reader(listening, self._acceptable)

    def _acceptable(self) -> None:
        assert self._socket is not None
        try:
            connection, _ = self._socket.accept()
        except BlockingIOError:
            return
        except OSError as error:
            log.warning("cannot accept connections, trying on", reason=error.strerror)
            self._loop.remove_reader(self._socket)
            self._loop.call_later(CROWDED_S, self._accept_again)
            return
        if len(self._tasks) >= MOST_ASKERS:
            with connection, suppress(OSError):
                connection.send(_line(Answer(refused=f"{MOST_ASKERS} others are asking: try again later")))
            return
        task = self._loop.create_task(_Conversation(self._commands).hold(connection))
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _accept_again(self) -> None:
        if self._socket is not None:
            self._loop.add_reader(self._socket, self._acceptable)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("a conversation ended for a fault of ours", error)

    def close(self) -> None:
        """Hang up."""
        if self._socket is None:
            return
        self._loop.remove_reader(self._socket)
        self._socket.close()
        self._socket = None
        self._path.unlink(missing_ok=True)
        for task in list(self._tasks):
            task.cancel()


class _Conversation:
    """A connection: requests one after the other, and their answers."""

    __slots__ = ("_commands", "_portion", "_reader", "_writer")

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._portion: list[bytes] = []
        self._reader: asyncio.StreamReader
        self._writer: asyncio.StreamWriter

    async def hold(self, connection: socket.socket) -> None:
        """Until the asker hangs up, or is let go of."""
        self._reader, self._writer = await asyncio.open_unix_connection(sock=connection, limit=MOST_REQUEST_BYTES)
        try:
            while (line := await self._request()).endswith(b"\n"):
                try:
                    await self._answer(self._commands.answer(line, self))
                except RefusedError as error:
                    self._portion.clear()
                    self._writer.write(_line(Answer(refused=str(error))))
            self._writer.close()
            async with asyncio.timeout(IDLE_S):
                await self._writer.wait_closed()
        except (TimeoutError, OSError):
            pass
        finally:
            self._writer.transport.abort()  # what is not read by now never will be

    async def left(self) -> None:
        """See `Asker`."""
        await self._send()
        while await self._reader.read(MOST_REQUEST_BYTES):
            pass

    async def _request(self) -> bytes:
        """The next line, without a line end where it is the last. Raises TimeoutError, OSError."""
        try:
            async with asyncio.timeout(IDLE_S):
                return await self._reader.readline()
        except ValueError:
            self._writer.write(_line(Answer(refused=f"no request has more than {MOST_REQUEST_BYTES} bytes")))
            return b""

    async def _answer(self, rows: AsyncGenerator[object, None]) -> None:
        """Send an answer, a portion at a time. Raises RefusedError, TimeoutError, OSError."""
        clock = asyncio.get_running_loop().time
        until = clock() + SLICE_S
        done = Done()
        async with aclosing(rows):
            async for row in rows:
                if isinstance(row, Done):
                    done = row
                    break
                self._portion.append(_line(Answer(row=row)))
                if clock() >= until:
                    await self._send()
                    await asyncio.sleep(PAUSE_S)
                    until = clock() + SLICE_S
        self._portion.append(_line(Answer(done=done.summary)))
        await self._send()

    async def _send(self) -> None:
        """Send what is ready; wait until most of it is read."""
        self._writer.write(b"".join(self._portion))
        self._portion.clear()
        async with asyncio.timeout(IDLE_S):
            await self._writer.drain()


def _line(answer: Answer) -> bytes:
    return msgspec.json.encode(answer) + b"\n"
