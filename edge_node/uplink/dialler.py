"""How an uplink gets a connection to its centre: names become addresses, the first that answers is it."""

from __future__ import annotations

import socket
from typing import Protocol

from broker.core.channel import Channel
from broker.listeners.host import Host
from broker.listeners.tcp import Stream, TcpChannel
from edge_node.uplink.resolver import Resolver
from oriole.urls import Endpoint

SILENCE_MS = 6_000
"""Sent bytes that nobody acknowledges for so long mean that the path is gone (TCP_USER_TIMEOUT)."""


class Line(Protocol):
    """A connection that was made."""

    def start(self, stream: Stream) -> Channel:
        """Use it: the channel that `stream` is heard on from now on."""

    def abort(self) -> None:
        """End it now, used or not, whatever waits."""


class Dialler(Protocol):
    """Makes connections."""

    async def dial(self, address: Endpoint) -> Line:
        """Connect. Raises OSError, and UnicodeError for a name that no resolver takes."""


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


class TcpDialler:
    """Connects over TCP.

    Args:
        host: the loop that runs the engine.
    """

    __slots__ = ("_host", "_resolver")

    def __init__(self, host: Host) -> None:
        self._host = host
        self._resolver = Resolver(host.loop)

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
