"""TCP connections through a link: each has two ends here, and between them the bytes go as streams over the link.

The system answers a client's handshake at once; the one that the link would have carried is made up for before anything
goes on: a packet there and one back, again after 1, 3, 7, ... seconds where one is lost. A client that has closed when
it would be repeated has given up, and never was connected. What may be under way is bounded, then an end is not read
and its writer waits. A reset at one end becomes a close at the other.

When the near end moves, both ends stay open and hear nothing more. What they still send is thrown away: to leave it
unread would hide from us that an end has closed, and keep its file for ever.
"""

import asyncio
import errno
import time
from typing import Any

from .link import Link
from .stream import SEND_BUFFER_BYTES, StreamPipe
from .way import Way

BACKLOG = 1024
HANDSHAKE_BYTES = 60
"""IPv4, TCP and the options of a SYN."""
HANDSHAKE_TRIES = 6
UNSENT_BYTES = 64 * 1024
"""What may wait here for an end that does not read."""
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.EADDRNOTAVAIL)


class TcpRelay:
    """Listens on a free port of loopback and carries each connection to `host:port`."""

    __slots__ = ("_connections", "_host", "_link", "_port", "_server")

    def __init__(self, link: Link, host: str, port: int) -> None:
        self._link = link
        self._host = host
        self._port = port
        self._connections: dict[Connection, None] = {}

    async def open(self) -> int:
        """Start to listen; returns the port."""
        self._server = await asyncio.get_running_loop().create_server(self._accept, "127.0.0.1", 0, backlog=BACKLOG)
        self._link.movers[self] = None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def close(self) -> None:
        """Stop listening and drop every connection."""
        self._server.close()
        for connection in list(self._connections):
            connection.abort()

    def moved(self) -> None:
        """Every connection that exists goes silent."""
        for connection in self._connections:
            connection.silence()

    def _accept(self) -> "End":
        return Connection(self._link, self._host, self._port, self._connections).near


class Connection:
    """Open when its handshake got through; until then there is no far end. One of `connections` while it lives."""

    __slots__ = ("_connections", "_dialling", "_host", "_link", "_port", "_timer", "_tries", "far", "is_open", "near")

    def __init__(self, link: Link, host: str, port: int, connections: "dict[Connection, None]") -> None:
        self._link = link
        self._host = host
        self._port = port
        self._connections = connections
        self._timer: asyncio.TimerHandle | None = None
        self._dialling: asyncio.Task[None] | None = None
        self._tries = 0
        self.is_open = False
        self.near = End(self, link)
        self.far = End(self, link)
        self.near.join(self.far, link.up, link.down)
        self.far.join(self.near, link.down, link.up)

    def knock(self) -> None:
        """Ask for the far end."""
        self._connections[self] = None
        if self._tries == HANDSHAKE_TRIES or self.near.has_ended:
            self.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(1 << self._tries, self.knock)
        self._tries += 1
        self._link.send(self._link.up, self._knocked, None, HANDSHAKE_BYTES)

    def silence(self) -> None:
        """Neither end hears the other any more. A handshake under way simply goes on from the new address."""
        if self.is_open:
            self.near.silence()
            self.far.silence()

    def abort(self) -> None:
        """Drop both ends."""
        if self._timer is not None:
            self._timer.cancel()
        if self._dialling is not None:
            self._dialling.cancel()
        self.near.abort()
        self.far.abort()
        self._connections.pop(self, None)

    def lost(self) -> None:
        """One of the ends is gone."""
        if not self.is_open or (self.near.is_lost and self.far.is_lost):
            self.abort()

    def _knocked(self, _: Any, arrives_ns: int) -> None:
        self._link.send(self._link.down, self._answered, None, HANDSHAKE_BYTES)

    def _answered(self, _: Any, arrives_ns: int) -> None:
        if self._dialling is None and self in self._connections:
            assert self._timer is not None
            self._timer.cancel()
            self._dialling = asyncio.get_running_loop().create_task(self._dial())

    async def _dial(self) -> None:
        try:
            await asyncio.get_running_loop().create_connection(lambda: self.far, self._host, self._port)
        except OSError as error:
            if error.errno in OUT_OF_FILES:
                self._link.refuse(f"no connection onwards: {error.strerror}")
            self.abort()
            return
        self.is_open = True
        self.near.open()
        self.far.open()


class End(asyncio.Protocol):
    """One end of a connection: what it reads goes over the link to the other one."""

    __slots__ = (
        "_before",
        "_connection",
        "_is_clogged",
        "_is_silent",
        "_is_told",
        "_link",
        "_other",
        "_stream",
        "_transport",
        "has_ended",
        "is_lost",
    )

    def __init__(self, connection: Connection, link: Link) -> None:
        self._connection = connection
        self._link = link
        self._transport: asyncio.Transport | None = None
        self._before = bytearray()  # came before the connection was open
        self._is_clogged = False  # its socket takes nothing
        self.has_ended = False  # nothing more comes from its socket
        self._is_told = False  # the other one has ended, and its socket knows
        self._is_silent = False
        self.is_lost = False
        self._other: End
        self._stream: StreamPipe

    def join(self, other: "End", there: Way, back: Way) -> None:
        """Be one end of a connection, of which `other` is the other."""
        self._other = other
        self._stream = StreamPipe(there, back, other.deliver, self._regulate)

    def open(self) -> None:
        """From now on bytes move."""
        data, self._before = bytes(self._before), bytearray()
        if data:
            self.data_received(data)
        if self.has_ended:
            self._end()
        self._regulate()

    def silence(self) -> None:
        """Neither hear nor be heard any more."""
        self._is_silent = True
        self._stream.silence()
        self._regulate()

    def abort(self) -> None:
        """Close the socket now."""
        if self._transport is not None:
            self._transport.abort()

    def deliver(self, data: bytes, arrives_ns: int) -> None:
        """What the other end read; nothing is its end."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if data:
            transport.write(data)
            return
        self._is_told = True
        if self.has_ended or self._other.is_lost:
            transport.close()
        else:
            try:
                transport.write_eof()
            except OSError:  # its peer has reset the connection, and nobody has told
                transport.abort()

    # ---- asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is there: the near end's at first, the far end's after the handshake."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(UNSENT_BYTES)
        if self is self._connection.near:
            self._connection.knock()

    def data_received(self, data: bytes) -> None:
        """Send it over the link, or keep it until that is possible."""
        if self._connection.is_open:
            self._stream.write(data, time.monotonic_ns())
            self._link.stir()
        else:
            self._before += data
        self._regulate()

    def eof_received(self) -> bool:
        """Its peer says no more, but may go on listening."""
        if self._is_silent or self._is_told:
            return False
        self.has_ended = True
        if self._connection.is_open:
            self._end()
        return True

    def connection_lost(self, error: Exception | None) -> None:
        """The socket is gone."""
        self.is_lost = True
        if self._connection.is_open and not (self.has_ended and self._is_told):
            self._end()
        self._connection.lost()

    def pause_writing(self) -> None:
        """Its peer does not read: nor does the other one here, then."""
        self._is_clogged = True
        self._other._regulate()

    def resume_writing(self) -> None:
        """Its peer reads again."""
        self._is_clogged = False
        self._other._regulate()

    def _end(self) -> None:
        self._stream.write(b"", time.monotonic_ns())
        self._link.stir()

    def _regulate(self) -> None:
        """Read while there is somewhere to put it."""
        if self._transport is None or self._transport.is_closing() or self.has_ended:
            return
        has_room = self._stream.room() and len(self._before) < SEND_BUFFER_BYTES and not self._other._is_clogged
        if has_room or self._is_silent:
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()
