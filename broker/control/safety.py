"""Waiting, in a command, until the journal has what the command did."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from broker.control.commands import RefusedError

if TYPE_CHECKING:
    from broker.listeners.host import Host


async def until_safe(host: Host) -> None:
    """Until all that was recorded so far is safe. Raises RefusedError where it never will be."""
    promise = _Waiting(host.loop.create_future())
    host.engine.promises.made.append(promise)
    host.wake()
    if not await promise.future:
        raise RefusedError("done, but the disk did not take it: after a restart it may be as it was before")


class _Waiting:
    """A promise to whoever waits for `future`."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[bool]) -> None:
        self.future = future

    def kept(self, now: int) -> None:
        """The journal has it."""
        if not self.future.done():  # nobody waits any more
            self.future.set_result(True)

    def broken(self, now: int) -> None:
        """It has not."""
        if not self.future.done():
            self.future.set_result(False)
