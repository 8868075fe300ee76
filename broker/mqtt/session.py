"""A session: what an MQTT client is subscribed to and owed, whether it is connected or not.

It is a sink. Connected, it writes to its connection's channel; away, its window is 0, so that QoS 1 and 2 messages
wait in its queue, and its channel is one that takes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING

from broker.core.channel import Channel
from broker.core.message import Message
from broker.core.pressure import HIGH_WATER_BYTES, MOST_BYTES
from broker.core.questions import Action
from broker.core.records import Progressed
from broker.core.settlement import Reason
from broker.mqtt.forms import Delivery, MqttForm, encoding_of
from broker.mqtt.pieces import PACKET_IDENTIFIERS, PUBREL
from oriole.link.uplink import Greeting
from oriole.wire.mqtt import V311
from oriole.wire.mqtt.decode import MAX_FILTERS

if TYPE_CHECKING:
    from broker.core.engine import Engine
    from broker.mqtt.connection import Connection
    from broker.mqtt.past import Past
    from broker.mqtt.service import MqttService
    from oriole.wire.mqtt import Will

NEVER = 0xFFFF_FFFF
"""Session expiry interval of a session that does not expire (3.1.2.11.2)."""

MOST_PERMISSIONS = MAX_FILTERS
"""Verdicts remembered per session, enough for the filters of one packet; the oldest is asked again."""


class Nowhere(Channel):
    """The channel of a session whose client is away: above every limit, so that nothing is ever put into it."""

    __slots__ = ()

    def flush(self) -> None:
        """Nothing to write."""
        self.out.clear()

    def resume(self) -> None:
        """Nothing to read."""


class Subscription:
    """One filter of a session and the options it was granted (3.8.3.1)."""

    __slots__ = ("identifier", "no_local", "qos", "retain_as_published")

    def __init__(
        self, qos: int, no_local: bool = False, retain_as_published: bool = False, identifier: int = 0
    ) -> None:
        self.qos = qos
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.identifier = identifier

    @property
    def options(self) -> int:
        """The subscription options byte, without retain handling, which is spent when it is subscribed."""
        return self.qos | self.no_local << 2 | self.retain_as_published << 3


class Session:
    """The state of one client identifier on one router.

    Attributes:
        channel: where its packets go; `Nowhere` while the client is away.
        window: deliveries that may be unacknowledged at once; 0 while the client is away.
        inflight: packet identifier to delivery; None once PUBREC has come and PUBREL was owed.
        queue: deliveries that wait for the window, with `queue_bytes` of messages; None until first used.
        received: packet identifiers of QoS 2 messages received and not yet released by PUBREL; None until first used.
        expiry_interval: seconds it outlives its connection; `NEVER` for always.
        expires_at: when it ends, in milliseconds, while the client is away; 0 otherwise.
        will, will_at: the will to publish, and when, while a will delay runs.
        will_is_bare: it comes from a client without properties, and may be a push's envelope.
        encoding: how its client takes packets; subscriptions add their options to it.
        past: what new subscriptions are still to get of what was published before; None once they have it.
        node: how the client introduced itself, if it is another Oriole node.
        restricted, permissions: whether every topic needs a verdict, and the verdicts so far.
    """

    __slots__ = (
        "channel", "client_id", "connection", "encoding", "expires_at", "expiry_interval", "full", "inflight",
        "last_identifier", "limits", "max_packet_bytes", "node", "past", "permissions", "persistent", "queue",
        "queue_bytes", "received", "remote", "resend", "restricted", "router", "service", "settlement",
        "subscriptions", "username", "wake_at", "will", "will_at", "will_is_bare", "window",
    )  # fmt: skip

    def __init__(self, client_id: str, service: MqttService) -> None:
        self.client_id = client_id
        self.service = service
        self.router = service.router
        self.settlement = service.engine.settlement
        self.limits = service.limits
        self.connection: Connection | None = None
        self.channel: Channel = service.nowhere
        self.encoding = encoding_of(V311)
        self.node: Greeting | None = None
        self.username: str | None = None
        self.max_packet_bytes = 0
        self.window = 0
        self.last_identifier = 0
        self.inflight: dict[int, Delivery | None] = {}
        self.resend: deque[int] | None = None
        self.queue: deque[Delivery] | None = None
        self.queue_bytes = 0
        self.received: dict[int, None] | None = None
        self.past: Past | None = None
        self.subscriptions: dict[bytes, Subscription] = {}
        self.expiry_interval = 0
        self.expires_at = 0
        self.will: Will | None = None
        self.will_at = 0
        self.will_is_bare = False
        self.wake_at = 0
        self.full = False
        self.persistent = False
        self.remote = False
        self.restricted = False
        self.permissions: dict[tuple[Action, bytes], bool] = {}

    @property
    def label(self) -> str:
        """What accounts call it."""
        return f"client:{self.client_id}" if self.node is None else f"node:{self.node.name}"

    def form(self, subscription: Subscription) -> MqttForm:
        """How messages for one of its subscriptions are encoded."""
        identifiers = (subscription.identifier,) if subscription.identifier else ()
        return self.encoding.granting(
            subscription.qos, subscription.no_local, subscription.retain_as_published, identifiers
        )

    def late_form(self, subscription: Subscription) -> MqttForm:
        """The same for what was published before it was subscribed: RETAIN is set [MQTT-3.3.1-8]."""
        identifiers = (subscription.identifier,) if subscription.identifier else ()
        return self.encoding.granting(subscription.qos, False, True, identifiers)

    # Outgoing deliveries

    def misses(self) -> Reason | None:
        """Why QoS 0 messages are lost to this session while its channel is over its high-water mark, if they are."""
        if self.connection is None:
            return Reason.OFFLINE
        return Reason.SLOW_READER if self.router.engine.pressure.refuses(self.channel) else None

    def pass_on(self, message: Message, packet: bytes, now: int) -> None:
        """Send a QoS 0 message, as `packet`, or settle why not."""
        reason = self.misses() if self.channel.size > HIGH_WATER_BYTES else None
        if reason is None:
            self.channel.send(packet)
            self.settlement.send(message, (self,), now)
        else:
            self.settlement.drop(message, self, reason, now)

    def enqueue(self, delivery: Delivery, now: int) -> None:
        """Let a QoS 1 or 2 delivery wait. Once the limits are reached the session is full and publishers are told.

        What was promised before (a QoS 2 message, one from another node, routed after their commit) still comes then,
        as much as `Backlog` lets in. What the centre sends an edge has as much room again; beyond that it is lost,
        counted and named.
        """
        if self.queue is None:
            self.queue = deque()
        elif self.full and not delivery[0].promised and self._overflows():
            self.settlement.drop(delivery[0], self, Reason.QUEUE_FULL, now)
            return
        self.queue.append(delivery)
        self.queue_bytes += delivery[0].size
        if len(self.queue) >= self.limits.max_queue_messages or self.queue_bytes >= self.limits.max_queue_bytes:
            self.router.set_full(self, True)

    def _overflows(self) -> bool:
        limits = self.limits
        return len(self.queue or ()) >= 2 * limits.max_queue_messages or self.queue_bytes >= 2 * limits.max_queue_bytes

    def pump(self, now: int) -> None:
        """Send what the window has room for: repeats first, then the queue."""
        resend = self.resend
        while resend and len(self.inflight) - len(resend) < self.window:
            self._repeat(resend.popleft(), now)
        queue = self.queue
        while queue and len(self.inflight) < self.window:
            delivery = queue.popleft()
            message = delivery[0]
            self.queue_bytes -= message.size
            if message.expires_at and message.expires_at <= now:
                self.settlement.expire(message, self, now)
                continue
            identifier = self.free_identifier(self.last_identifier)
            self.last_identifier = identifier
            if self._send(identifier, delivery, now, dup=False):
                self.inflight[identifier] = delivery
        if self.full and queue is not None:
            limits = self.limits
            if len(queue) <= limits.max_queue_messages // 2 and self.queue_bytes <= limits.max_queue_bytes // 2:
                self.router.set_full(self, False)

    def free_identifier(self, after: int) -> int:
        """A packet identifier after `after` that is not in use [MQTT-2.2.1-4]. The window is smaller than the space."""
        identifier = after
        while True:
            identifier = identifier % 0xFFFF + 1
            if identifier not in self.inflight:
                return identifier

    def received_identifiers(self) -> dict[int, None]:
        """The packet identifiers of QoS 2 messages received and not yet released; to be changed in place."""
        if self.received is None:
            self.received = {}
        return self.received

    def acknowledge(self, packet: int, identifier: int, reason_code: int, now: int) -> bool:
        """A PUBACK, PUBREC or PUBCOMP came (`packet` is its first byte). False if it fits no delivery in that state."""
        inflight = self.inflight
        if identifier not in inflight:
            return False
        delivery = inflight[identifier]
        if delivery is None:
            if packet == 0x70:
                del inflight[identifier]
            elif packet != 0x50:
                return False
        elif (packet == 0x40 and delivery[1] == 1) or (packet == 0x50 and delivery[1] == 2):
            if packet == 0x50 and reason_code < 0x80:
                inflight[identifier] = None
            else:
                del inflight[identifier]
            if reason_code < 0x80:
                self.settlement.acknowledge(delivery[0], self, now)
            else:
                self.settlement.drop(delivery[0], self, Reason.REJECTED, now)
        else:
            return False
        if self.persistent:
            self.record_progress(packet, identifier)
        if self.queue or self.resend:
            self.pump(now)
        return True

    def record_progress(self, packet: int, identifier: int) -> None:
        """Journal that an exchange of this persistent session moved on."""
        self.router.engine.promises.records.append(Progressed(self.client_id, packet, identifier))

    def repeat(self, now: int) -> None:
        """The client is back: send again, in order, what it has not acknowledged [MQTT-4.4.0-1], then go on."""
        self.resend = deque(self.inflight)
        self.pump(now)
        if self.past is not None:
            self.past.go_on(now)

    def _repeat(self, identifier: int, now: int) -> None:
        if identifier not in self.inflight:
            return
        delivery = self.inflight[identifier]
        if delivery is None:
            self.channel.send(PUBREL + PACKET_IDENTIFIERS[identifier])
        elif not self._send(identifier, delivery, now, dup=True):
            del self.inflight[identifier]

    def _send(self, identifier: int, delivery: Delivery, now: int, dup: bool) -> bool:
        message, qos, retain, identifiers = delivery
        form = self.encoding
        encoded = message.encoded
        if encoded is not None and encoded[0] == form.takes and qos == message.qos and not (dup or identifiers):
            _, head, tail = encoded
        else:
            head, tail = form.encode(message, qos, retain, identifiers, now, dup)
        if self.max_packet_bytes and len(head) + 2 + len(tail) > self.max_packet_bytes:
            form.too_large(message, (self,), now)
            return False
        self.channel.send(head + PACKET_IDENTIFIERS[identifier] + tail)
        return True

    # Coming and going

    def due(self, now: int) -> int | None:
        """A will delay or the session's own expiry, while the client is away."""
        return self.service.absent(self, now)

    def owed(self) -> Iterator[tuple[Message, bool]]:
        """What its client has not confirmed: messages, and whether they were sent."""
        for delivery in self.inflight.values():
            if delivery is not None:
                yield delivery[0], True
        for waiting in self.queue or ():
            yield waiting[0], False

    def discard(self, now: int) -> None:
        """The session ends: its subscriptions go, what it was owed is settled."""
        for filter in list(self.subscriptions):
            self.router.unsubscribe(filter, self, now)
        self.subscriptions.clear()
        for message, _ in self.owed():
            self.settlement.drop(message, self, Reason.SESSION_ENDED, now)
        self.inflight = {}
        if self.past is not None:
            self.router.engine.deadlines.withdraw(self.past)
        self.queue = self.resend = self.received = self.past = None
        self.queue_bytes = 0
        self.router.set_full(self, False)


def nowhere(engine: Engine) -> Nowhere:
    """The channel of clients that are away, one per engine."""
    channel = Nowhere(engine, None)
    channel.size = MOST_BYTES + 1
    channel.stalled = True
    return channel
