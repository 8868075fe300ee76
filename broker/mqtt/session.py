"""A session: what an MQTT client is subscribed to and owed, whether it is connected or not.

It is a sink. Connected, it writes to its connection's channel; away, its window is 0, so that QoS 1 and 2 messages
wait in its queue, and its channel is one that takes nothing.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from broker.core.channel import Channel
from broker.core.message import Message
from broker.core.pressure import HIGH_WATER_BYTES, MOST_BYTES
from broker.core.questions import Action
from broker.core.queue import Queue
from broker.core.records import ENDED_OTHERWISE, Delivery, Owes, Progressed
from broker.core.settlement import Reason
from broker.mqtt.departures import Departure
from broker.mqtt.forms import MqttForm, encoding_of
from broker.mqtt.pieces import PACKET_IDENTIFIERS, PUBREL
from oriole.wire.mqtt import V311
from oriole.wire.mqtt.decode import MAX_FILTERS

if TYPE_CHECKING:
    from broker.core.engine import Engine
    from broker.mqtt.connection import Connection
    from broker.mqtt.nodes import Peer
    from broker.mqtt.past import Past
    from broker.mqtt.service import MqttService
    from oriole.wire.mqtt import Will

NEVER = 0xFFFF_FFFF
"""Session expiry interval of a session that does not expire (3.1.2.11.2)."""

IDENTIFIERS = 0xFFFF
"""Packet identifiers go round from 1 to this."""

MOST_PERMISSIONS = MAX_FILTERS
"""Verdicts remembered per session, enough for the filters of one packet; the oldest is asked again."""


def identifier_of(number: int) -> int:
    """The packet identifier of a session's delivery no. 1, 2, ..."""
    return (number - 1) % IDENTIFIERS + 1


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

    @classmethod
    def read(cls, options: int, identifier: int) -> Subscription:
        """From its `options`."""
        return cls(options & 3, bool(options & 4), bool(options & 8), identifier)


