"""A port on MQTT for devices in bulk: its connections are sockets that the loop of all serves."""

import errno
import os
import socket
from collections.abc import Sequence
from functools import partial
from typing import Final

from firmware_sim.devices.clock import SECOND_NS
from firmware_sim.devices.port import Access
from firmware_sim.ports.session import MqttSession
from firmware_sim.ports.silence import abort, silence

from .loop import READABLE, WRITABLE, Loop

CONNECT_S: Final = 20
"""How long a broker may take to accept a connection."""

_READ_BYTES: Final = 1 << 16
_IP_BIND_ADDRESS_NO_PORT: Final = 24
"""Linux: choose the port when it is known where to, so that each source address has all ports for each destination."""


class BulkPort(MqttSession[tuple[str, int]]):
    """See `firmware_sim.devices.port.Port`; to the loop it is a `Source`.

    Args:
        loop: serves its socket.
        access: who it is.
        addresses: where to connect; the first until it roams.
        source: the address to connect from; empty for any.
        seed: what its pauses between attempts come from, with its name.
    """

    __slots__ = ("_is_dialling", "_is_stalled", "_loop", "_silent", "_socket", "_source", "_unsent")

    def __init__(
        self, loop: Loop, access: Access, addresses: Sequence[tuple[str, int]], source: str = "", seed: int = 0
    ) -> None:
        super().__init__(loop, access, addresses, seed)
        self._loop = loop
        self._source = source
        self._socket: socket.socket | None = None
        self._silent: socket.socket | None = None
        self._unsent = b""
        self._is_dialling = False
        self._is_stalled = False

    def stall(self, stalled: bool) -> None:
        """See `Port`."""
        self._is_stalled = stalled
        self._watch()

    async def close(self) -> None:
        """See `Port`. What was written leaves without it."""
        await super().close()
        self._release_silent()

    def _dial(self, address: tuple[str, int]) -> None:
        try:
            self._socket = sock = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._source:
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((self._source, 0))
            code = sock.connect_ex(address)
        except OSError as error:
            code = error.errno or errno.EIO
        if code not in (0, errno.EINPROGRESS):
            self._failed(os.strerror(code))
            return
        self._is_dialling = True
        self._watch()
        self._loop.at(self._loop.now_ns() + CONNECT_S * SECOND_NS, partial(self._give_up, self._attempt))

    def _give_up(self, attempt: int) -> None:
        if self._is_dialling and attempt == self._attempt:
            self._failed(os.strerror(errno.ETIMEDOUT))

    def ready(self, events: int) -> None:
        """See `Source`."""
        sock = self._socket
        assert sock is not None
        if self._is_dialling:
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._failed(os.strerror(code))
                return
            self._is_dialling = False
            self._watch()
            self._opened()
        elif events & ~WRITABLE:
            self._read(sock)
        elif self._unsent:
            self._write(b"")

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._failed(str(error.strerror))
            return
        if data:
            self.receive(data)
        else:
            self._failed("the server closed the connection")

    def _write(self, data: bytes) -> None:
        assert self._socket is not None
        was_blocked = bool(self._unsent)
        self._unsent = data = self._unsent + data
        try:
            self._unsent = data[self._socket.send(data) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._failed(str(error.strerror))
            return
        if was_blocked != bool(self._unsent):
            self._watch()

    def _watch(self) -> None:
        if self._socket is None:
            return
        if self._is_dialling:
            events = WRITABLE
        else:
            events = (0 if self._is_stalled else READABLE) | (WRITABLE if self._unsent else 0)
        self._loop.watch(self._socket.fileno(), events, self)

    def _hang_up(self, silently: bool) -> None:
        sock, self._socket = self._socket, None
        self._is_dialling = False
        self._unsent = b""
        if sock is None:
            return
        self._loop.ignore(sock.fileno())
        if silently:
            self._release_silent()
            silence(sock)
            self._silent = sock
        else:
            sock.close()

    def _release_silent(self) -> None:
        """Let go of a connection that ended in silence."""
        if self._silent is not None:
            abort(self._silent)
            self._silent = None

    def _failed(self, reason: str) -> None:
        host, port = self._addresses[0]
        self._lost(f"{host}:{port}: {reason}")
