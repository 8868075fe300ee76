"""Hears from the system that a link came up or got another address: a cable, a modem, Wi-Fi. It says so, and no more.

On Linux the kernel tells whoever listens (rtnetlink(7)); elsewhere nobody does, and the uplink finds out by trying.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from contextlib import suppress
from typing import Final

GROUPS: Final = 0x1 | 0x10 | 0x40 | 0x100 | 0x400
"""RTMGRP_LINK, and addresses and routes of IPv4 and IPv6."""
MOST_BYTES: Final = 65_536


class LinkWatch:
    """Calls `on_change` when something about the machine's links has changed.

    Args:
        loop: where it is called.
        on_change: told once for all that came together.
    """

    __slots__ = ("_loop", "_on_change", "_socket")

    def __init__(self, loop: asyncio.AbstractEventLoop, on_change: Callable[[], None]) -> None:
        self._loop = loop
        self._on_change = on_change
        self._socket: socket.socket | None = None

    def open(self) -> None:
        """Listen, where there is something to listen to."""
        if not hasattr(socket, "AF_NETLINK"):
            return
        with suppress(OSError):  # a sandbox without it: trying will do
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_NONBLOCK)
            self._socket.bind((0, GROUPS))
            self._loop.add_reader(self._socket, self._hear)

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            self._loop.remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _hear(self) -> None:
        assert self._socket is not None
        with suppress(BlockingIOError):
            while True:
                try:
                    self._socket.recv(MOST_BYTES)
                except BlockingIOError:
                    raise
                except OSError:  # ENOBUFS: so much has changed that some of it is lost
                    break
        self._on_change()
