"""Datagrams over UDP, on a socket that belongs to the listener.

All that can be read is read before the engine has its turn, up to a share that leaves others theirs; all that there is
to send leaves once per turn. What the kernel does not take at once waits, and what goes beyond a limit is dropped:
datagrams may be lost, and those that matter are sent again by CoAP itself.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from broker.core.channel import Channel
from broker.listeners.host import Host
from broker.listeners.loop import READABLE, WRITABLE
from oriole.logging import Log
from oriole.urls import Endpoint

READS_PER_TURN = 64
MAX_DATAGRAM_BYTES = 1 << 16
RECEIVE_BUFFER_BYTES = 1 << 20
"""Asked of the kernel, so that a burst of many devices waits there and is not lost. It may give less."""
MAX_UNSENT = 4096
"""Datagrams that wait for the kernel: beyond this, newer ones are dropped and counted."""

log = Log("udp")


class Exchanges(Protocol):
    """What handles a socket's datagrams: the message layer of CoAP."""

    def receive(self, datagram: bytes, address: Any, now: int) -> None:
        """A datagram came."""


class Port(Protocol):
    """What joins it to the engine."""

    @property
    def endpoint(self) -> Exchanges:
        """Where datagrams go."""

    def stir(self) -> None:
        """Datagrams came: see to the engine's turn and clock."""

    def take(self) -> list[tuple[bytes, Any]]:
        """Datagrams to send now, and where to."""


class UdpChannel(Channel):
    """A bound socket. It is never held: one slow client must not silence the others behind the same port."""

    __slots__ = ("_buffer", "_host", "_socket", "_unsent", "dropped", "port")

    def __init__(self, host: Host, bound: socket.socket) -> None:
        super().__init__(host.engine, bound.getsockname()[:2])
        self._host = host
        self._socket = bound
        self._buffer = bytearray(MAX_DATAGRAM_BYTES)
        self._unsent: list[tuple[bytes, Any]] = []
        self.dropped = 0
        self.port: Port

    def start(self, port: Port) -> None:
        """Begin to read for `port`."""
        self.port = port
        self._watch(READABLE)

    def _watch(self, events: int) -> None:
        self._host.loop.watch(self._socket.fileno(), events, self)

    def ready(self, events: int) -> None:
        """The socket can be read or written."""
        if events & WRITABLE:
            self._writable()
        if events & ~WRITABLE:
            self._readable()

    def _readable(self) -> None:
        host, buffer, receive = self._host, self._buffer, self.port.endpoint.receive
        view = memoryview(buffer)
        now = host.now()
        for _ in range(READS_PER_TURN):
            try:
                size, address = self._socket.recvfrom_into(buffer)
            except (BlockingIOError, InterruptedError):
                break
            except OSError as error:
                log.debug("cannot receive", reason=error.strerror)
                break
            receive(bytes(view[:size]), address, now)
        self.port.stir()
        host.wake()

    def flush(self) -> None:
        """Send what waits, as far as the kernel takes it."""
        datagrams = self.port.take()
        if self._unsent:
            room = MAX_UNSENT - len(self._unsent)
            self.dropped += max(0, len(datagrams) - room)
            self._unsent += datagrams[:room]
        elif self._socket.fileno() >= 0:
            self._send(datagrams)

    def _send(self, datagrams: list[tuple[bytes, Any]]) -> None:
        sendto = self._socket.sendto
        for index, (datagram, address) in enumerate(datagrams):
            try:
                sendto(datagram, address)
            except (BlockingIOError, InterruptedError):
                self._unsent = datagrams[index : index + MAX_UNSENT]
                self.dropped += len(datagrams) - index - len(self._unsent)
                self._watch(READABLE | WRITABLE)
                return
            except OSError as error:  # no route, a firewall: the same as lost on the way
                self.dropped += 1
                log.debug("cannot send", peer=address, reason=error.strerror)

    def _writable(self) -> None:
        self._watch(READABLE)
        unsent, self._unsent = self._unsent, []
        self._send(unsent)

    def broken(self, error: Exception) -> None:
        """A datagram was too much for us; the next is another's."""
        log.error("lost datagrams for a fault of ours", error)

    def resume(self) -> None:
        """Nothing to do: it is never held."""

    def shut(self) -> None:
        """Send what can be sent, then close the socket."""
        if self._socket.fileno() < 0:
            return
        self.flush()
        self._watch(0)
        self._socket.close()


class UdpListener:
    """A UDP address; each of its sockets becomes a channel with a port.

    Args:
        host: the loop that runs the engine.
        endpoint: where to listen; every address that its host name has is used.
        open_port: makes what handles a new channel's datagrams.
    """

    def __init__(self, host: Host, endpoint: Endpoint, open_port: Callable[[Channel], Port]) -> None:
        self._host = host
        self._endpoint = endpoint
        self._open_port = open_port
        self._channels: list[UdpChannel] = []

    def open(self) -> list[Endpoint]:
        """Listen; the addresses in use, with the port that port 0 became. Raises OSError."""
        number = self._endpoint.port
        found = socket.getaddrinfo(self._endpoint.host, number, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
        endpoints = []
        for family, kind, protocol, _, address in dict.fromkeys(found):
            bound = socket.socket(family, kind, protocol)
            try:
                bound.setblocking(False)
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
                if family == socket.AF_INET6:
                    bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                bound.bind((address[0], number, *address[2:]))
            except OSError:
                bound.close()
                raise
            number = bound.getsockname()[1]
            channel = UdpChannel(self._host, bound)
            self._channels.append(channel)
            channel.start(self._open_port(channel))
            endpoints.append(self._endpoint.with_port(number))
        return list(dict.fromkeys(endpoints))

    def close(self) -> None:
        """Send what is ready, then close."""
        for channel in self._channels:
            channel.shut()
        self._channels.clear()
