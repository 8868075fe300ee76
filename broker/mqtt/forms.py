"""How a message becomes PUBLISH packets: once per form, shared by all sessions of that form.

A QoS 1 or 2 packet is three pieces: what comes before the packet identifier, the identifier from a table of ready-made
two-byte strings, and what comes after. Only the middle differs between sessions.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from broker.core.message import Header, Message, split_collapse_key
from broker.core.pressure import HIGH_WATER_BYTES
from broker.core.pushes import payload_of
from broker.core.records import ENDED_OTHERWISE, Delivery
from broker.core.settlement import Reason
from broker.mqtt.pieces import PACKET_IDENTIFIERS
from oriole.link.uplink.stamps import without_stamps
from oriole.wire.mqtt import V5, Properties, encode_properties
from oriole.wire.mqtt.fields import encode_variable_byte_integer

if TYPE_CHECKING:
    from broker.mqtt.session import Session


NO_HEADER = Header()


def publish_properties(
    message: Message, identifiers: tuple[int, ...], now: int, stamp: Sequence[tuple[str, str]] = ()
) -> bytes:
    """The property section of a PUBLISH, length included; the lifetime is what remains of it [MQTT-3.3.2-6]."""
    if message.header is None and not identifiers and not message.expires_at and not stamp:
        return b"\0"
    return encode_properties(message_properties(message, identifiers, now, stamp))


def message_properties(
    message: Message, identifiers: tuple[int, ...], now: int, stamp: Sequence[tuple[str, str]]
) -> Properties:
    """The properties of a PUBLISH, those of another node's `stamp` included."""
    header = message.header
    properties = Properties()
    if message.expires_at:
        properties.message_expiry_interval = max(1, (message.expires_at - now + 999) // 1000)
    properties.subscription_identifier = list(identifiers)
    properties.user_property = list(stamp)
    if header is not None:
        properties.content_type = header.content_type
        properties.payload_format_indicator = header.payload_format_indicator
        properties.response_topic = header.response_topic
        properties.correlation_data = header.correlation_data
        properties.user_property = [*header.pairs, *stamp]
    return properties


def read_header(properties: Properties, node_path: tuple[str, ...] = ()) -> Header | None:
    """What a PUBLISH's properties say about its message; None if they say nothing that travels on. What a node stamps
    on a message is no part of it, and nobody else's word for it.
    """
    collapse_key, pairs = split_collapse_key(without_stamps(properties.user_property))
    header = Header(
        properties.content_type,
        properties.payload_format_indicator,
        properties.response_topic,
        properties.correlation_data,
        pairs,
        collapse_key,
        node_path,
    )
    return None if header == NO_HEADER else header


class MqttForm:
    """One way of putting a message into PUBLISH packets, and of handing them to sessions.

    Args:
        version: 4 or 5.
        qos: highest QoS granted; caps what was published [MQTT-3.8.4-8].
        no_local: not to the session that published it [MQTT-3.8.3-3].
        retain_as_published: keep the RETAIN flag [MQTT-3.3.1-13].
        identifiers: subscription identifiers to send along [MQTT-3.3.4-3].
        max_packet_bytes: largest PUBLISH that these clients take [MQTT-3.1.2-24]; 0 for any.
    """

    __slots__ = ("identifiers", "key", "max_packet_bytes", "no_local", "qos", "retain_as_published", "takes", "version")

    def __init__(
        self,
        version: int,
        qos: int,
        no_local: bool = False,
        retain_as_published: bool = False,
        identifiers: tuple[int, ...] = (),
        max_packet_bytes: int = 0,
    ) -> None:
        self.version = version
        self.qos = qos
        self.no_local = no_local
        self.retain_as_published = retain_as_published
        self.identifiers = identifiers
        self.max_packet_bytes = max_packet_bytes
        self.key = (version, qos, no_local, retain_as_published, identifiers, max_packet_bytes)
        self.takes = 0 if no_local or identifiers or max_packet_bytes else 1 << version

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and isinstance(other, MqttForm) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def merge(self, other: MqttForm) -> MqttForm:
        """The form of a session whose filters overlap: highest QoS, all identifiers, one copy [MQTT-3.3.4-2]."""
        return self.granting(
            max(self.qos, other.qos),
            self.no_local and other.no_local,
            self.retain_as_published or other.retain_as_published,
            self.identifiers + other.identifiers,
        )

    def granting(
        self, qos: int, no_local: bool, retain_as_published: bool, identifiers: tuple[int, ...] = ()
    ) -> MqttForm:
        """The form of the same clients for a subscription with these options."""
        return MqttForm(self.version, qos, no_local, retain_as_published, identifiers, self.max_packet_bytes)

    def forward(self, packets: bytes, count: int, sinks: Sequence[Session], now: int) -> None:
        """Hand on whole QoS 0 packets as they came."""
        size = len(packets)
        missed = 0
        for session in sinks:
            channel = session.channel
            if channel.size > HIGH_WATER_BYTES:
                reason = session.misses()
                if reason is not None:
                    session.settlement.drop_unseen(reason, count)
                    missed += count
                    continue
            out = channel.out
            if not out:
                channel.engine.dirty.append(channel)
            out.append(packets)
            channel.size += size
        channel.engine.settlement.sent += count * len(sinks) - missed

    def recipients(self, message: Message, sinks: Sequence[Session]) -> Sequence[Session]:
        """All of them, but not who published it and asked not to hear of it."""
        if self.no_local and message.origin in sinks:
            return [session for session in sinks if session is not message.origin]
        return sinks

    def deliver(self, message: Message, sinks: Sequence[Session], now: int) -> None:
        """Encode `message` once and hand it to each session: at once, or into its queue."""
        qos = message.qos
        if qos > self.qos:
            qos = self.qos
        if self.no_local:
            sinks = self.recipients(message, sinks)
            if not sinks:
                return
        retain = message.retain and (self.retain_as_published or message.replayed)
        if qos == 0:
            head, tail = self.encode(message, 0, retain, self.identifiers, now)
            if self.max_packet_bytes and len(head) + len(tail) > self.max_packet_bytes:
                self.too_large(message, sinks, now)
                return
            packet = head + tail
            if sinks[0].settlement.book is None:
                self.forward(packet, 1, sinks, now)
            else:
                for session in sinks:
                    session.pass_on(message, packet, now)
            return
        self._owe((message,), qos, retain, sinks, now)

    def deliver_all(self, messages: Sequence[Message], sinks: Sequence[Session], now: int) -> None:
        """The same for messages on one topic that came together from one publisher, none of them retained."""
        qos = min(messages[0].qos, self.qos)
        if not qos:
            for message in messages:
                self.deliver(message, sinks, now)
        elif recipients := self.recipients(messages[0], sinks):
            self._owe(messages, qos, False, recipients, now)

    def _owe(self, messages: Sequence[Message], qos: int, retain: bool, sinks: Sequence[Session], now: int) -> None:
        """Owe QoS 1 or 2 messages to sessions: sent as far as each one's window goes, queued beyond it."""
        identifiers = self.identifiers
        deliveries = [(message, qos, retain, identifiers) for message in messages]
        packets: list[tuple[bytes, bytes]] = []
        for session in sinks:
            if session.full and session.overflows(messages):
                for message in messages:
                    session.settlement.drop(message, session, Reason.QUEUE_FULL, now)
                continue
            inflight = session.inflight
            waits = session.recorded and session.record_owed(messages, qos, retain, identifiers)
            room = 0 if waits or session.queue else session.window - len(inflight)
            if room < len(deliveries):
                session.enqueue(deliveries[max(room, 0) :])
                if waits:
                    session.depart_when_safe()
                if room <= 0:
                    continue
            if not packets:
                packets = [self._packet(delivery, now) for delivery in deliveries]
            channel = session.channel
            out = channel.out
            if not out:
                channel.engine.dirty.append(channel)
            size = 0
            identifier = session.last_identifier
            for delivery, (head, tail) in zip(deliveries[:room], packets, strict=False):
                identifier += 1
                if identifier > 0xFFFF:
                    identifier = 1
                if identifier in inflight:
                    identifier = identifier - 1 or 0xFFFF
                    session.put_back(deliveries[deliveries.index(delivery) : room])
                    break
                if not head:
                    session.settlement.drop(delivery[0], session, Reason.TOO_LARGE, now)
                    if session.recorded:
                        session.record_progress(ENDED_OTHERWISE, identifier)
                    continue
                inflight[identifier] = delivery
                out += (head, PACKET_IDENTIFIERS[identifier], tail)
                size += len(head) + len(tail) + 2
            session.last_identifier = identifier
            channel.size += size
            if session.queue and len(inflight) < session.window:  # some were too large: their places are free
                session.pump(now)

    def _packet(self, delivery: Delivery, now: int) -> tuple[bytes, bytes]:
        """The bytes before and after the packet identifier; none before it means that these clients do not take it."""
        message, qos, retain, identifiers = delivery
        encoded = message.encoded
        if encoded is not None and encoded[0] == self.takes and qos == message.qos and not retain:
            return encoded[1], encoded[2]
        head, tail = self.encode(message, qos, retain, identifiers, now)
        if self.max_packet_bytes and len(head) + len(tail) + 2 > self.max_packet_bytes:
            return b"", b""
        return head, tail

    def encode(
        self, message: Message, qos: int, retain: bool, identifiers: tuple[int, ...], now: int, dup: bool = False
    ) -> tuple[bytes, bytes]:
        """The bytes before and after the packet identifier of a PUBLISH (3.3)."""
        topic = message.topic
        tail = message.payload
        if self.version == V5:
            tail = self.properties(message, identifiers, now) + tail
        elif message.header is not None:
            tail = payload_of(message, now)
        length = len(topic) + len(tail) + (4 if qos else 2)
        first = 0x30 | dup << 3 | qos << 1 | retain
        if length < 128:
            head = bytes((first, length, len(topic) >> 8, len(topic) & 255)) + topic
        else:
            head = bytes((first,)) + encode_variable_byte_integer(length) + len(topic).to_bytes(2) + topic
        return head, tail

    def properties(self, message: Message, identifiers: tuple[int, ...], now: int) -> bytes:
        """The property section of a PUBLISH."""
        return publish_properties(message, identifiers, now)

    def too_large(self, message: Message, sinks: Sequence[Session], now: int) -> None:
        """Settle a message that these clients do not take: as if it had been sent [MQTT-3.1.2-25]."""
        for session in sinks:
            session.settlement.drop(message, session, Reason.TOO_LARGE, now)


@lru_cache(maxsize=256)
def encoding_of(version: int, max_packet_bytes: int = 0) -> MqttForm:
    """How clients of a version and a Maximum Packet Size take packets: one form for all that are alike."""
    return MqttForm(version, 2, max_packet_bytes=max_packet_bytes)
