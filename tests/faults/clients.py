"""Publishers and subscribers whose sessions outlive everything that is done to their connections.

They are `oriole.link.mqtt` clients on real sockets: the state of a session (packet identifiers, what is to be sent
again with DUP, the QoS 2 exchanges both ways) is the client's, and lives as long as a run. A QoS 2 message counts as
acknowledged when its exchange is complete, for which the end of a run waits.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace

from faults import schedule
from faults.checker import Notes, Seen, Sent, padded
from oriole.link.mqtt import (
    Client,
    ClientConfig,
    Connected,
    ConnectRefused,
    Disconnected,
    MessageReceived,
    Published,
    Subscribed,
)
from oriole.link.mqtt.events import Event
from oriole.wire.mqtt import V5, Subscription

MOST_UNSETTLED = 300
"""Messages that a publisher has on the way before it waits."""
EXPIRY_S = 3600
MOST_HURRY_S = 0.04
"""Between two attempts to connect."""

Clock = Callable[[], float]
"""Seconds since the run began."""
Port = Callable[[], int | None]
"""Where the broker listens now; None: nowhere."""


class Link(asyncio.Protocol):
    """One connection of a peer. What arrives after the peer has another one, or has cut it off, was never read."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._peer.link is self:
            self._peer.hear(data)

    def connection_lost(self, _: Exception | None) -> None:
        if self._peer.link is self:
            self._peer.lose()


class Peer:
    """What publishers and subscribers share: to be connected whenever they may, and to suffer.

    Attributes:
        link: the connection; None: there is none.
        complaints: what a broker must not do and did, in words.
        is_known: whether the broker has promised to know this session.
    """

    def __init__(self, name: str, config: ClientConfig, port: Port, clock: Clock, chance: random.Random) -> None:
        self.name = name
        self.client = Client(replace(config, client_identifier=name))
        self.link: Link | None = None
        self.complaints: list[str] = []
        self.is_known = False
        self.clock = clock
        self.chance = chance
        self._port = port
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
                await self._connect()
        finally:
            self.cut()

    async def _connect(self) -> None:
        port = self._port()
        if port is None:
            return
        try:
            _, link = await asyncio.get_running_loop().create_connection(lambda: Link(self), "127.0.0.1", port)
        except OSError:
            return
        self._is_wanted.clear()
        self.client.closed(self.now)
        self.link = link
        self.client.connect(self.now)
        self.flush()

    @property
    def now(self) -> int:
        """The client's clock."""
        return time.monotonic_ns() // 1_000_000

    def flush(self) -> None:
        """Write what the client has to say."""
        data = self.client.outgoing()
        if self.link is not None and self.link.transport is not None and not self.link.transport.is_closing():
            self.link.transport.write(data)
            if self.client.closing:
                self.link.transport.close()

    def hear(self, data: bytes) -> None:
        """Bytes from the broker."""
        for event in self.client.receive(data, self.now):
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
        """What a publisher or a subscriber makes of an event."""

    def lose(self) -> None:
        """The connection is gone: there will be another."""
        self.link = None
        self.client.closed(self.now)
        self._is_wanted.set()

    # ---- What is done to it

    def cut(self) -> None:
        """Cut the connection off, with whatever was not read."""
        if self.link is not None:
            transport = self.link.transport
            self.lose()
            if transport is not None:
                transport.abort()

    def cut_mid_packet(self, strength: float) -> None:
        """The same within a packet."""
        data = self.client.outgoing()
        if self.link is not None and self.link.transport is not None:
            self.link.transport.write(data[: int(len(data) * strength)])
            self.link.transport.close()
            self.lose()

    async def be_deaf(self, for_s: float) -> None:
        """Read nothing, and then lose it."""
        link = self.link
        if link is not None and link.transport is not None:
            link.transport.pause_reading()
            await asyncio.sleep(for_s)
            if self.link is link:
                self.cut()

    async def pause(self, for_s: float) -> None:
        """Leave, and come back."""
        self._comes_back.clear()
        self.cut()
        await asyncio.sleep(for_s)
        self._comes_back.set()

    def take_over(self) -> None:
        """Come in by a second connection, while the first stands; it is the broker who closes that."""
        self._is_wanted.set()