class Session:
    """The state of one client identifier on one router.

    Attributes:
        channel: where its packets go; `Nowhere` while the client is away.
        window: deliveries that may be unacknowledged at once; 0 while the client is away.
        inflight: packet identifier to delivery; None once PUBREC has come and PUBREL was owed.
        last_identifier: that of the last delivery that did not have to wait, or waits no more. Each delivery takes the
            next one, whatever becomes of it, so that it follows from the journal which packet was which message.
        queue: deliveries that wait for the window; None until first used.
        last_number: that of the last delivery that was recorded, or waited; they are numbered from 1.
        safe: the number of the last delivery that may leave the queue, because its record is safe; None: all may.
        number, recorded: what the journal calls it, 0 for nothing; whether it has what the session is owed, too.
        received: packet identifiers of QoS 2 messages received and not yet released by PUBREL; None until first used.
        expiry_interval: seconds it outlives its connection; `NEVER` for always.
        left_at, expires_at: when its client left and when it ends, in milliseconds, while the client is away; 0
            otherwise, and `expires_at` is 0 where it does not end.
        will, will_at: the will to publish, and when, while a will delay runs.
        will_is_bare: it comes from a client without properties, and may be a push's envelope.
        encoding: how its client takes packets; subscriptions add their options to it.
        past: what new subscriptions are still to get of what was published before; None once they have it.
        node: the client, if it is another Oriole node.
        restricted, permissions: whether every topic needs a verdict, and the verdicts so far.
    """

    __slots__ = (
        "channel", "client_id", "connection", "encoding", "expires_at", "expiry_interval", "full", "inflight",
        "last_identifier", "last_number", "left_at", "limits", "max_packet_bytes", "node", "number", "past",
        "permissions", "persistent", "queue", "received", "recorded", "remote", "resend", "restricted", "router",
        "safe", "service", "settlement", "subscriptions", "username", "wake_at", "will", "will_at",
        "will_is_bare", "window",
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
        self.node: Peer | None = None
        self.username: str | None = None
        self.max_packet_bytes = 0
        self.window = 0
        self.last_identifier = 0
        self.inflight: dict[int, Delivery | None] = {}
        self.resend: deque[int] | None = None
        self.queue: Queue | None = None
        self.last_number = 0
        self.safe: int | None = None
        self.received: dict[int, None] | None = None
        self.past: Past | None = None
        self.subscriptions: dict[bytes, Subscription] = {}
        self.expiry_interval = 0
        self.expires_at = 0
        self.left_at = 0
        self.will: Will | None = None
        self.will_at = 0
        self.will_is_bare = False
        self.wake_at = 0
        self.full = False
        self.persistent = False
        self.number = 0
        self.recorded = False
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

    def record_owed(self, messages: Sequence[Message], qos: int, retain: bool, identifiers: tuple[int, ...]) -> bool:
        """Write down that this session is owed `messages`; whether they have to wait until that is safe.

        QoS 2 waits: were it sent and its record lost, another message would go by its packet identifier after a
        restart, and the client take it for this one. So does what another node gets: it is told the message's place in
        the order, and another message would have that place.
        """
        owed = (self.number, qos, retain, identifiers, self.last_number + 1)
        record = messages[0].record
        if record is not None:
            record.owed.append(owed)
        else:
            for number, message in enumerate(messages, self.last_number + 1):
                owed = (self.number, qos, retain, identifiers, number)
                self.router.engine.promises.records.append(Owes(message, owed))
        if self.safe is None and (qos == 2 or self.node is not None):
            self.safe = self.last_number
        self.last_number += len(messages)
        return self.safe is not None

    def depart_when_safe(self) -> None:
        """All that is in the queue may leave it when the records of this turn are safe."""
        self.router.engine.promises.made.append(Departure(self, self.last_number))

    def departs(self, upto: int, now: int) -> None:
        """Deliveries up to this number may leave the queue."""
        if self.safe is not None:
            self.safe = None if self.last_number <= upto else max(self.safe, upto)
            self.pump(now)

    def waiting(self) -> Queue:
        """Its queue."""
        queue = self.queue
        if queue is None:
            queue = self.queue = Queue(self.pump)
            queue.is_awaited = self.connection is not None
        if self.recorded:
            queue.archive, queue.recipient = self.service.archive, self.number
        return queue

    def enqueue(self, deliveries: Sequence[Delivery]) -> None:
        """Let the last QoS 1 or 2 deliveries wait. Once the limits are reached the session is full, and publishers are
        told.
        """
        queue = self.queue if self.queue is not None else self.waiting()
        first = self.last_number + 1 - len(deliveries)
        record = deliveries[0][0].record if self.recorded else None
        if record is not None or not self.recorded:
            queue.append(deliveries, first, record)
        else:  # each has a record of its own, the last that were made
            records = self.router.engine.promises.records[-len(deliveries) :]
            for number, (delivery, owes) in enumerate(zip(deliveries, records, strict=True), first):
                assert isinstance(owes, Owes)
                queue.append((delivery,), number, owes)
        self.measure()

    def overflows(self, messages: Sequence[Message]) -> bool:
        """Whether there is no room for these in a full session.

        What was promised before (a QoS 2 message, one from another node, routed after their commit) still comes then,
        as much as `Backlog` lets in. What the centre sends an edge has as much room again; beyond that it is lost,
        counted and named.
        """
        if messages[0].promised:
            return False
        limits = self.limits
        queue = self.queue
        return queue is not None and (
            queue.count >= 2 * limits.max_queue_messages or queue.bytes >= 2 * limits.max_queue_bytes
        )

    def has_room_for(self, message: Message) -> bool:
        """See `Sink`: a queue that is full is full for all."""
        return False

    def measure(self) -> None:
        """See whether there is still room in the queue."""
        queue, limits = self.queue, self.limits
        if queue is not None and (queue.count >= limits.max_queue_messages or queue.bytes >= limits.max_queue_bytes):
            self.router.set_full(self, True)

    def renumber(self) -> None:
        """Its deliveries will be recorded from now on: their numbers follow from their packet identifiers."""
        sent = self.last_identifier + (IDENTIFIERS if self.inflight else 0)  # the oldest has a number above 0
        self.last_number = sent + len(self.queue or ())
        if self.queue is not None:
            self.waiting().end = self.last_number + 1

    @property
    def sent(self) -> int:
        """The number of the last delivery that does not wait."""
        return self.last_number - len(self.queue or ())

    @property
    def oldest(self) -> int:
        """The number of the oldest delivery that is in flight, or that of the next to be sent."""
        return self.sent - max(((self.last_identifier - each) % IDENTIFIERS for each in self.inflight), default=-1)

    def in_flight(self, number: int) -> Delivery | None:
        """A delivery that was sent; None where it has ended, or its client has it."""
        return self.inflight.get(identifier_of(number)) if self.sent - number < IDENTIFIERS else None

    def put_back(self, deliveries: Sequence[Delivery]) -> None:
        """Let these wait before all others: the next packet identifier is still in use, by the oldest of 65,535."""
        self.waiting().put_back(deliveries, self.last_number + 1)

    def pump(self, now: int) -> None:
        """Send what the window has room for: repeats first, then the queue."""
        resend = self.resend
        while resend and len(self.inflight) - len(resend) < self.window:
            self._repeat(resend.popleft(), now)
        queue = self.queue
        waiting = 0 if queue is None else queue.count if self.safe is None else self.safe + 1 - queue.first
        while waiting > 0 and queue is not None and len(self.inflight) < self.window:
            identifier = self.last_identifier % IDENTIFIERS + 1
            if identifier in self.inflight:
                break  # so long ago that all others have been used since: its client has to answer first
            if not queue.head and not queue.is_ready:
                break  # it is being read
            delivery = queue.pop()
            waiting -= 1
            self.last_identifier = identifier
            if delivery is None:
                self.settlement.drop_unseen(Reason.UNREADABLE, 1)
            elif 0 < delivery[0].expires_at <= now:
                self.settlement.expire(delivery[0], self, now)
            elif self._send(identifier, delivery, now, dup=False):
                self.inflight[identifier] = delivery
                continue
            if self.recorded:
                self.record_progress(ENDED_OTHERWISE, identifier)
        if self.full and queue is not None:
            limits = self.limits
            if queue.count <= limits.max_queue_messages // 2 and queue.bytes <= limits.max_queue_bytes // 2:
                self.router.set_full(self, False)

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
        if self.recorded:
            self.record_progress(packet if reason_code < 0x80 else ENDED_OTHERWISE, identifier)
        queue = self.queue
        if (queue is not None and queue.count) or self.resend:
            self.pump(now)
        return True

    def record_progress(self, packet: int, identifier: int) -> None:
        """Journal that an exchange of this session moved on; together with those before, where they are alike."""
        records = self.router.engine.promises.records
        last = records[-1] if records else None
        if type(last) is Progressed and last.session == self.number and last.packet == packet:
            last.packet_identifiers.append(identifier)
        else:
            records.append(Progressed(self.number, packet, [identifier]))

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
            if self.recorded:
                self.record_progress(ENDED_OTHERWISE, identifier)

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
        """What its client has not confirmed: messages, and whether they were sent. Where a book is kept, all of it is
        in memory.
        """
        for delivery in self.inflight.values():
            if delivery is not None:
                yield delivery[0], True
        if self.queue is not None:
            for _, waiting in self.queue.in_memory():
                yield waiting[0], False

    def discard(self, now: int) -> None:
        """The session ends: its subscriptions go, what it was owed is settled."""
        for filter in list(self.subscriptions):
            self.router.unsubscribe(filter, self, now)
        self.subscriptions.clear()
        for message, _ in self.owed():
            self.settlement.drop(message, self, Reason.SESSION_ENDED, now)
        if self.queue is not None:
            if self.queue.unseen:
                self.settlement.drop_unseen(Reason.SESSION_ENDED, self.queue.unseen)
            self.queue.clear()
        self.inflight = {}
        if self.past is not None:
            self.router.engine.deadlines.withdraw(self.past)
        self.queue = self.resend = self.received = self.past = None
        self.safe = None
        self.router.set_full(self, False)


def nowhere(engine: Engine) -> Nowhere:
    """The channel of clients that are away, one per engine."""
    channel = Nowhere(engine, None)
    channel.size = MOST_BYTES + 1
    channel.stalled = True
    return channel
