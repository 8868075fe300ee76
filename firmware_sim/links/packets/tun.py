"""A TUN device: what the kernel sends to it is read here, what is written here the kernel receives.

It belongs to the namespace of the thread that makes it and is gone when its descriptor closes. Packets are whole IP
packets of at most 1500 bytes as they would be on a wire: no offload is asked for, so none is larger and every checksum
is right.
"""

import fcntl
import os
import socket
import struct
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Final

MAX_PACKET_BYTES: Final = 1500
"""The MTU that the kernel gives to a TUN device."""
QUEUE_PACKETS: Final = 10_000  # what may wait for us: the bottleneck's buffer is the model's, this one must not decide

TUNSETIFF: Final = 0x4004_54CA
IFF_UP: Final = 0x0001
IFF_TUN: Final = 0x0001
IFF_NOARP: Final = 0x0080
IFF_NO_PI: Final = 0x1000
SIOCSIFFLAGS: Final = 0x8914
SIOCSIFADDR: Final = 0x8916
SIOCSIFNETMASK: Final = 0x891C
SIOCSIFTXQLEN: Final = 0x8943

SENT_DROPPED: Final = 11  # the column of /proc/net/dev

_FLAGS: Final = struct.Struct("16sH22x")  # struct ifreq of <net/if.h>, by what its union holds
_NUMBER: Final = struct.Struct("16si20x")
_ADDRESS: Final = struct.Struct("16sH2x4s16x")


class Tun:
    """A device called `name`, of at most 15 bytes, that is up as soon as it has an address. Raises OSError."""

    __slots__ = ("_fd", "_name")

    def __init__(self, name: str) -> None:
        self._name = name.encode()
        self._fd = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            fcntl.ioctl(self._fd, TUNSETIFF, _FLAGS.pack(self._name, IFF_TUN | IFF_NO_PI))
            _configure(SIOCSIFTXQLEN, _NUMBER.pack(self._name, QUEUE_PACKETS))
        except OSError:
            os.close(self._fd)
            raise

    def fileno(self) -> int:
        """The descriptor, which is readable when there is a packet."""
        return self._fd

    def close(self) -> None:
        """Take the device away."""
        os.close(self._fd)

    def assign(self, interface: IPv4Interface) -> None:
        """Give it this address instead of its present one, from inside its namespace. Raises OSError."""
        _configure(SIOCSIFADDR, _ADDRESS.pack(self._name, socket.AF_INET, interface.packed))
        _configure(SIOCSIFNETMASK, _ADDRESS.pack(self._name, socket.AF_INET, interface.netmask.packed))
        _configure(SIOCSIFFLAGS, _FLAGS.pack(self._name, IFF_UP | IFF_NOARP))

    def read(self) -> bytes:
        """The next packet that the kernel sent. Raises BlockingIOError when there is none."""
        return os.read(self._fd, MAX_PACKET_BYTES)

    def write(self, packet: bytes) -> None:
        """Have the kernel receive `packet`. Raises OSError when the device was taken down."""
        os.write(self._fd, packet)

    def dropped(self) -> int:
        """What the kernel sent and nobody read while there was room, in packets. Ask from inside its namespace."""
        for line in Path("/proc/thread-self/net/dev").read_text().splitlines():
            name, _, numbers = line.partition(":")
            if name.strip() == self._name.decode():
                return int(numbers.split()[SENT_DROPPED])
        return 0


def raise_loopback() -> None:
    """Make 127.0.0.1 answer in the calling thread's namespace."""
    _configure(SIOCSIFFLAGS, _FLAGS.pack(b"lo", IFF_UP))


def _configure(request: int, argument: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, request, argument)
