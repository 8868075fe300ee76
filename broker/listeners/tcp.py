"""Byte streams over TCP, on sockets that belong to the listener.

`recv` when there is something, one `send` per channel and turn (docs/decisions/listener-owns-its-socket.md). A channel
that is held is simply not read, so that TCP slows its peer. Closing is graceful: what was said last (a CONNACK that
refuses, a DISCONNECT that explains) must arrive, and `close` with unread bytes in the socket would reset it.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Callable
from typing import Protocol

from broker.core.channel import Channel
from broker.core.pressure import LOW_WATER_BYTES
from broker.listeners.host import Host
from broker.listeners.loop import HUNG_UP, READABLE, WRITABLE
from oriole.logging import Log
from oriole.urls import Endpoint

READ_BYTES = 1 << 16
"""Most bytes read from a channel per turn: a fair share beside others, a few hundred packets of a busy one."""
BACKLOG = 1024
ACCEPTS_PER_TURN = 64
HELD_LINGER_S = 5.0
"""How long a channel that is held outlives its peer: longer than anybody waits for a slow reader, so that what the peer
said last is still heard; not as long as a queue may be full."""
LINGER_S = 2.0
"""How long a closed channel's peer may take to read its last words and close its side. What it still sends is thrown
away."""
OUT_OF_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)

log = Log("tcp")


class Stream(Protocol):
    """What handles a channel's bytes: an MQTT connection."""

    def receive(self, data: bytes, now: int) -> None:
        """Bytes came."""

    def resume(self, now: int) -> None:
        """The channel is no longer held."""

    def closed(self, now: int) -> None:
        """The channel is gone."""


