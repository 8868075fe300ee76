"""A device's UDP socket as aiocoap wants one: a transport to one server, and the context around it.

aiocoap's own transports make sockets when and where they like. This one is made in the network that it is to be in;
it tells the device's meter the size of every datagram, without the headers of UDP and IP; it can stop reading; and it
can end in silence.
"""

import asyncio
import socket
import time
from typing import Any

import aiocoap  # type: ignore[import-untyped]
from aiocoap import interfaces
from aiocoap.error import UnparsableMessage  # type: ignore[import-untyped]
from aiocoap.messagemanager import MessageManager  # type: ignore[import-untyped]
from aiocoap.tokenmanager import TokenManager  # type: ignore[import-untyped]

from firmware_sim.devices.port import Meter
from oriole.urls import Endpoint

from .real import Inside
from .silence import silence

MAX_DATAGRAM_BYTES = 0xFFFF


class Server(interfaces.EndpointAddress):  # type: ignore[misc]
    """The one that a socket is connected to, as aiocoap addresses it."""

    scheme = "coap"
    is_multicast = False
    is_multicast_locally = False
    maximum_block_size_exp = aiocoap.interfaces.MAX_REGULAR_BLOCK_SIZE_EXP

    def __init__(self, address: Endpoint) -> None:
        self._address = address

    @property
    def hostinfo(self) -> str:
        """Host and port."""
        return str(self._address).removeprefix("coap://")

    @property
    def hostinfo_local(self) -> str:
        """Nobody asks here for anything."""
        raise NotImplementedError

    @property
    def uri_base(self) -> str:
        """The beginning of a URL."""
        return str(self._address)

    uri_base_local = hostinfo_local
    blockwise_key = hostinfo


class Datagrams(interfaces.MessageInterface):  # type: ignore[misc]
    """A connected, non-blocking UDP socket."""

    def __init__(self, sock: socket.socket, address: Endpoint, meter: Meter | None) -> None:
        self.server = Server(address)
        self.context = aiocoap.Context()
        self._sock = sock
        self._meter = meter
        self._is_closed = False
        self._loop = asyncio.get_running_loop()
        tokens = TokenManager(self.context)
        tokens.token_interface = self._manager = MessageManager(tokens)
        self._manager.message_interface = self
        self.context.request_interfaces.append(tokens)

    def read(self, wanted: bool) -> None:
        """Take what comes, or leave it with the kernel, which drops what it cannot hold."""
        if wanted:
            self._loop.add_reader(self._sock, self._readable)
        else:
            self._loop.remove_reader(self._sock)

    def send_again(self, message: aiocoap.Message, observation: Any) -> None:
        """Ask once more for what is observed, under the same token (RFC 7641 §3.3.1): aiocoap itself takes a new one.

        The answer comes as a notification. If the server rejects the `message`, the `observation` ends.
        """
        self._manager.send_message(message, lambda: observation.error(aiocoap.error.ObservationCancelled()))

    def close(self, silently: bool) -> None:
        """Hear and say nothing any more; `silently` nothing is refused either, until `end`."""
        self._is_closed = True
        self.read(False)
        if silently:
            silence(self._sock)
        else:
            self._sock.close()

    def end(self) -> None:
        """Give the socket back."""
        self._sock.close()

    # ---- What aiocoap asks for

    def send(self, message: aiocoap.Message) -> None:
        """Send a message to the server. One that does not leave is lost, as any datagram may be."""
        if self._is_closed:
            return
        data = message.encode()
        try:
            self._sock.send(data)
        except BlockingIOError:
            return
        except OSError as error:
            self._loop.call_soon(self._failed, error)
            return
        if self._meter is not None:
            self._meter.sent(len(data), time.monotonic_ns())

    async def recognize_remote(self, remote: object) -> bool:
        """Whether `remote` is the server."""
        return remote is self.server

    async def determine_remote(self, message: aiocoap.Message) -> Server:
        """There is only one."""
        return self.server

    async def shutdown(self) -> None:
        """The context's end; `close` comes before it."""

    # ---- What the socket tells

    def _readable(self) -> None:
        try:
            data = self._sock.recv(MAX_DATAGRAM_BYTES)
        except BlockingIOError:
            return
        except OSError as error:  # ICMP: nobody is there
            self._failed(error)
            return
        if self._meter is not None:
            self._meter.received(len(data), time.monotonic_ns())
        try:
            message = aiocoap.Message.decode(data, remote=self.server)
        except UnparsableMessage:
            return
        self._manager.dispatch_message(message)

    def _failed(self, error: OSError) -> None:
        self._manager.dispatch_error(error, self.server)


async def connect(address: Endpoint, inside: Inside, meter: Meter | None) -> Datagrams:
    """A socket for the server at `address`; nothing is sent. Raises OSError."""
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_DGRAM)
    family, kind, protocol, _, where = found[0]
    with inside():
        sock = socket.socket(family, kind, protocol)
    try:
        sock.setblocking(False)
        sock.connect(where)
    except OSError:
        sock.close()
        raise
    return Datagrams(sock, address, meter)
