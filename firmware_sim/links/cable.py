"""A serial cable: two pseudo-terminals joined through a link, one end for the gateway, one for the device.

Each end has a name that stays, in a folder, while the terminals behind the names come and go with the plug. What a
reader does not take in time is lost, as on a UART without flow control; the protocol above has to live with it.
"""

import asyncio
import contextlib
import os
import tty
from pathlib import Path
from random import Random

from .link import Link
from .noise import Noise
from .way import Way

READ_BYTES = 4096  # a pseudo-terminal hands out no more at once


class Cable:
    """`up` is from the device to the gateway. Both ends stay open here, so that either side can close and come back."""

    __slots__ = ("_fds", "_link", "_loop", "_noise", "_paths", "_plugs", "_random")

    def __init__(self, link: Link, gateway: Path, device: Path, random: Random) -> None:
        self._link = link
        self._loop = asyncio.get_running_loop()
        self._paths = (gateway, device)
        self._random = random
        self._noise: Noise | None = None
        self._fds: list[int] = []  # of each end ours and theirs
        self._plugs = 0

    def plug(self) -> None:
        """Make the terminals, if they are not there."""
        if self._fds:
            return
        self._plugs += 1
        gateway, device = (self._terminal(path) for path in self._paths)
        self._loop.add_reader(device, self._carry, device, gateway, self._link.up)
        self._loop.add_reader(gateway, self._carry, gateway, device, self._link.down)

    def unplug(self) -> None:
        """Take the terminals away: whoever has one open reads an error or the end, and what is under way is lost."""
        for path in self._paths:
            path.unlink(missing_ok=True)
        for fd in self._fds:
            self._loop.remove_reader(fd)
            os.close(fd)
        self._fds.clear()

    def disturb(self, damaged: float, inserted: float) -> None:
        """From now on such shares of the bytes are damaged, and inserted."""
        self._noise = Noise(self._random, damaged, inserted) if damaged or inserted else None

    def _terminal(self, path: Path) -> int:
        """A raw terminal called `path`; our end's descriptor."""
        ours, theirs = os.openpty()
        self._fds += [ours, theirs]
        tty.setraw(theirs)
        os.set_blocking(ours, False)
        path.symlink_to(os.ttyname(theirs))
        return ours

    def _carry(self, source: int, sink: int, way: Way) -> None:
        plug = self._plugs

        def receive(data: bytes, arrives_ns: int) -> None:
            if self._fds and self._plugs == plug:
                self._write(sink, data)

        with contextlib.suppress(BlockingIOError):
            data = os.read(source, READ_BYTES)
            self._link.send(way, receive, self._noise.disturb(data) if self._noise else data, len(data))

    def _write(self, sink: int, data: bytes) -> None:
        try:
            written = os.write(sink, data)
        except BlockingIOError:
            written = 0
        self._link.spilt_bytes += len(data) - written
