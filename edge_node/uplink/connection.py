"""The shell of an uplink: has the centre dialled, owns the connection, comes back when the link does.

A lost link is tried again at once and then once a second, however long it was down: what a growing pause saves the
centre, it costs the house in minutes of darkness after each outage. Several addresses are tried in turn. Only where
none of them wants us is it left at a try every ten seconds: that is for a person to change.

A link that fails silently leaves a connection that neither end knows to be dead, and after it heals the kernel's own
retransmissions wait for as long again as it was gone. So when the centre owes an answer, a second connection is tried
beside the first. If it is there before the answer, it takes the first one's place.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import random
from collections.abc import Sequence

from broker.listeners.host import Host
from edge_node.uplink.dialler import Dialler, Line
from edge_node.uplink.uplink import Uplink
from oriole.logging import Log
from oriole.urls import Endpoint

CONNECT_TIMEOUT_S = 2.0
"""Two SYNs (at 0 and 1 second), so that one leaves every second, and a satellite's round trip."""
RETRY_S = 1.0
"""From one attempt to the next, at most; half of it at least: a thousand edges do not come back as one."""
UNWELCOME_RETRY_S = 10.0
"""The same where the centre does not want us: no link is missed by it, and a wrong password is not tried a thousand
times an hour.
"""
LOOK_S = 0.5
"""How often it is looked whether the centre still answers."""

log = Log("uplink")


class UplinkConnection:
    """Keeps an uplink connected.

    Args:
        host: the loop.
        uplink: what decides; it gets a channel whenever there is one.
        addresses: where the centre is, in the order of preference.
        dialler: what connects.
        chance: spreads the attempts of many edges.
    """

    def __init__(
        self, host: Host, uplink: Uplink, addresses: Sequence[Endpoint], dialler: Dialler, chance: random.Random
    ) -> None:
        self._host = host
        self._uplink = uplink
        self._addresses = itertools.cycle(addresses)
        self._address_count = len(addresses)
        self._dialler = dialler
        self._chance = chance
        self._line: Line | None = None
        self._task: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self._failed = False

    def open(self) -> None:
        """Begin to connect."""
        self._task = self._host.loop.create_task(self._keep_connected())

    def close(self) -> None:
        """Say goodbye and stop."""
        if self._task is not None:
            self._task.cancel()
        if self._line is not None:
            self._uplink.leave(self._host.now())

    async def _keep_connected(self) -> None:
        loop = self._host.loop
        refusals = 0  # by one address after the other
        while True:
            address = next(self._addresses)
            share = self._chance.uniform(0.5, 1.0)
            began_at = loop.time()
            connected = await self._try(address)
            refused = False
            while connected is not None:
                self._serve(connected, address)
                connected = await self._replacement(address)
                refused = self._uplink.unwelcome
            refusals = refusals + 1 if refused else 0
            pause_s = UNWELCOME_RETRY_S if refusals >= self._address_count else RETRY_S
            await asyncio.sleep(max(0.0, began_at + share * pause_s - loop.time()))

    async def _try(self, address: Endpoint) -> Line | None:
        try:
            return await asyncio.wait_for(self._dialler.dial(address), CONNECT_TIMEOUT_S)
        except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: a name that no resolver takes
            self._say_once(address, error)
            return None

    async def _replacement(self, address: Endpoint) -> Line | None:
        """Wait for the end of the connection; or for one that was there before the centre's answer on the first."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), LOOK_S)
            line = self._line
            if line is None:
                return None
            if not self._uplink.silent(self._host.now()):
                continue
            second = await self._try(address)
            if second is None:
                continue
            if self._line is None or self._uplink.silent(self._host.now()):
                line.abort()
                return second
            second.abort()

    def _serve(self, line: Line, address: Endpoint) -> None:
        self._failed = False
        self._ended.clear()
        self._line = line
        password = address.password.encode() if address.password is not None else None
        self._uplink.client.identify(address.username, password)
        self._uplink.open(line.start(self), self._host.now())
        self._host.wake()

    def _say_once(self, address: Endpoint, error: OSError | UnicodeError) -> None:
        if not self._failed:
            self._failed = True
            log.warning("not there, trying on", centre=address, reason=_reason(error))

    # The channel's stream: the uplink's, and a note of its end.

    def receive(self, data: bytes, now: int) -> None:
        """Bytes from the centre."""
        self._uplink.receive(data, now)

    def resume(self, now: int) -> None:
        """The channel is read again."""
        self._uplink.resume(now)

    def closed(self, now: int) -> None:
        """The connection is gone: connect again."""
        self._line = None
        self._uplink.closed(now)
        self._ended.set()


def _reason(error: OSError | UnicodeError) -> str:
    """In the system's words; asyncio's repeat the number and the address."""
    if not isinstance(error, OSError):
        return str(error)
    if error.errno is not None and error.errno > 0:  # the resolver's are negative
        return os.strerror(error.errno)
    return error.strerror or str(error) or "no answer in time"
