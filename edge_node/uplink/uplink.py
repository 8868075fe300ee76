"""What the uplink decides: what goes up, what comes down, and when which is acknowledged. Sans-I/O, like the engine.

On its router it is a sink subscribed to everything but `$`, the interest that fetches what local sinks want, and the
arbiter of retained values. Towards the centre it is an MQTT 5 client with a session, and, if the centre is an Oriole
node, with stamps (docs/uplink.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from broker.core.channel import Channel
from broker.core.message import Message, Stored
from broker.core.pressure import HIGH_WATER_BYTES
from broker.core.records import Mark
from broker.core.router import Router
from broker.core.settlement import Reason
from broker.core.sink import Sink
from broker.mqtt.forms import message_properties, read_header
from edge_node.uplink.arrival import Arrival, SnapshotEnd
from edge_node.uplink.convergence import Convergence, Ruling
from edge_node.uplink.enquiries import Enquiries
from edge_node.uplink.form import UplinkForm
from edge_node.uplink.interests import Interests
from edge_node.uplink.outbox import Outbox
from oriole.link.mqtt import (
    Client,
    Connected,
    ConnectRefused,
    Disconnected,
    Event,
    Expired,
    MessageReceived,
    Published,
    PublishRefused,
    QueueFull,
    Subscribed,
    Unsubscribed,
)
from oriole.link.uplink import SNAPSHOT_END, Greeting, Stamp, StampError
from oriole.link.uplink.stamps import MOST_NODES
from oriole.wire.mqtt import ReasonCode, Subscription

TRAFFIC_CLASS = "normal"
"""The one class so far; alarm and bulk come with the spool."""
WINDOW = 128
"""Messages on the way to the centre at once: enough for 3,000 a second over a 40 ms link."""
LINGER_MS = 30_000
"""How long a filter that nobody wants any more stays subscribed: a client that reconnects costs no new snapshot."""
MOST_LEAVING = 1_000
"""Such filters at most; the one that nobody wants for longest goes first."""
PATIENCE_MS = 1_000
"""How long an answer may be overdue, or four round trips, before the way to the centre is doubted."""
FILTERS_PER_SUBSCRIBE = 200
RETRY_MS = 1_000
"""Pause after the centre refused a message for lack of room."""
BUSY = frozenset(
    (
        ReasonCode.SERVER_UNAVAILABLE,
        ReasonCode.SERVER_BUSY,
        ReasonCode.SERVER_SHUTTING_DOWN,
        ReasonCode.USE_ANOTHER_SERVER,
        ReasonCode.QUOTA_EXCEEDED,
        ReasonCode.CONNECTION_RATE_EXCEEDED,
    )
)
"""Refusals that pass by themselves. The others want a person."""


class Uplink:
    """The edge's half of an uplink.

    Args:
        router: the edge's router; the uplink subscribes itself.
        client: an MQTT 5 client with manual acknowledgement, not connected.
        greeting: how this edge introduces itself.
        max_bytes: bytes of messages that may wait for the centre.
        report: takes what happened to the link, for people: what it was, and whether somebody must do something.

    Attributes:
        centre: how the centre introduced itself; None from a broker of another make, or before the first connection.
        connected: whether messages flow.
        unwelcome: the centre does not want this edge until a person has changed something.
    """

    label = "uplink"
    remote = True
    persistent = False

    __slots__ = (
        "_channel", "_convergence", "_enquiries", "_leaving", "_opened_at", "_outbox", "_recovering", "_retry_at",
        "_round_trip", "_seen", "_sequence", "_settlement", "_tell", "_tracked", "_welcomed", "centre", "client",
        "connected", "full", "interests", "name", "router", "unwelcome", "wake_at",
    )  # fmt: skip

    def __init__(
        self, router: Router, client: Client, greeting: Greeting, max_bytes: int, report: Callable[[str, bool], None]
    ) -> None:
        self.router = router
        self.client = client
        self.name = greeting.name
        self.full = False
        self.connected = False
        self.unwelcome = False
        self.centre: Greeting | None = None
        self.interests = Interests()
        self.wake_at = 0
        self._tell = report
        self._settlement = router.engine.settlement
        self._channel: Channel | None = None
        self._outbox = Outbox(max_bytes)
        self._convergence = Convergence()
        self._enquiries = Enquiries()
        self._sequence = 0
        self._seen = 0
        self._opened_at = 0
        self._round_trip = 0
        self._welcomed = False
        self._recovering = False
        self._tracked: dict[bytes, None] = {}
        self._leaving: dict[bytes, int] = {}
        self._retry_at = 0
        router.interest = self
        router.arbiter = self
        router.backlog.limit(router.backlog.max_messages, max_bytes)
        router.subscribe(b"#", self, UplinkForm(), 0)

    @property
    def waiting(self) -> int:
        """Messages accepted here and not yet with the centre."""
        return len(self._outbox)

    def owed(self) -> Iterator[tuple[Message, Sink | None, bool]]:
        """What waits here: messages, to whom, and whether they were sent; to nobody what the centre may yet outdo."""
        for message in self._outbox.sent.values():
            yield message, self, True
        for message in self._outbox.unsent:
            yield message, self, False
        for message in self._convergence.contenders:
            yield message, None, False

    # The byte stream

    def open(self, channel: Channel, now: int) -> None:
        """There is a connection to the centre."""
        self._channel = channel
        self._opened_at = now
        self.unwelcome = False
        self.client.connect(now)
        self._write(now)

    def receive(self, data: bytes, now: int) -> None:
        """Bytes from the centre."""
        events = self.client.receive(data, now)
        if self.client.closing:  # behind these events there was one that ends the connection
            self.connected = False
        for event in events:
            self._handle(event, now)
        pressure = self.router.engine.pressure
        if pressure.met and self._channel is not None:
            pressure.hold(self._channel, now)
        self._write(now)

    def resume(self, now: int) -> None:
        """The channel is no longer held; nothing was left over."""

    def closed(self, now: int) -> None:
        """The connection is gone. What is on the way waits for the next one."""
        self.interests.repeat(self._enquiries.lost())
        for event in self.client.closed(now):
            self._handle(event, now)
        if self._channel is not None:
            self.router.engine.pressure.drained(self._channel)
        self._channel = None
        self.connected = False

    def leave(self, now: int) -> None:
        """Say goodbye: this edge stops. Its session at the centre goes on."""
        if self.waiting:
            self._report(f"{self.waiting} messages never reached the centre")
        self.connected = False
        self.client.disconnect(now)
        self._write(now)

    def silent(self, now: int) -> bool:
        """Whether the centre owes an answer for so long that the way there may be gone."""
        asked_at = self.client.ping_sent_at
        return asked_at is not None and now - asked_at > max(PATIENCE_MS, 4 * self._round_trip)

    def give_up(self, order: int) -> None:
        """What has the place `order` could not be taken: have the connection closed, so that it comes again."""
        if order:
            self._seen = min(self._seen, order - 1)
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
        self._ask(now)
        self._retry(now)
        self._pump(now)
        self._write(now)
        retry_at = self._retry_at if self._retry_at > now else None
        times = [self.client.deadline(), retry_at, min(self._leaving.values(), default=None)]
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
        if message.retain:
            self._convergence.published(message.topic)
        if len(self._path(message)) > MOST_NODES:
            self._lose(message, Reason.LOOP, now)
        elif not message.qos and not message.retain:
            self._send_now(message, now)
        elif self._outbox.overflowing and not message.promised:
            self._lose(message, Reason.QUEUE_FULL, now)
        else:
            self._outbox.add(message)
            self.router.set_full(self, self._outbox.full)
            self._pump(now)
            self._write(now)

    def _send_now(self, message: Message, now: int) -> None:
        """QoS 0 does not wait for a link."""
        if not self.connected or self._channel is None:
            self._settlement.drop(message, self, Reason.LINK_DOWN, now)
        elif self._channel.size > HIGH_WATER_BYTES:
            self._settlement.drop(message, self, Reason.SLOW_READER, now)
        else:
            try:
                self._publish(message, 0, Stamp(path=self._path(message)), now)
            except (PublishRefused, QueueFull):
                self._settlement.drop(message, self, Reason.REJECTED, now)
            else:
                self._settlement.send(message, (self,), now)
                self._write(now)

    def _pump(self, now: int) -> None:
        """Give the client what the window has room for."""
        outbox = self._outbox
        while self.connected and not outbox.held_up and len(outbox.sent) < WINDOW:
            message = outbox.next()
            if message is None:
                break
            if message.expires_at and message.expires_at <= now:
                self._end(message, now)
                self._settlement.expire(message, self, now)
                continue
            stamp = Stamp(0, TRAFFIC_CLASS, self._sequence + 1, message.qos, self._path(message))
            qos = max(1, message.qos) if self.centre is None else 1
            try:
                identifier = self._publish(message, qos, stamp, now)
            except PublishRefused as refused:
                self._report(f"the centre takes no message on {message.topic.decode()}: {refused}")
                self._reject(message, now)
            except QueueFull:  # until something on the way is acknowledged
                outbox.put_back(message)
                outbox.retry()
                break
            else:
                self._sequence += 1
                outbox.sent[identifier] = message

    def _retry(self, now: int) -> None:
        """Send what was put back again, once all that was sent behind it is back too: nothing may overtake it."""
        if self._retry_at and self._retry_at <= now and not self._outbox.sent:
            self._retry_at = 0
            self._sequence += 1  # the number left out says that we begin anew
            self._outbox.retry()

    def _publish(self, message: Message, qos: int, stamp: Stamp, now: int) -> int:
        properties = message_properties(message, (), now, stamp.pairs())
        return self.client.publish(message.topic, message.payload, qos, message.retain, properties, now=now) or 0

    def _report(self, text: str, serious: bool = False) -> None:
        self._tell(text, serious)

    def _path(self, message: Message) -> tuple[str, ...]:
        return (*(message.header.node_path if message.header is not None else ()), self.name)

    def _lose(self, message: Message, reason: Reason, now: int) -> None:
        """A message ends before it waited."""
        self._settlement.drop(message, self, reason, now)
        if message.retain:
            self._confirm(message, 0, now)

    def _reject(self, message: Message, now: int) -> None:
        """The centre does not take a message that waited."""
        self._end(message, now)
        self._settlement.drop(message, self, Reason.REJECTED, now)

    def _end(self, message: Message, now: int, order: int = 0) -> None:
        """A message no longer waits: make room, and settle which retained value stands."""
        self._outbox.settle(message)
        if self.full and self._outbox.bytes <= self._outbox.max_bytes // 2:
            self.router.set_full(self, False)
        if message.retain:
            self._confirm(message, order, now)

    def _confirm(self, message: Message, order: int, now: int) -> None:
        contender = self._convergence.confirmed(message.topic, order)
        self._settle_outdone(now)
        if contender is not None:
            self.router.publish(contender, now)
        if not self.router.retained.get(message.topic, now):
            self._untrack(message.topic, now)

    # Events of the client

    def _handle(self, event: Event, now: int) -> None:
        if isinstance(event, MessageReceived):
            self._message(event, now)
        elif isinstance(event, Published):
            self._published(event, now)
        elif isinstance(event, Expired):
            self._expired(event, now)
        elif isinstance(event, Subscribed):
            self._subscribed(event)
        elif isinstance(event, Unsubscribed):
            for filter in self._enquiries.answered(event.packet_identifier):
                if filter not in self.interests.asked:
                    self._enquiries.ended(filter)
        elif isinstance(event, Connected):
            self._welcome(event, now)
        elif isinstance(event, ConnectRefused):
            reason = event.reason_code
            self.unwelcome = reason not in BUSY
            self._report(f"the centre refuses this edge: {reason.name.lower().replace('_', ' ')}", self.unwelcome)
        elif isinstance(event, Disconnected):
            self.connected = False
            self.unwelcome = event.reason_code == ReasonCode.SESSION_TAKEN_OVER
            namesake = f"another edge is called {self.name}: give one of them another name"
            self._report(namesake if self.unwelcome else event.text, self.unwelcome)

    def _welcome(self, event: Connected, now: int) -> None:
        try:
            centre = Greeting.read(event.properties.user_property)
        except StampError:
            centre = None
        if centre is not None and centre.name == self.name:
            self.unwelcome = True
            self._report(f"the centre is called {self.name} like this edge, or is this edge: nothing flows", True)
            self.client.disconnect(now)
            return
        if centre is None or self.centre is None or centre.epoch != self.centre.epoch:
            self._convergence.restart()
            self._settle_outdone(now)
            self._seen = 0
            self._recovering = self._welcomed
        self.centre = centre
        self._welcomed = True
        self.connected = not self.client.closing
        self._round_trip = now - self._opened_at
        self._report(f"connected to {centre.name if centre is not None else 'a broker of another make'}")
        if not event.session_present:
            self._enquiries.restart()
        if not event.session_present or centre is None:  # a broker of another make keeps no QoS 0 state for us
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
            self._retry(now)
            return
        order = _stamp_of(event.properties.user_property).order
        if event.reason_code >= ReasonCode.UNSPECIFIED_ERROR:
            self._reject(message, now)
        else:
            self._end(message, now, order)
            self._settlement.acknowledge(message, self, now)
        self._retry(now)
        self._pump(now)

    def _expired(self, event: Expired, now: int) -> None:
        message = self._outbox.sent.pop(event.packet_identifier, None)
        if message is not None:
            self._end(message, now)
            self._settlement.expire(message, self, now)
            self._retry(now)
            self._pump(now)

    def _subscribed(self, event: Subscribed) -> None:
        filters = self._enquiries.answered(event.packet_identifier)
        for filter, code in zip(filters, event.reason_codes, strict=False):
            if code >= ReasonCode.UNSPECIFIED_ERROR:
                self._enquiries.ended(filter)
                self._report(f"the centre refuses us {filter.decode()}: {code.name.lower().replace('_', ' ')}")

    # Down

    def _message(self, event: MessageReceived, now: int) -> None:
        stamp = _stamp_of(event.properties.user_property)
        promises = self.router.engine.promises
        if event.topic == SNAPSHOT_END:  # behind the values that it ends, which wait for the journal
            promises.made.append(SnapshotEnd(self, event, stamp.order))
            return
        replayed = event.retain and self._enquiries.awaiting_snapshot
        properties = event.properties
        lifetime = properties.message_expiry_interval
        message = Message(
            event.topic.encode(),
            event.payload,
            stamp.qos or event.qos,
            event.retain,
            read_header(properties, stamp.path),
            self,
            0 if lifetime is None else now + lifetime * 1000,
        )
        message.replayed = replayed
        if event.qos and not event.retain and 0 < stamp.order <= self._seen:
            self._settlement.refuse(message, Reason.REPEAT, now)
            promises.made.append(Arrival(self, event, None, stamp.order))
            return
        if (self.name in stamp.path and not replayed) or event.topic.startswith("$"):  # a snapshot has our values too
            self._settlement.refuse(message, Reason.LOOP, now)
            self.acknowledge(event, now)
            return
        if not event.qos:
            self.take(message, stamp.order, now)
            return
        if stamp.order and not event.retain:
            self._seen = stamp.order
        mark = Mark(self.centre.epoch, "", stamp.order) if self.centre is not None and stamp.order else None
        self.router.take_over([message], mark=mark)
        promises.made.append(Arrival(self, event, message, stamp.order))

    def take(self, message: Message, order: int, now: int) -> None:
        """Route a message from the centre, whose place there is `order`, to whoever wants it here."""
        if message.retain:
            ruling = self._convergence.arrived(message, order)
            self._settle_outdone(now)
            if ruling is Ruling.KNOWN:
                self._settlement.refuse(message, Reason.SUPERSEDED, now)
            if ruling is not Ruling.KEEP:
                self.router.let_go(message)
                return
            if not message.payload:
                self._untrack(message.topic, now)
            elif message.header is not None and self.name in message.header.node_path:
                self._track(message.topic, now)  # ours, before we lost our memory
        self.router.publish(message, now)

    def _settle_outdone(self, now: int) -> None:
        outdone, self._convergence.outdone = self._convergence.outdone, []
        for message in outdone:
            self._settlement.refuse(message, Reason.SUPERSEDED, now)

    def acknowledge(self, event: MessageReceived, now: int) -> None:
        """Tell the centre that a message is ours now."""
        if event.qos:
            self.client.acknowledge(event, now=now)
            self._write(now)

    def end_snapshot(self, filters: list[bytes], order: int, now: int) -> None:
        """What the centre did not mention, it does not have."""
        for filter in filters:
            since = self._enquiries.ended(filter)
            if since is None:
                continue
            for message in list(self.router.retained.matching(filter, now)):
                if not self._convergence.missing(message.topic, since, order):
                    continue
                if self._recovering and message.topic in self._tracked:
                    self.send(_anew(message), now)  # the centre has lost what was set here: it gets it again
                else:
                    self.router.publish(Message(message.topic, b"", retain=True, origin=self), now)
                    self._untrack(message.topic, now)
        self._recovering = self._recovering and self._enquiries.awaiting_snapshot

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
            if len(self._leaving) >= MOST_LEAVING:
                oldest = next(iter(self._leaving))
                del self._leaving[oldest]
                self._unwant(oldest)
                self._ask(now)
            self._leaving[filter] = now + LINGER_MS
            self.router.engine.deadlines.schedule(self, now + LINGER_MS)

    def _unwant(self, filter: bytes) -> None:
        """Stop fetching, and forget the centre's values that nobody keeps current any more."""
        self.interests.remove(filter)
        for topic in [message.topic for message in self.router.retained.matching(filter, 0)]:
            if topic not in self._tracked and not self.interests.wants(topic):
                self.router.retained.remove(topic)
                self._convergence.let_go(topic)

    def retain(self, message: Message, now: int) -> None:
        """A retained value is being set on this edge (by its own clients, if not by us)."""
        topic = message.topic
        if message.origin is self or topic.startswith(b"$"):
            return
        if message.payload:
            self._track(topic, now)

    def _track(self, topic: bytes, now: int) -> None:
        """The topic's value was set here: keep it current."""
        if topic not in self._tracked:
            self._tracked[topic] = None
            self.interests.add(topic)
            self._ask(now)

    def _untrack(self, topic: bytes, now: int) -> None:
        """The topic has no value here any more: no reason to keep it current."""
        if topic in self._tracked:
            del self._tracked[topic]
            self.interests.remove(topic)
            self._ask(now)
        self._convergence.forget(topic)

    def _ask(self, now: int) -> None:
        """Carry out changed interests at the centre."""
        changes = self.interests.changes
        if not changes or not self.connected:
            return
        self.interests.changes = {}
        new = [filter for filter, subscribe in changes.items() if subscribe]
        old = [filter for filter, subscribe in changes.items() if not subscribe]
        qos = 2 if self.centre is None else 1
        for start in range(0, len(new), FILTERS_PER_SUBSCRIBE):
            part = new[start : start + FILTERS_PER_SUBSCRIBE]
            wanted = [Subscription(filter.decode(), qos, True, True) for filter in part]
            self._enquiries.subscribe(self.client.subscribe(wanted, now=now), part, self._convergence.event())
        for start in range(0, len(old), FILTERS_PER_SUBSCRIBE):
            part = old[start : start + FILTERS_PER_SUBSCRIBE]
            self._enquiries.unsubscribe(self.client.unsubscribe([f.decode() for f in part], now=now), part)
        self._write(now)


def _stamp_of(pairs: Sequence[tuple[str, str]]) -> Stamp:
    """A stamp from above; what makes no sense is taken as no stamp: the centre is trusted not to harm itself."""
    try:
        return Stamp.read(pairs)
    except StampError:
        return Stamp()


def _anew(message: Message) -> Message:
    """A retained value as if it were set here now."""
    header = replace(message.header, node_path=()) if message.header is not None else None
    return Stored(message.topic, message.payload, message.qos, True, header, None, message.expires_at)
