"""A serial cable: two pseudo-terminals joined through a link, one end for the gateway, one for the device.

What a reader does not take in time is lost, as on a UART without flow control; the protocol above has to live with it.
"""

import asyncio
import contextlib
import os
import tty

from .link import Link, Parcel, Way

READ_BYTES = 4096  # a pseudo-terminal hands out no more at once


class Cable:
    """`up` is from the device to the gateway. Both ends stay open here, so that either side can close and come back."""

    __slots__ = ("_fds", "_link", "_loop", "lost_bytes")

    def __init__(self, link: Link) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._fds: list[int] = []
        self.lost_bytes = 0

    def open(self) -> tuple[str, str]:
        """Make the terminals; returns the paths of the gateway's end and of the device's."""
        gateway, gateway_path = self._terminal()
        device, device_path = self._terminal()
        self._loop.add_reader(device, self._carry, device, gateway, self._link.up)
        self._loop.add_reader(gateway, self._carry, gateway, device, self._link.down)
        return gateway_path, device_path

    def close(self) -> None:
        """Take the terminals away: whoever has one open reads an error, as after pulling a plug."""
        for fd in self._fds:
            self._loop.remove_reader(fd)
            os.close(fd)
        self._fds.clear()

    def _terminal(self) -> tuple[int, str]:
        """A raw terminal: our end's descriptor, and the path of the other."""
        ours, theirs = os.openpty()
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        self._fds += [ours, theirs]
        return ours, os.ttyname(theirs)

    def _carry(self, source: int, sink: int, way: Way) -> None:
        with contextlib.suppress(BlockingIOError):
            data = os.read(source, READ_BYTES)
            way.send(Parcel(lambda data: self._write(sink, data), data, stream=False))

    def _write(self, sink: int, data: bytes) -> None:
        if not self._fds:
            return
        try:
            written = os.write(sink, data)
        except BlockingIOError:
            written = 0
        self.lost_bytes += len(data) - written
