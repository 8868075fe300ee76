"""How an uplink gets a connection to its centre: names become addresses, the first that answers is it."""

from __future__ import annotations

import fcntl
import socket
import sys
from collections.abc import Callable
from typing import Final, Protocol

from broker.core.channel import Channel
from broker.listeners.host import Host
from broker.listeners.tcp import Stream, TcpChannel
from edge_node.uplink.link_watch import LinkWatch
from edge_node.uplink.resolver import Resolver
from oriole.urls import Endpoint

SIOCOUTQNSD: Final = 0x894B
"""Linux, <linux/sockios.h>: bytes in a TCP socket's send queue that were not sent."""
SILENCE_MS = 6_000
"""Sent bytes that nobody acknowledges for so long mean that the path is gone (TCP_USER_TIMEOUT)."""


class Line(Protocol):
    """A connection that was made."""

    def start(self, stream: Stream) -> Channel:
        """Use it: the channel that `stream` is heard on from now on."""

    def abort(self) -> None:
        """End it now, used or not, whatever waits."""

    def unsent_bytes(self) -> int:
        """What the system was given and has not sent yet, not even once."""


class Dialler(Protocol):
    """Makes connections."""

    async def dial(self, address: Endpoint) -> Line:
        """Connect. Raises OSError, and UnicodeError for a name that no resolver takes."""

    def watch(self, on_change: Callable[[], None]) -> None:
        """Have `on_change` called when there may be a way where there was none, until `close`."""

    def close(self) -> None:
        """Watch no more."""


class TcpLine:
    """A connected socket."""

    __slots__ = ("_address", "_channel", "_host", "_socket")

    def __init__(self, host: Host, connection: socket.socket, address: Endpoint) -> None:
        self._host = host
        self._socket = connection
        self._address = address
        self._channel: TcpChannel | None = None

    def start(self, stream: Stream) -> Channel:
        """See `Line`."""
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MS)
        self._channel = TcpChannel(self._host, self._socket, str(self._address))
        self._channel.start(stream)
        return self._channel

    def abort(self) -> None:
        """See `Line`."""
        if self._channel is None:
            self._socket.close()
        else:
            self._channel.abort()

    def unsent_bytes(self) -> int:
        """See `Line`."""
        try:
            return int.from_bytes(fcntl.ioctl(self._socket, SIOCOUTQNSD, bytes(4)), sys.byteorder)
        except (OSError, ValueError):  # not Linux, or closed
            return 0


class TcpDialler:
    """Connects over TCP.

    Args:
        host: the loop that runs the engine.
    """

    __slots__ = ("_host", "_resolver", "_watch")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._resolver = Resolver(host.loop)
        self._watch: LinkWatch | None = None

    def watch(self, on_change: Callable[[], None]) -> None:
        """See `Dialler`."""
        self._watch = LinkWatch(self._host.loop, on_change)
        self._watch.open()

    def close(self) -> None:
        """See `Dialler`."""
        if self._watch is not None:
            self._watch.close()

    async def dial(self, address: Endpoint) -> TcpLine:
        """See `Dialler`."""
        loop = self._host.loop
        found = await self._resolver.resolve(address.host, address.port)
        error: OSError | None = None
        for family, kind, protocol, _, target in found:
            connection = socket.socket(family, kind, protocol)
            connection.setblocking(False)
            try:
                await loop.sock_connect(connection, target)
            except OSError as failed:
                connection.close()
                error = failed
            except BaseException:
                connection.close()
                raise
            else:
                return TcpLine(self._host, connection, address)
        raise error or OSError(f"{address.host} has no address")
