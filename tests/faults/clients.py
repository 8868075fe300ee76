"""What publishers, subscribers and testators share: a session that outlives everything that is done to its connections.

They are `oriole.link.mqtt` clients on real sockets: the state of a session (packet identifiers, what is to be sent
again with DUP, the QoS 2 exchanges both ways) is the client's, and lives as long as a run.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress

from faults import schedule
from faults.roads import Road
from oriole.link.mqtt import Client, ClientConfig, Connected, ConnectRefused, Disconnected
from oriole.link.mqtt.events import Event

EXPIRY_S = 3600
KEEP_ALIVE_S = 1
"""Over a link, which may be gone without a word."""
CONNECT_S = 3
"""So long a node may take to answer CONNECT there; elsewhere as long as it likes."""
MOST_HURRY_S = 0.04
"""Between two attempts to connect."""

Clock = Callable[[], float]
"""Seconds since the run began."""


class Connection(asyncio.Protocol):
    """One connection of a peer. What arrives after the peer has another one, or has cut it off, was never read."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self._peer.begin(self)

    def data_received(self, data: bytes) -> None:
        if self._peer.connection is self:
            self._peer.hear(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self._peer.connection is self:
            self._peer.lose()


def session(plan: schedule.Peer, **more: object) -> ClientConfig:
    """What every client asks for; `more` are further fields."""
    return ClientConfig(
        client_identifier=plan.name,
        version=plan.version,
        clean_start=False,
        session_expiry_interval=EXPIRY_S,
        keep_alive=KEEP_ALIVE_S if plan.link else 0,
        connect_timeout_s=CONNECT_S if plan.link else EXPIRY_S,
        **more,  # type: ignore[arg-type]
    )


class Peer:
    """A client that is connected whenever it may, and suffers.

    Attributes:
        connection: the present one; None: there is none.
        complaints: what a node must not do and did, in words.
        is_known: whether the node has promised to know this session.
        connections: how many there were.
    """

    def __init__(self, config: ClientConfig, road: Road, clock: Clock, chance: random.Random) -> None:
        self.name = config.client_identifier
        self.client = Client(config)
        self.connection: Connection | None = None
        self.complaints: list[str] = []
        self.is_known = False
        self.connections = 0
        self.clock = clock
        self.chance = chance
        self._road = road
        self._comes_back = asyncio.Event()
        self._comes_back.set()
        self._is_wanted = asyncio.Event()
        self._is_wanted.set()

    # ---- The connection

    async def live(self) -> None:
        """Connect, again and again, until cancelled."""
        try:
            while True:
                await self._is_wanted.wait()
                await self._comes_back.wait()
                await asyncio.sleep(self.chance.uniform(0, MOST_HURRY_S))
                with suppress(OSError):
                    await self._road.dial(lambda: Connection(self))
        finally:
            self.cut()

    def begin(self, connection: Connection) -> None:
        """There is a new connection."""
        self._is_wanted.clear()
        self.client.closed(self.now)
        self.connection = connection
        self.connections += 1
        self.client.connect(self.now)
        self.flush()

    @property
    def now(self) -> int:
        """The client's clock."""
        return time.monotonic_ns() // 1_000_000

    def flush(self) -> None:
        """Write what the client has to say."""
        data = self.client.outgoing()
        transport = self.connection.transport if self.connection is not None else None
        if transport is not None and not transport.is_closing():
            transport.write(data)
            if self.client.closing:
                transport.close()

    def hear(self, data: bytes) -> None:
        """Bytes from the node."""
        self._handle(self.client.receive(data, self.now))

    def tick(self) -> None:
        """Some time has passed: is anybody there?"""
        self._handle(self.client.tick(self.now))
        if self.client.closing:
            self.cut()

    def _handle(self, events: list[Event]) -> None:
        for event in events:
            self._basics(event)
            self.on(event)
        self.flush()

    def _basics(self, event: Event) -> None:
        if isinstance(event, Connected):
            if self.is_known and not event.session_present:
                self._complain("the session is forgotten")
        elif isinstance(event, ConnectRefused):
            self._complain(f"CONNECT was refused: {event.reason_code.name}")
        elif isinstance(event, Disconnected) and not event.text.startswith("the server"):
            self._complain(event.text)

    def _complain(self, text: str) -> None:
        self.complaints.append(f"{self.name}, at {self.clock():.3f} s: {text}")

    def on(self, event: Event) -> None:
        """What a kind of peer makes of an event."""

    def lose(self) -> None:
        """The connection is gone: there will be another."""
        self.connection = None
        self.client.closed(self.now)
        self._is_wanted.set()

    # ---- What is done to it

    def cut(self) -> None:
        """Cut the connection off, with whatever was not read."""
        if self.connection is not None:
            transport = self.connection.transport
            self.lose()
            if transport is not None:
                transport.abort()

    def cut_mid_packet(self, strength: float) -> None:
        """The same within a packet."""
        data = self.client.outgoing()
        if self.connection is not None and self.connection.transport is not None:
            self.connection.transport.write(data[: int(len(data) * strength)])
            self.connection.transport.close()
            self.lose()

    async def be_deaf(self, for_s: float) -> None:
        """Read nothing, and then lose it."""
        connection = self.connection
        if connection is not None and connection.transport is not None and not connection.transport.is_closing():
            connection.transport.pause_reading()
            await asyncio.sleep(for_s)
            if self.connection is connection:
                self.cut()

    async def pause(self, for_s: float) -> None:
        """Leave, and come back."""
        self._comes_back.clear()
        self.cut()
        await asyncio.sleep(for_s)
        self._comes_back.set()

    def take_over(self) -> None:
        """Come in by a second connection, while the first stands; it is the node who closes that."""
        self._is_wanted.set()
