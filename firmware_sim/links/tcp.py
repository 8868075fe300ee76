"""TCP connections through a link: accepted here, connected onwards, byte streams in between.

The kernel answers a client's handshake at once; the round trip that it would have cost is waited before the first byte
moves. While the link is cut, streams are simply not read: the ends fill their buffers and know nothing.
"""

import asyncio
import contextlib

from .link import Link, Parcel, Way

READ_BYTES = 8 * 1024
UNSENT_BYTES = 64 * 1024  # what may wait here for an end that does not read
FULL_BUFFER_WAIT_S = 0.005


class TcpRelay:
    """Listens on a free port of loopback and carries each connection to `host:port`."""

    __slots__ = ("_connections", "_host", "_link", "_port", "_server")

    def __init__(self, link: Link, host: str, port: int) -> None:
        self._link = link
        self._host = host
        self._port = port
        self._connections: dict[asyncio.Task[None], None] = {}

    async def open(self) -> int:
        """Start to listen; returns the port."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0, limit=READ_BYTES)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections[task] = None
        try:
            await self._connect(reader, writer)
        except (OSError, asyncio.CancelledError):  # refused onwards, or we close: the client sees its connection end
            writer.transport.abort()
        finally:
            del self._connections[task]

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._link.carries.wait()
        await asyncio.sleep(self._link.delay_s)
        onward_reader, onward_writer = await asyncio.open_connection(self._host, self._port, limit=READ_BYTES)
        try:
            await asyncio.gather(
                self._carry(reader, onward_writer, self._link.up),
                self._carry(onward_reader, writer, self._link.down),
            )
        finally:
            onward_writer.transport.abort()

    async def _carry(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, way: Way) -> None:
        """One direction until its end. A reset at one end becomes a close at the other."""
        data = b"."
        while data:
            await self._room(way, 1)
            data = await _read(source, min(way.room(), READ_BYTES))
            await self._room(way, len(data))
            way.send(Parcel(lambda data: _deliver(sink, data), data, stream=True))
            if sink.transport.get_write_buffer_size() > UNSENT_BYTES:
                with contextlib.suppress(ConnectionError):  # then the other direction ends too, and says so
                    await sink.drain()

    async def _room(self, way: Way, size: int) -> None:
        """Wait until the link is whole and takes `size` bytes at once: a stream may not lose any."""
        await self._link.carries.wait()
        while way.room() < size:
            await asyncio.sleep(FULL_BUFFER_WAIT_S)
            await self._link.carries.wait()


async def _read(source: asyncio.StreamReader, size: int) -> bytes:
    try:
        return await source.read(size)
    except ConnectionError:
        return b""


def _deliver(sink: asyncio.StreamWriter, data: bytes) -> None:
    if not data:
        sink.close()
    elif not sink.is_closing():
        sink.write(data)
