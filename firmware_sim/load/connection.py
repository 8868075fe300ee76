"""One client's socket: what arrived and is not a whole packet yet, and what the kernel has not taken yet."""

import select
import socket
from typing import Protocol

from firmware_sim.load.errors import LoadError
from oriole.wire.mqtt import MqttError

_CHUNK_BYTES = 1 << 18
_MOST_PARTIAL_BYTES = 1 << 21
"""More than the largest packet of any workload."""


class Receiver(Protocol):
    """The end of a connection that understands the bytes."""

    def receive(self, data: bytes, now: int) -> int:
        """Take the whole packets at the front of `data`; returns how many bytes they were.

        Raises LoadError; MqttError for what is no packet.
        """


class Connection:
    """A non-blocking TCP connection registered with `poller`; bytes go to `receiver`.

    Raises LoadError when the broker is not there or closes it.
    """

    __slots__ = ("_blocked", "_partial", "_poller", "_socket", "_unsent", "receiver")

    receiver: Receiver

    def __init__(self, address: tuple[str, int], poller: select.epoll) -> None:
        try:
            self._socket = socket.create_connection(address, timeout=10)
        except OSError as error:
            raise LoadError(f"cannot connect to {address[0]} port {address[1]}: {error.strerror or error}") from error
        self._socket.setblocking(False)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._poller = poller
        self._partial = b""
        self._unsent = bytearray()
        self._blocked = False
        poller.register(self._socket, select.EPOLLIN)

    def fileno(self) -> int:
        """The socket's number, by which the poller tells its events."""
        return self._socket.fileno()

    @property
    def unsent_bytes(self) -> int:
        """Bytes that wait for the next flush or for the kernel."""
        return len(self._unsent)

    def put(self, data: bytes | bytearray) -> None:
        """Queue bytes for the next flush."""
        self._unsent += data

    def flush(self) -> None:
        """Send what is queued, unless the kernel was full last time: then `writable` will come."""
        if self._unsent and not self._blocked:
            self.writable()

    def writable(self) -> None:
        """The kernel may take more: send what is queued."""
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            pass
        except OSError as error:
            raise _lost(error) from error
        if self._blocked != bool(self._unsent):
            self._blocked = not self._blocked
            self._poller.modify(self._socket, select.EPOLLIN | (select.EPOLLOUT if self._blocked else 0))

    def readable(self, now: int) -> None:
        """Hand everything that has arrived to the receiver, then send what it answered."""
        while True:
            try:
                data = self._socket.recv(_CHUNK_BYTES)
            except BlockingIOError:
                break
            except OSError as error:
                raise _lost(error) from error
            if not data:
                raise LoadError("the broker closed a connection")
            full = len(data) == _CHUNK_BYTES
            if self._partial:
                data = self._partial + data
            try:
                taken = self.receiver.receive(data, now)
            except MqttError as error:
                raise LoadError(f"the broker sent what is no packet: {error}") from error
            self._partial = data[taken:]
            if len(self._partial) > _MOST_PARTIAL_BYTES:
                raise LoadError("the broker sends a packet larger than any that was published")
            if not full:
                break
        self.flush()

    def close(self) -> None:
        """Close the socket, whatever waits in it."""
        self._socket.close()


def _lost(error: OSError) -> LoadError:
    return LoadError(f"a connection broke: {error.strerror or error}")
