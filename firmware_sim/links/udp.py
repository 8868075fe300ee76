"""UDP through a link: datagrams from many clients to one address, and the answers back to whom they belong.

A datagram that meets a cut, or a full buffer, is gone and counted. Plain sockets: a datagram costs no task.
"""

import asyncio
import contextlib
import socket
from collections import OrderedDict
from typing import Any

from .link import Link, Parcel, Way

MAX_CLIENTS = 2000  # sockets onwards, one per client; the one quiet for longest makes way
MAX_DATAGRAM_BYTES = 65_535
READS_PER_TURN = 32


class UdpRelay:
    """Listens on a free port of loopback and carries datagrams to `host:port`."""

    __slots__ = ("_clients", "_host", "_link", "_loop", "_near", "_port", "_target")

    def __init__(self, link: Link, host: str, port: int) -> None:
        self._link = link
        self._host = host
        self._port = port
        self._clients: OrderedDict[Any, socket.socket] = OrderedDict()

    async def open(self) -> int:
        """Start to listen; returns the port."""
        self._loop = asyncio.get_running_loop()
        found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        self._target = found[0]
        self._near = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._near.setblocking(False)
        self._near.bind(("127.0.0.1", 0))
        self._loop.add_reader(self._near, self._from_clients)
        port: int = self._near.getsockname()[1]
        return port

    async def close(self) -> None:
        """Close every socket."""
        for each in (self._near, *self._clients.values()):
            self._loop.remove_reader(each)
            each.close()

    def _from_clients(self) -> None:
        for _ in range(READS_PER_TURN):
            try:
                datagram, client = self._near.recvfrom(MAX_DATAGRAM_BYTES)
            except OSError:  # nothing more, or the ICMP error of an answer that nobody took
                return
            onward = self._onward(client)
            self._send(self._link.up, lambda datagram, onward=onward: _quietly(onward.send, datagram), datagram)

    def _from_target(self, onward: socket.socket, client: Any) -> None:
        for _ in range(READS_PER_TURN):
            try:
                datagram = onward.recv(MAX_DATAGRAM_BYTES)
            except OSError:
                return
            self._send(self._link.down, lambda datagram: _quietly(self._near.sendto, datagram, client), datagram)

    def _send(self, way: Way, deliver: Any, datagram: bytes) -> None:
        way.send(Parcel(deliver, datagram, stream=False))

    def _onward(self, client: Any) -> socket.socket:
        """The socket that stands for `client` at the far end."""
        if onward := self._clients.get(client):
            self._clients.move_to_end(client)
            return onward
        family, kind, protocol, _, address = self._target
        onward = socket.socket(family, kind, protocol)
        onward.setblocking(False)
        onward.connect(address)
        self._loop.add_reader(onward, self._from_target, onward, client)
        self._clients[client] = onward
        if len(self._clients) > MAX_CLIENTS:
            _, quiet = self._clients.popitem(last=False)
            self._loop.remove_reader(quiet)
            quiet.close()
        return onward


def _quietly(send: Any, *arguments: Any) -> None:
    """Send as a network does: what cannot be sent is lost without a word."""
    with contextlib.suppress(OSError):
        send(*arguments)
