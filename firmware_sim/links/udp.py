"""UDP through a link: datagrams from many clients to one address, and the answers back to whom they belong.

Plain sockets: a datagram costs no task. What the system throws away because it comes faster than it is read here is not
the link's loss; it is asked for and told apart. When the near end moves, every client shows a new port to the far end,
and what is sent to the old one arrives nowhere.
"""

import asyncio
import contextlib
import socket
import struct
from collections import OrderedDict
from typing import Any

from .link import Link
from .way import Receive

MAX_CLIENTS = 5_000  # sockets onwards, one per client; the one quiet for longest makes way
MAX_DATAGRAM_BYTES = 65_535
HEADER_BYTES = 28
"""IPv4 and UDP."""
READS_PER_TURN = 32
RECEIVE_BUFFER_BYTES = 4 << 20
SO_MEMINFO = 55
MEMINFO = struct.Struct("9I")
"""What Linux knows of a socket's memory; the last number counts the datagrams for which there was none."""


class UdpRelay:
    """Listens on a free port of loopback and carries datagrams to `host:port`."""

    __slots__ = ("_clients", "_dropped", "_host", "_link", "_loop", "_near", "_port", "_target")

    def __init__(self, link: Link, host: str, port: int) -> None:
        self._link = link
        self._host = host
        self._port = port
        self._clients: OrderedDict[Any, socket.socket] = OrderedDict()
        self._dropped = 0

    async def open(self) -> int:
        """Start to listen; returns the port."""
        self._loop = asyncio.get_running_loop()
        found = await self._loop.getaddrinfo(self._host, self._port, type=socket.SOCK_DGRAM)
        self._target = found[0]
        self._near = _new_socket(socket.AF_INET, socket.SOCK_DGRAM, 0)
        self._near.bind(("127.0.0.1", 0))
        self._loop.add_reader(self._near, self._from_clients)
        self._link.movers[self] = None
        port: int = self._near.getsockname()[1]
        return port

    async def close(self) -> None:
        """Close every socket."""
        self.moved()
        self._loop.remove_reader(self._near)
        self._near.close()

    def moved(self) -> None:
        """Let go of the ports that the far end knows; the next datagram of each client gets a new one."""
        self.check()
        for onward in self._clients.values():
            self._close(onward)
        self._clients.clear()
        self._dropped = _dropped(self._near)

    def check(self) -> None:
        """Blame what the system threw away on the relay."""
        dropped = sum(_dropped(each) for each in (self._near, *self._clients.values()))
        if dropped > self._dropped:
            self._link.refuse("datagrams come faster than the relay can read", dropped - self._dropped)
        self._dropped = dropped

    def _from_clients(self) -> None:
        for _ in range(READS_PER_TURN):
            try:
                datagram, client = self._near.recvfrom(MAX_DATAGRAM_BYTES)
            except OSError:  # nothing more, or the ICMP error of an answer that nobody took
                return
            try:
                onward = self._onward(client)
            except OSError as error:
                self._link.refuse(f"no socket for another UDP client: {error.strerror}")
                continue
            self._link.send(self._link.up, _sender(onward), datagram, len(datagram) + HEADER_BYTES)

    def _from_target(self, onward: socket.socket, client: Any) -> None:
        def answer(datagram: bytes, arrives_ns: int) -> None:
            with contextlib.suppress(OSError):
                self._near.sendto(datagram, client)

        for _ in range(READS_PER_TURN):
            try:
                datagram = onward.recv(MAX_DATAGRAM_BYTES)
            except OSError:
                return
            self._link.send(self._link.down, answer, datagram, len(datagram) + HEADER_BYTES)

    def _onward(self, client: Any) -> socket.socket:
        """The socket that stands for `client` at the far end."""
        if onward := self._clients.get(client):
            self._clients.move_to_end(client)
            return onward
        family, kind, protocol, _, address = self._target
        onward = _new_socket(family, kind, protocol)
        onward.connect(address)
        self._loop.add_reader(onward, self._from_target, onward, client)
        self._clients[client] = onward
        if len(self._clients) > MAX_CLIENTS:
            self._link.refuse(f"more than {MAX_CLIENTS} UDP clients: the one quiet for longest is forgotten")
            self._close(self._clients.popitem(last=False)[1])
        return onward

    def _close(self, onward: socket.socket) -> None:
        self._loop.remove_reader(onward)
        onward.close()


def _new_socket(family: int, kind: int, protocol: int) -> socket.socket:
    new = socket.socket(family, kind, protocol)
    new.setblocking(False)
    new.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)  # as much of it as the system grants
    return new


def _dropped(each: socket.socket) -> int:
    """How many datagrams the system threw away for want of memory for this socket."""
    dropped: int = MEMINFO.unpack(each.getsockopt(socket.SOL_SOCKET, SO_MEMINFO, MEMINFO.size))[-1]
    return dropped


def _sender(onward: socket.socket) -> Receive:
    """What sends a datagram on, as a network does: what cannot be sent is lost without a word."""

    def send(datagram: bytes, arrives_ns: int) -> None:
        with contextlib.suppress(OSError):
            onward.send(datagram)

    return send
