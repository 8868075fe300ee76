"""What the uplink decides: what goes up, what comes down, and when which is acknowledged. Sans-I/O, like the engine.

On its router it is a sink subscribed to everything but `$`, the interest that fetches what local sinks want, and the
arbiter of retained values. Towards the centre it is an MQTT 5 client with a session, and, if the centre is an Oriole
node, with stamps (docs/uplink.md).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from broker.core.channel import Channel
from broker.core.message import Message
from broker.core.pressure import HIGH_WATER_BYTES
from broker.core.records import Accepted
from broker.core.router import Router
from broker.core.settlement import Outcome, Reason
from broker.core.sink import OneByOne
from broker.mqtt.forms import message_properties, read_header
from edge_node.uplink.convergence import Convergence, Ruling
from edge_node.uplink.interests import Interests
from edge_node.uplink.outbox import Outbox
from oriole.link.mqtt import (
    Client,
    Connected,
    ConnectRefused,
    Disconnected,
    Event,
    MessageReceived,
    Published,
    PublishRefused,
    QueueFull,
)
from oriole.link.uplink import SNAPSHOT_END, Greeting, Stamp, StampError
from oriole.link.uplink.stamps import without_stamps
from oriole.wire.mqtt import ReasonCode, Subscription

TRAFFIC_CLASS = "normal"
"""The one class so far; alarm and bulk come with the spool."""
WINDOW = 128
"""Messages on the way to the centre at once: enough for 3,000 a second over a 40 ms link."""
LINGER_MS = 30_000
"""How long a filter that nobody wants any more stays subscribed: a client that reconnects costs no new snapshot."""
FILTERS_PER_SUBSCRIBE = 200
RETRY_MS = 1_000
"""Pause after the centre refused a message for lack of room."""


class UplinkForm(OneByOne):
    """Messages for the uplink: one by one, as values."""

    __slots__ = ()
    takes = 0

    def merge(self, other: UplinkForm) -> UplinkForm:
        """There is one subscription."""
        return self

    def deliver(self, message: Message, sinks: Sequence[Uplink], now: int) -> None:
        """Send a message up, unless it came from there."""
        for uplink in sinks:
            if message.origin is not uplink:
                uplink.send(message, now)

    def forward(self, packets: bytes, count: int, sinks: Sequence[Uplink], now: int) -> None:
        """Never called: it takes no packets as they are."""


class Arrival:
    """A message from the centre: routed here, then acknowledged there."""

    __slots__ = ("event", "message", "order", "uplink")

    def __init__(self, uplink: Uplink, event: MessageReceived, message: Message, order: int) -> None:
        self.uplink = uplink
        self.event = event
        self.message = message
        self.order = order

    def kept(self, now: int) -> None:
        """Recorded: route it and say so."""
        self.uplink.take(self.message, self.order, now)
        self.uplink.acknowledge(self.event, now)

    def broken(self, now: int) -> None:
        """Not recorded: leave it to the centre, which sends it again on the next connection."""
        self.uplink.give_up()


class Uplink:
    """The edge's half of an uplink.

    Args:
        router: the edge's router; the uplink subscribes itself.
        client: an MQTT 5 client with manual acknowledgement, not connected.
        greeting: how this edge introduces itself.
        max_bytes: bytes of messages that may wait for the centre.
        report: takes what happened to the link, for people.

    Attributes:
        centre: how the centre introduced itself; None from a broker of another make, or before the first connection.
        connected: whether messages flow.
    """

    remote = True
    persistent = False

    __slots__ = (
        "_channel", "_convergence", "_known", "_leaving", "_outbox", "_report", "_retry_at", "_seen", "_sequence",
        "_settlement", "_snapshots", "_tracked", "centre", "client", "connected", "full", "interests", "name",
        "router", "wake_at",
    )  # fmt: skip

    def __init__(
        self, router: Router, client: Client, greeting: Greeting, max_bytes: int, report: Callable[[str], None]
    ) -> None:
        self.router = router
        self.client = client
        self.name = greeting.name
        self.full = False
        self.connected = False
        self.centre: Greeting | None = None
        self.interests = Interests()
        self.wake_at = 0
        self._report = report
        self._settlement = router.engine.settlement
        self._channel: Channel | None = None
        self._outbox = Outbox(max_bytes)
        self._convergence = Convergence()
        self._sequence = 0
        self._seen = 0
        self._known = 0
        self._snapshots: dict[bytes, int] = {}
        self._tracked: dict[bytes, None] = {}
        self._leaving: dict[bytes, int] = {}
        self._retry_at = 0
        router.interest = self
        router.arbiter = self
        router.subscribe(b"#", self, UplinkForm(), 0)

    @property
    def waiting(self) -> int:
        """Messages accepted here and not yet with the centre."""
        return len(self._outbox)

    # The byte stream

    def open(self, channel: Channel, now: int) -> None:
        """There is a connection to the centre."""
        self._channel = channel
        self.client.connect(now)
        self._write(now)

    def receive(self, data: bytes, now: int) -> None:
        """Bytes from the centre."""
        for event in self.client.receive(data, now):
            self._handle(event, now)
        pressure = self.router.engine.pressure
        if pressure.met and self._channel is not None:
            pressure.hold(self._channel, now)
        self._write(now)

    def resume(self, now: int) -> None:
        """The channel is no longer held; nothing was left over."""

    def closed(self, now: int) -> None:
        """The connection is gone. What is on the way waits for the next one."""
        for event in self.client.closed(now):
            self._handle(event, now)
        if self._channel is not None:
            self.router.engine.pressure.drained(self._channel)
        self._channel = None
        self.connected = False

    def leave(self, now: int) -> None:
        """Say goodbye: this edge stops. Its session at the centre goes on."""
        self.connected = False
        self.client.disconnect(now)
        self._write(now)

    def give_up(self) -> None:
        """Have the connection closed."""
        if self._channel is not None:
            self._channel.close()

    def due(self, now: int) -> int | None:
        """Pings and their time-outs, filters that nobody came back for, a retry."""
        for event in self.client.tick(now):
            self._handle(event, now)
        for filter, until in list(self._leaving.items()):
            if until <= now:
                del self._leaving[filter]
                self._unwant(filter)
        if self._retry_at and self._retry_at <= now:
            self._retry_at = 0
            self._outbox.retry()
        self._pump(now)
        self._write(now)
        times = [self.client.deadline(), self._retry_at or None, min(self._leaving.values(), default=None)]
        return min((at for at in times if at is not None), default=None)

    def _write(self, now: int) -> None:
        channel = self._channel
        if channel is None:
            self.client.outgoing()
            return
        data = self.client.outgoing()
        if data:
            channel.send(data)
        if self.client.closing:
            channel.close()
        deadline = self.client.deadline()
        if deadline is not None:
            self.router.engine.deadlines.schedule(self, deadline)

    # Up

    def send(self, message: Message, now: int) -> None:
        """A local message is for the centre: at once, or when its turn comes."""
        if not message.qos and not message.retain:
            self._send_now(message, now)
        elif self._outbox.overflowing:
            self._lose(message, Reason.QUEUE_FULL, now)
        else:
            self._outbox.add(message)
            self.router.set_full(self, self._outbox.full)
            self._pump(now)
            self._write(now)

    def _send_now(self, message: Message, now: int) -> None:
        """QoS 0 does not wait for a link."""
        if not self.connected or self._channel is None:
            self._settlement.drop(Reason.LINK_DOWN)
        elif self._channel.size > HIGH_WATER_BYTES:
            self._settlement.drop(Reason.SLOW_READER)
        else:
            self._publish(message, 0, Stamp(path=self._path(message)), now)
            self._settlement.sent += 1
            self._write(now)

    def _pump(self, now: int) -> None:
        """Give the client what the window has room for."""
        outbox = self._outbox
        while self.connected and not self._retry_at and len(outbox.sent) < WINDOW:
            message = outbox.next()
            if message is None:
                break
            if message.expires_at and message.expires_at <= now:
                self._end(message, now)
                self._settlement.expired += 1
                continue
            self._sequence += 1
            stamp = Stamp(0, TRAFFIC_CLASS, self._sequence, message.qos, self._path(message))
            qos = max(1, message.qos) if self.centre is None else 1
            identifier = self._publish(message, qos, stamp, now)
            if identifier is not None:
                outbox.sent[identifier] = message

    def _publish(self, message: Message, qos: int, stamp: Stamp, now: int) -> int | None:
        properties = message_properties(message, (), now, stamp.pairs())
        try:
            return self.client.publish(message.topic, message.payload, qos, message.retain, properties, now=now)
        except (PublishRefused, QueueFull) as error:
            self._report(f"the centre takes no message on {message.topic.decode()}: {error}")
            if qos:
                self._end(message, now)
            self._lose(message, Reason.REJECTED, now, ended=True)
            return None

    def _path(self, message: Message) -> tuple[str, ...]:
        return (*(message.header.node_path if message.header is not None else ()), self.name)

    def _lose(self, message: Message, reason: Reason, now: int, ended: bool = False) -> None:
        self._settlement.drop(reason)
        if self._settlement.record is not None:
            self._settlement.record(message, self, Outcome.DROPPED, reason, now)
        if message.retain and not ended:
            self._confirm(message, 0, now)

    def _end(self, message: Message, now: int, order: int = 0) -> None:
        """A message no longer waits: make room, and settle which retained value stands."""
        self._outbox.settle(message)
        if self.full and self._outbox.bytes <= self._outbox.max_bytes // 2:
            self.router.set_full(self, False)
        if message.retain:
            self._confirm(message, order, now)

    def _confirm(self, message: Message, order: int, now: int) -> None:
        contender = self._convergence.confirmed(message.topic, order)
        if contender is not None:
            self.router.publish(contender, now)
        if not self.router.retained.get(message.topic, now):
            self._untrack(message.topic)

    # Events of the client

    def _handle(self, event: Event, now: int) -> None:
        if isinstance(event, MessageReceived):
            self._message(event, now)
        elif isinstance(event, Published):
            self._published(event, now)
        elif isinstance(event, Connected):
            self._welcome(event, now)
        elif isinstance(event, ConnectRefused):
            self._report(f"the centre refuses us: {event.reason_code.name.lower().replace('_', ' ')}")
        elif isinstance(event, Disconnected):
            self.connected = False
            self._report(event.text)

    def _welcome(self, event: Connected, now: int) -> None:
        try:
            centre = Greeting.read(event.properties.user_property)
        except StampError:
            centre = None
        if centre is None or self.centre is None or centre.epoch != self.centre.epoch:
            self._convergence.restart()
            self._seen = 0
        self.centre = centre
        self._known = centre.order if centre is not None else 0
        self.connected = True
        self._report(f"connected to {centre.name if centre is not None else 'a broker of another make'}")
        if not event.session_present:
            self.interests.restart()
        self._ask(now)
        self._pump(now)

    def _published(self, event: Published, now: int) -> None:
        message = self._outbox.sent.pop(event.packet_identifier, None)
        if message is None:
            return
        if event.reason_code == ReasonCode.QUOTA_EXCEEDED:
            self._outbox.put_back(message)
            self._retry_at = now + RETRY_MS
            self.router.engine.deadlines.schedule(self, self._retry_at)
            return
        order = _stamp_of(event.properties.user_property).order
        self._end(message, now, order)
        if event.reason_code >= ReasonCode.UNSPECIFIED_ERROR:
            self._lose(message, Reason.REJECTED, now, ended=True)
        else:
            self._settlement.acknowledged += 1
            if self._settlement.record is not None:
                self._settlement.record(message, self, Outcome.ACKNOWLEDGED, None, now)
        self._pump(now)

    # Down

    def _message(self, event: MessageReceived, now: int) -> None:
        stamp = _stamp_of(event.properties.user_property)
        if event.topic == SNAPSHOT_END:
            self._end_of_snapshot(event.payload.split(b"\n"), stamp.order, now)
            self.acknowledge(event, now)
            return
        repeat = event.qos and not event.retain and stamp.order and stamp.order <= self._seen
        if repeat or self.name in stamp.path or event.topic.startswith("$"):
            if not repeat:
                self._settlement.drop(Reason.LOOP)
            self.acknowledge(event, now)
            return
        properties = event.properties
        properties.user_property = without_stamps(properties.user_property)
        lifetime = properties.message_expiry_interval
        message = Message(
            event.topic.encode(),
            event.payload,
            stamp.qos or event.qos,
            event.retain,
            read_header(properties, stamp.path),
            self,
            0 if lifetime is None else now + max(1, lifetime * 1000),
        )
        message.replayed = event.retain and stamp.order <= self._known
        if not event.qos:
            self.take(message, stamp.order, now)
            return
        if stamp.order and not event.retain:
            self._seen = stamp.order
        promises = self.router.engine.promises
        promises.records.append(Accepted(message))
        promises.made.append(Arrival(self, event, message, stamp.order))

    def take(self, message: Message, order: int, now: int) -> None:
        """Route a message from the centre, whose place there is `order`, to whoever wants it here."""
        if message.retain:
            ruling = self._convergence.arrived(message, order)
            if ruling is not Ruling.KEEP:
                if ruling is Ruling.KNOWN:
                    self._settlement.collapsed += 1
                return
            if not message.payload:
                self._untrack(message.topic)
        self.router.publish(message, now)

    def acknowledge(self, event: MessageReceived, now: int) -> None:
        """Tell the centre that a message is ours now."""
        if event.qos:
            self.client.acknowledge(event, now=now)
            self._write(now)

    def _end_of_snapshot(self, filters: list[bytes], order: int, now: int) -> None:
        """What the centre did not mention, it does not have."""
        for filter in filters:
            since = self._snapshots.pop(filter, None)
            if since is None:
                continue
            for message in list(self.router.retained.matching(filter, now)):
                if self._convergence.missing(message.topic, since, order):
                    self.router.publish(Message(message.topic, b"", retain=True, origin=self), now)
                    self._untrack(message.topic)

    # What is wanted here

    def wanted(self, filter: bytes, now: int) -> None:
        """A local subscription: fetch what it matches."""
        if filter.startswith(b"$"):
            return
        if self._leaving.pop(filter, None) is None:
            self.interests.add(filter)
            self._ask(now)

    def unwanted(self, filter: bytes, now: int) -> None:
        """The last local subscription ended; it may come back soon."""
        if not filter.startswith(b"$"):
            self._leaving[filter] = now + LINGER_MS
            self.router.engine.deadlines.schedule(self, now + LINGER_MS)

    def _unwant(self, filter: bytes) -> None:
        """Stop fetching, and forget the centre's values that nobody keeps current any more."""
        self.interests.remove(filter)
        for topic in [message.topic for message in self.router.retained.matching(filter, 0)]:
            if topic not in self._tracked and not self.interests.wants(topic):
                self.router.retained.remove(topic)
                self._convergence.forget(topic)

    def retain(self, message: Message, now: int) -> None:
        """A retained value is being set on this edge (by its own clients, if not by us)."""
        topic = message.topic
        if message.origin is self or topic.startswith(b"$"):
            return
        self._convergence.published(topic)
        if message.payload and topic not in self._tracked:
            self._tracked[topic] = None
            self.interests.add(topic)
            self._ask(now)

    def _untrack(self, topic: bytes) -> None:
        """The topic has no value here any more: no reason to keep it current."""
        if topic in self._tracked:
            del self._tracked[topic]
            self.interests.remove(topic)
        self._convergence.forget(topic)

    def _ask(self, now: int) -> None:
        """Carry out changed interests at the centre."""
        changes = self.interests.changes
        if not changes or not self.connected:
            return
        self.interests.changes = {}
        new = [filter for filter, subscribe in changes.items() if subscribe]
        old = [filter.decode() for filter, subscribe in changes.items() if not subscribe]
        qos = 2 if self.centre is None else 1
        for start in range(0, len(new), FILTERS_PER_SUBSCRIBE):
            part = new[start : start + FILTERS_PER_SUBSCRIBE]
            since = self._convergence.event()
            self._snapshots.update(dict.fromkeys(part, since))
            wanted = [Subscription(filter.decode(), qos, True, True) for filter in part]
            self.client.subscribe(wanted, now=now)
        for start in range(0, len(old), FILTERS_PER_SUBSCRIBE):
            self.client.unsubscribe(old[start : start + FILTERS_PER_SUBSCRIBE], now=now)
        self._write(now)


def _stamp_of(pairs: Sequence[tuple[str, str]]) -> Stamp:
    """A stamp from above; what makes no sense is taken as no stamp: the centre is trusted not to harm itself."""
    try:
        return Stamp.read(pairs)
    except StampError:
        return Stamp()
