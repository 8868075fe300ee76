"""Host names to addresses, without waiting for a resolver that does not answer.

asyncio's own look-ups run in a pool whose threads the interpreter waits for when it ends: with dead name servers, an
edge would not stop for as long as they are waited for, and each attempt would take one more thread from the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from typing import Any

Address = tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]


class Resolver:
    """One look-up per name at a time; whoever asks again meanwhile waits for that one.

    Args:
        loop: where those who wait are.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._pending: dict[tuple[str, int], asyncio.Future[list[Address]]] = {}

    async def resolve(self, host: str, port: int) -> list[Address]:
        """The addresses to connect to by TCP. Raises OSError, and UnicodeError for what is no name at all."""
        key = host, port
        if key not in self._pending:
            try:
                threading.Thread(target=self._look_up, args=key, name=f"resolve {host}", daemon=True).start()
            except RuntimeError as error:
                raise OSError(str(error)) from error
            self._pending[key] = self._loop.create_future()
        return await asyncio.shield(self._pending[key])

    def _look_up(self, host: str, port: int) -> None:
        found: list[Address] | Exception
        try:
            found = list(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM))
        except Exception as error:  # whatever it is, somebody waits
            found = error
        with contextlib.suppress(RuntimeError):  # the loop has been closed: nobody waits
            self._loop.call_soon_threadsafe(self._found, (host, port), found)

    def _found(self, key: tuple[str, int], found: list[Address] | Exception) -> None:
        future = self._pending.pop(key)
        if isinstance(found, Exception):
            future.set_exception(found)
            future.exception()  # seen, even where nobody waits any more
        else:
            future.set_result(found)
