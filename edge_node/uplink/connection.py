"""The shell of an uplink: finds the centre, owns the socket, comes back when the link does.

A link that fails silently is given up after `SILENCE_MS` without an acknowledgement from the other kernel, and tried
again once a second, whatever happened before: what a growing pause saves the centre, it costs the house in minutes of
darkness after each outage. Several addresses are tried in turn.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import socket
from collections.abc import Sequence

from broker.listeners.host import Host
from broker.listeners.tcp import TcpChannel
from edge_node.uplink.uplink import Uplink
from oriole.logging import Log
from oriole.urls import Endpoint

CONNECT_TIMEOUT_S = 3.0
"""Two SYNs (at 0 and 1 second) and a satellite's round trip."""
RETRY_S = 1.0
SILENCE_MS = 6_000
"""Sent bytes that nobody acknowledges for so long mean that the path is gone (TCP_USER_TIMEOUT)."""

log = Log("uplink")


class UplinkConnection:
    """Keeps an uplink connected.

    Args:
        host: the loop.
        uplink: what decides; it gets a channel whenever there is one.
        addresses: where the centre is, in the order of preference.
    """

    def __init__(self, host: Host, uplink: Uplink, addresses: Sequence[Endpoint]) -> None:
        self._host = host
        self._uplink = uplink
        self._addresses = itertools.cycle(addresses)
        self._channel: TcpChannel | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._failed = False

    def open(self) -> None:
        """Begin to connect."""
        self._task = self._host.loop.create_task(self._keep_connected())

    def close(self) -> None:
        """Say goodbye and stop."""
        if self._task is not None:
            self._task.cancel()
        if self._channel is not None:
            self._uplink.leave(self._host.now())

    async def _keep_connected(self) -> None:
        while True:
            address = next(self._addresses)
            try:
                connected = await asyncio.wait_for(self._connect(address), CONNECT_TIMEOUT_S)
            except (OSError, TimeoutError) as error:
                self._say_once(address, error)
            else:
                self._failed = False
                self._serve(connected, address)
                await self._ended.wait()
            await asyncio.sleep(RETRY_S * random.uniform(0.5, 1.0))  # a thousand edges do not come back as one

    async def _connect(self, address: Endpoint) -> socket.socket:
        loop = self._host.loop
        found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
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
                return connection
        raise error or OSError(f"{address.host} has no address")

    def _serve(self, connection: socket.socket, address: Endpoint) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_MS)
        self._ended.clear()
        self._channel = TcpChannel(self._host, connection, str(address))
        self._channel.start(self)
        self._uplink.open(self._channel, self._host.now())
        self._host.wake()

    def _say_once(self, address: Endpoint, error: Exception) -> None:
        if not self._failed:
            self._failed = True
            log.warning("not there, trying on", centre=address, reason=str(error) or "no answer in time")

    # The channel's stream: the uplink's, and a note of its end.

    def receive(self, data: bytes, now: int) -> None:
        """Bytes from the centre."""
        self._uplink.receive(data, now)

    def resume(self, now: int) -> None:
        """The channel is read again."""
        self._uplink.resume(now)

    def closed(self, now: int) -> None:
        """The connection is gone: connect again."""
        self._channel = None
        self._uplink.closed(now)
        self._ended.set()