class Publisher(Peer):
    """Publishes, and notes what was acknowledged."""

    def __init__(self, plan: schedule.Publisher, port: Port, clock: Clock, chance: random.Random) -> None:
        config = ClientConfig(version=plan.version, clean_start=False, session_expiry_interval=EXPIRY_S, keep_alive=0)
        super().__init__(plan.name, config, port, clock, chance)
        self._plan = plan
        self.sent: list[Sent] = []
        self._on_the_way: dict[int, Sent] = {}

    @property
    def unanswered(self) -> list[Sent]:
        """What it has published and knows nothing of."""
        return list(self._on_the_way.values())

    async def speak(self) -> None:
        """Publish until cancelled."""
        while True:
            await asyncio.sleep(self.chance.uniform(0, 2 * self._plan.interval_ms) / 1000)
            for _ in range(self.chance.choice((1, 1, 1, 4))):
                if self.client.unsettled < MOST_UNSETTLED:
                    self._publish()
            self.flush()

    def _publish(self) -> None:
        chance, plan, number = self.chance, self._plan, len(self.sent)
        retain = chance.random() < 0.3
        padding_bytes = chance.randint(0, plan.most_padding_bytes)
        payload = padded(self.name, number, padding_bytes)
        if retain:
            topic, qos = f"r/{self.name}/{chance.randint(0, 1)}", plan.retained_qos
            payload = b"" if chance.random() < plan.deletes else payload
        else:
            topic, qos = f"t/{chance.randrange(schedule.CROWD_TOPICS)}", chance.choice((1, 2))
        message = Sent(self.name, number, topic, qos, retain, payload, self.clock())
        identifier = self.client.publish(topic, payload, qos, retain, now=self.now)
        assert identifier is not None
        self.sent.append(message)
        self._on_the_way[identifier] = message

    def cut_mid_packet(self, strength: float) -> None:
        """Within a PUBLISH."""
        self._publish()
        super().cut_mid_packet(strength)

    def on(self, event: Event) -> None:
        """Acknowledgements."""
        if isinstance(event, Published):
            message = self._on_the_way.pop(event.packet_identifier)
            if event.reason_code < 0x80:
                message.acknowledged_s = self.clock()
                self.is_known = True


class Subscriber(Peer):
    """Subscribes, and notes what it sees."""

    def __init__(self, plan: schedule.Subscriber, port: Port, clock: Clock, chance: random.Random) -> None:
        config = ClientConfig(
            version=plan.version,
            clean_start=False,
            session_expiry_interval=EXPIRY_S,
            keep_alive=0,
            receive_maximum=plan.receive_maximum if plan.version == V5 else 65_535,
            manual_acknowledgement=True,
        )
        super().__init__(plan.name, config, port, clock, chance)
        self._plan = plan
        self.notes = Notes(plan.name)
        self.is_subscribed = asyncio.Event()
        self._held: list[MessageReceived] | None = None

    def on(self, event: Event) -> None:
        """Messages, and the answer to what it asked for."""
        if isinstance(event, MessageReceived):
            seen = Seen(self.clock(), event.topic, event.payload, event.qos, event.dup, event.retain)
            self.notes.seen.append(seen)
            if self._held is None:
                self.client.acknowledge(event, now=self.now)
            else:
                self._held.append(event)
        elif isinstance(event, Connected) and not (event.session_present and self.notes.granted):
            wanted = [Subscription(filter, qos) for filter, qos in self._plan.filters]
            self.client.subscribe(wanted, now=self.now)
        elif isinstance(event, Subscribed):
            self.is_known = True
            for (filter, _), code in zip(self._plan.filters, event.reason_codes, strict=True):
                self.notes.granted.setdefault(filter, (code, self.clock()))
            self.is_subscribed.set()

    async def hold_acknowledgements(self, for_s: float) -> None:
        """Take messages, and say nothing for a while."""
        if self._held is not None:
            return
        self._held = []
        try:
            await asyncio.sleep(for_s)
        finally:
            held, self._held = self._held, None
            for message in held:
                self.client.acknowledge(message, now=self.now)
            self.flush()
