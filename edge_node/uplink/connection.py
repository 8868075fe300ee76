"""The shell of an uplink: has the centre dialled, owns the connection, comes back when the link does.

A lost link is tried again at once and then once a second, however long it was down: what a growing pause saves the
centre, it costs the house in minutes of darkness after each outage. Several addresses are tried in turn. Only where
none of them wants us is it left at a try every ten seconds: that is for a person to change.

A link that fails silently leaves a connection that neither end knows to be dead, and after it heals the kernel's own
retransmissions wait for as long again as it was gone. So when the centre owes an answer, a second connection is tried
beside the first. If it is there before the answer, it takes the first one's place. When the system says that a link
came up, all that is done at once.
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
        self._changed = asyncio.Event()  # links of this machine
        self._failed = False

    def open(self) -> None:
        """Begin to connect."""
        self._dialler.watch(self._changed.set)
        self._task = self._host.loop.create_task(self._keep_connected())

    def close(self) -> None:
        """Say goodbye and stop."""
        self._dialler.close()
        if self._task is not None:
            self._task.cancel()
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
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(0.0, began_at + share * pause_s - loop.time()))

    async def _try(self, address: Endpoint) -> Line | None:
        """Connect; begin anew where links change meanwhile, for the way may be open now."""
        while True:
            self._changed.clear()
            dialling = asyncio.ensure_future(self._dialler.dial(address))
            changed = asyncio.ensure_future(self._changed.wait())
            try:
                await asyncio.wait((dialling, changed), timeout=CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
                if dialling.done():
                    return dialling.result()
                if not changed.done():
                    raise TimeoutError
            except (OSError, TimeoutError, UnicodeError) as error:  # UnicodeError: a name that no resolver takes
                self._say_once(address, error)
                return None
            finally:
                dialling.cancel()
                changed.cancel()

    async def _replacement(self, address: Endpoint) -> Line | None:
        """Wait for the end of the connection; or for one that was there before the centre's answer on the first."""
        while True:
            await self._something(LOOK_S)
            line = self._line
            if line is None:
                return None
            has_changed = self._changed.is_set()
            if has_changed:
                self._uplink.probe(self._host.now())
                self._host.wake()
            elif not self._uplink.silent(self._host.now()):
                continue
            second = await self._try(address)
            if second is None:
                continue
            is_doubtful = self._uplink.is_waiting if has_changed else self._uplink.silent(self._host.now())
            if self._line is None or is_doubtful:
                line.abort()
                return second
            second.abort()

    async def _something(self, timeout_s: float) -> None:
        """Wait until the connection has ended, or links have changed; so long at most."""
        waits = [asyncio.ensure_future(event.wait()) for event in (self._ended, self._changed)]
        try:
            await asyncio.wait(waits, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _serve(self, line: Line, address: Endpoint) -> None:
        self._failed = False
        self._ended.clear()
        self._line = line
        password = address.password.encode() if address.password is not None else None
        self._uplink.client.identify(address.username, password)
        self._uplink.open(line.start(self), self._host.now(), line.unsent_bytes)
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