class TcpChannel(Channel):
    """A connected socket."""

    __slots__ = ("_gone", "_host", "_left", "_reading", "_socket", "_unsent", "stream")

    def __init__(self, host: Host, connection: socket.socket, peer: object) -> None:
        super().__init__(host.engine, peer)
        self._host = host
        self._socket = connection
        self._unsent: bytes | memoryview = b""
        self._gone = False
        self._left: asyncio.TimerHandle | None = None
        self._reading = False
        self.stream: Stream

    def start(self, stream: Stream) -> None:
        """Begin to read for `stream`."""
        self.stream = stream
        self._read(True)

    def _read(self, on: bool) -> None:
        if on != self._reading:
            self._reading = on
            self._forget_that_it_left()
            self._watch()

    def _watch(self) -> None:
        events = READABLE if self._reading else 0 if self._left is not None or self._gone else HUNG_UP
        if self._unsent:
            events |= WRITABLE
        self._host.loop.watch(self._socket.fileno(), events, self)

    def ready(self, events: int) -> None:
        """The socket can be read or written, or is broken."""
        if events & WRITABLE:
            self._writable()
        if not self._reading:
            if events & ~WRITABLE:
                self._hung_up()
            return
        if events == WRITABLE:
            return
        try:
            data = self._socket.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        host = self._host
        now = host.moment if host.turn_is_due else host.wake()
        if not data:
            self._lost()
        elif not self.closing:
            self.stream.receive(data, now)
            if self.holds:
                self._read(False)

    def flush(self) -> None:
        """Write all that waits, in one call if the socket takes it."""
        if self._gone or self._unsent:
            return
        out = self.out
        if out:
            data = out[0] if len(out) == 1 else b"".join(out)
            out.clear()
            try:
                sent = self._socket.send(data)
            except OSError as error:
                sent = self._not_sent(data, error)
            if sent == self.size <= LOW_WATER_BYTES:  # nearly always
                self.size = 0
            else:
                self._keep(data, sent)
        if self.closing and not self._unsent and not self._gone:
            self._shut()

    def _not_sent(self, data: bytes | memoryview, error: OSError) -> int:
        """How many bytes count as sent: none where the socket takes no more now, all where nobody will read them.

        What such a peer said before it left may still be in the socket, acknowledgements among it: reading goes on
        until the end is found.
        """
        if isinstance(error, (BlockingIOError, InterruptedError)):
            return 0
        if not self._reading:
            self._hung_up()
        return len(data)

    def _hung_up(self) -> None:
        """The peer left while it is held: let it be heard soon, or not at all."""
        if self._left is None and not self._gone:
            self._left = self._host.loop.call_later(HELD_LINGER_S, self._lost)
            self._watch()

    def _forget_that_it_left(self) -> None:
        if self._left is not None:
            self._left.cancel()
            self._left = None

    def _keep(self, data: bytes | memoryview, sent: int) -> None:
        """Keep what the socket did not take of `data` until it is writable."""
        if self._gone:
            return
        waited = bool(self._unsent)
        self._unsent = memoryview(data)[sent:]
        if waited != bool(self._unsent):
            self._watch()
        self.engine.unsent(self, self.size - sent)

    def _writable(self) -> None:
        data = self._unsent
        try:
            sent = self._socket.send(data)
        except OSError as error:
            sent = self._not_sent(data, error)
        self._keep(data, sent)
        if not self._unsent:
            self.flush()
        self._host.wake()

    def resume(self) -> None:
        """Read again, beginning with what was left over."""
        if self._gone or self.closing:
            return
        self._read(True)
        self.stream.resume(self._host.now())
        if self.holds:
            self._read(False)

    def close(self) -> None:
        """Write what waits and close, within `LINGER_S`: a peer that does not read is not waited for."""
        if not self.closing:
            super().close()
            self._host.loop.call_later(LINGER_S, self._lost)

    def _shut(self) -> None:
        """Everything is written: say so to the peer, and wait for it to close."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError:
            self._lost()
            return
        self._read(True)

    def _lost(self) -> None:
        if self._gone:
            return
        self._gone = True
        self._reading = False
        self._forget_that_it_left()
        self._unsent = b""
        self._watch()
        self._socket.close()
        self.out.clear()
        now = self._host.now()
        self.engine.unsent(self, 0)
        self.stream.closed(now)
        self._host.wake()

    def broken(self, error: Exception) -> None:
        """Close: its state is not known any more."""
        log.error("closed for a fault of ours", error)
        try:
            self._lost()
        except Exception as another:
            log.error("and its end failed too", another)

    def abort(self) -> None:
        """Close now, whatever waits."""
        self._lost()


class TcpListener:
    """A listening address; each connection becomes a channel with a stream.

    Args:
        host: the loop that runs the engine.
        endpoint: where to listen; every address that its host name has is used.
        open_stream: makes the stream of a new channel, `(channel, now) -> Stream`.
    """

    def __init__(self, host: Host, endpoint: Endpoint, open_stream: Callable[[Channel, int], Stream]) -> None:
        self._host = host
        self._endpoint = endpoint
        self._open_stream = open_stream
        self._sockets: list[socket.socket] = []
        self._crowded = False

    def open(self) -> list[Endpoint]:
        """Listen; the addresses in use, with the port that port 0 became. Raises OSError."""
        port = self._endpoint.port
        found = socket.getaddrinfo(self._endpoint.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        endpoints = []
        for family, kind, protocol, _, address in dict.fromkeys(found):
            listening = socket.socket(family, kind, protocol)
            self._sockets.append(listening)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                listening.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            listening.bind((address[0], port, *address[2:]))
            listening.listen(BACKLOG)
            listening.setblocking(False)
            port = listening.getsockname()[1]
            self._host.loop.add_reader(listening, self._acceptable, listening)
            endpoints.append(self._endpoint.with_port(port))
        return list(dict.fromkeys(endpoints))

    def _acceptable(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                connection, peer = listening.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno not in OUT_OF_FILES:
                    raise
                if not self._crowded:
                    self._crowded = True
                    log.warning("cannot accept connections, trying on", reason=error.strerror)
                self._host.loop.remove_reader(listening)
                self._host.loop.call_later(1.0, self._accept_again, listening)
                return
            self._crowded = False
            connection.setblocking(False)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            channel = TcpChannel(self._host, connection, peer[:2])
            channel.start(self._open_stream(channel, self._host.now()))
            self._host.wake()

    def _accept_again(self, listening: socket.socket) -> None:
        if listening.fileno() >= 0:
            self._host.loop.add_reader(listening, self._acceptable, listening)

    def close(self) -> None:
        """Take no more connections; those that are open stay."""
        for listening in self._sockets:
            self._host.loop.remove_reader(listening)
            listening.close()
        self._sockets.clear()
