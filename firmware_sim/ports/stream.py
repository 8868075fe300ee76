"""A device's TCP connection, in the hands of a client that thinks it is a socket.

It is made without blocking anybody, in the network that it is to be in; it tells the device's meter what really goes
over it, which is the bytes of the protocol without those of TCP and IP; and it can end in silence.
"""

import asyncio
import socket
import time

from firmware_sim.devices.port import Meter
from oriole.urls import Endpoint

from .real import Inside
from .silence import abort, silence

CONNECT_S = 5.0


class Stream:
    """What paho-mqtt wants of a socket, and `account`, `fall_silent`, `end`."""

    __slots__ = ("_is_silent", "_meter", "_sock", "_unaccounted_bytes")

    def __init__(self, sock: socket.socket, meter: Meter | None) -> None:
        self._sock = sock
        self._meter = meter
        self._unaccounted_bytes = 0
        self._is_silent = False

    def recv(self, buffer_size: int) -> bytes:
        """As a socket's."""
        data = self._sock.recv(buffer_size)
        self._unaccounted_bytes += len(data)
        return data

    def send(self, buffer: bytes | bytearray) -> int:
        """As a socket's."""
        sent_bytes = self._sock.send(buffer)
        if self._meter is not None:
            self._meter.sent(sent_bytes, time.monotonic_ns())
        return sent_bytes

    def fileno(self) -> int:
        """As a socket's."""
        return self._sock.fileno()

    def setblocking(self, flag: bool) -> None:
        """As a socket's."""
        self._sock.setblocking(flag)

    def close(self) -> None:
        """As a socket's, unless it is silent: then it stays as it is until `end`."""
        if not self._is_silent:
            self._sock.close()

    def account(self) -> None:
        """Tell the meter what came in since the last time: a client reads a packet in several pieces."""
        if self._meter is not None and self._unaccounted_bytes:
            self._meter.received(self._unaccounted_bytes, time.monotonic_ns())
        self._unaccounted_bytes = 0

    def fall_silent(self) -> None:
        """The device has lost its power: hear nothing, and do not say goodbye when closed."""
        silence(self._sock)
        self._is_silent = True

    def end(self) -> None:
        """Give the socket back."""
        abort(self._sock)


async def dial(address: Endpoint, inside: Inside, meter: Meter | None) -> Stream:
    """Connect to the first of the host's addresses that answers. Raises OSError, without a text when none did."""
    loop = asyncio.get_running_loop()
    problem = OSError()
    for family, kind, protocol, _, where in await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM):
        with inside():
            sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # Nagle's 40 ms would be the device's own
            async with asyncio.timeout(CONNECT_S):
                await loop.sock_connect(sock, where)
        except OSError as error:
            sock.close()
            problem = error
        except BaseException:
            sock.close()
            raise
        else:
            return Stream(sock, meter)
    raise problem
