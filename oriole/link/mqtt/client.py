"""An MQTT client, 3.1.1 and 5.0, without a socket and without a clock.

Whoever owns the connection calls `connect` when there is one, `receive` with what arrives, writes what `outgoing` gives
after every call, calls `tick` at `deadline`, and `closed` when the connection ends; `closing` says that it is to be
ended from here. The session outlives connections: messages with QoS 1 and 2 go on where they were. No enhanced
authentication: AUTH is refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Final

from oriole.link.mqtt.config import ClientConfig
from oriole.link.mqtt.events import (
    Connected,
    ConnectRefused,
    Disconnected,
    Event,
    Expired,
    MessageReceived,
    Published,
    Subscribed,
    Unsubscribed,
)
from oriole.link.mqtt.identifiers import PacketIdentifiers
from oriole.link.mqtt.inbox import Inbox
from oriole.link.mqtt.keep_alive import KeepAlive
from oriole.link.mqtt.limits import PublishRefused, excluded
from oriole.link.mqtt.outbox import DUP, Outbox, QueueFull
from oriole.link.mqtt.state import NotConnected, State
from oriole.wire.mqtt import (
    MAX_PACKET_BYTES,
    V5,
    ConnAck,
    Connect,
    Disconnect,
    MqttError,
    Packet,
    PacketType,
    PingReq,
    PingResp,
    Properties,
    ProtocolError,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    ReasonCode,
    Splitter,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
    decode,
    encode,
    read_header,
)
from oriole.wire.mqtt.reason_codes import REASON_CODES
from oriole.wire.topics import check_topic_name

_PLAIN_ACKS: Final = (b"", b"\x40\x02", b"\x50\x02")
"""PUBACK and PUBREC that say success, by QoS: what is missing is the packet identifier."""

_TOLERANCE: Final = 2
"""So many times our receive maximum is too much. Mosquitto 2.0 goes over it by a few, and is not to be cut off."""


class Client:
    """One MQTT session and at most one connection at a time. Times are milliseconds that never go back."""

    __slots__ = (
        "_aliases",
        "_asked",
        "_connack",
        "_connected_before",
        "_identifiers",
        "_inbox",
        "_keep_alive",
        "_outbox",
        "_output",
        "_output_bytes",
        "_session_outlives",
        "_splitter",
        "_untold",
        "client_identifier",
        "config",
        "state",
    )

    def __init__(self, config: ClientConfig) -> None:
        self.config = config
        self.client_identifier = config.client_identifier
        """The configured one, or what the server has assigned."""
        self.state = State.CLOSED
        self._outbox = Outbox(config.max_held_bytes)
        self._inbox = Inbox()
        self._identifiers = PacketIdentifiers()
        self._asked: dict[int, Subscribe | Unsubscribe] = {}  # on this connection, not answered
        self._aliases: dict[int, str] = {}
        self._splitter = Splitter(config.max_packet_bytes)
        self._connack = Properties()
        self._connected_before = False
        self._session_outlives = False
        self._output: list[bytes] = []
        self._output_bytes = 0
        self._keep_alive = KeepAlive()
        self._untold: list[Event] = []  # what `publish` found out about earlier messages

    @property
    def closing(self) -> bool:
        """Whether the connection is to be closed once `outgoing` is written."""
        return self.state is State.CLOSING

    @property
    def ping_sent_at(self) -> int | None:
        """When the ping was sent that the server has not answered; None when there is none."""
        return self._keep_alive.ping_sent if self.state is State.CONNECTED else None

    @property
    def unsettled(self) -> int:
        """QoS 1 and 2 messages published and neither acknowledged nor refused."""
        return len(self._outbox)

    @property
    def held_bytes(self) -> int:
        """What counts against `max_held_bytes`."""
        return self._outbox.held_bytes + self._output_bytes

    # the connection

    def identify(self, username: str | None, password: bytes | None) -> None:
        """The name and password to use from the next connection on: another server may want others."""
        self.config = replace(self.config, username=username, password=password)

    def introduce(self, properties: Properties) -> None:
        """What to say of ourselves in CONNECT from the next connection on."""
        self.config = replace(self.config, properties=properties)

    def connect(self, now: int) -> None:
        """There is a new network connection: CONNECT is the first thing to write."""
        config = self.config
        self.state = State.CONNECTING
        self._output.clear()
        self._output_bytes = 0
        self._splitter = Splitter(config.max_packet_bytes)
        self._aliases.clear()
        self._forget_what_was_asked()
        self._inbox.resume()
        self._keep_alive.start(config.keep_alive * 1000, now)
        self._send(
            Connect(
                self.client_identifier,
                config.version,
                self._clean_start,
                config.keep_alive,
                config.username,
                config.password,
                config.will,
                self._connect_properties(),
            ),
            now,
        )

    def receive(self, data: bytes, now: int) -> list[Event]:
        """Bytes from the server, cut in any way. Never raises for what they say: that is a `Disconnected`."""
        events, self._untold = self._untold, []
        if self.state not in (State.CONNECTING, State.CONNECTED):
            return events
        self._keep_alive.heard(now)
        version = self.config.version
        try:
            for first, body in self._splitter.split(data):
                packet = decode(first, body, version)
                if self.state is State.CONNECTING and type(packet) is not ConnAck:
                    raise ProtocolError("the server's first packet is not CONNACK")
                handle = _HANDLERS.get(type(packet))
                if handle is None:
                    raise ProtocolError(f"a server does not send {type(packet).__name__}")
                handle(self, packet, events, now)
                if self.closing:
                    break
        except MqttError as error:
            events.append(self._fail(error.reason_code, str(error), now))
        return events

    def outgoing(self) -> bytes:
        """What to write, once."""
        data = b"".join(self._output)
        self._output.clear()
        self._output_bytes = 0
        return data

    def forget_messages(self) -> None:
        """What was published with QoS 1 or 2 and is not settled is to go nowhere, nor is what is not written yet."""
        for identifier in self._outbox.forget():
            self._identifiers.free(identifier)
        self._output.clear()
        self._output_bytes = 0

    def disconnect(
        self, now: int, reason_code: ReasonCode = ReasonCode.NORMAL_DISCONNECTION, properties: Properties | None = None
    ) -> None:
        """Say goodbye: the server drops the will. Close the connection when `outgoing` is written."""
        if self.state is State.CONNECTED:
            self._send(Disconnect(reason_code, properties or Properties()), now)
        self.state = State.CLOSING

    def closed(self, now: int) -> list[Event]:
        """The connection is gone. One `Disconnected`, unless it was our wish or has been said already."""
        expected = self.state in (State.CLOSING, State.CLOSED)
        self.state = State.CLOSED
        if expected:
            return []
        return [Disconnected(ReasonCode.UNSPECIFIED_ERROR, "the server closed the connection")]

    def deadline(self) -> int | None:
        """When `tick` has something to do, if nothing is sent or received until then."""
        if self.state is State.CONNECTING:
            return self._keep_alive.last_sent + self.config.connect_timeout_s * 1000
        return self._keep_alive.deadline() if self.state is State.CONNECTED else None

    def tick(self, now: int) -> list[Event]:
        """The time is `now`: send a ping, or give up on a silent server. Harmless before `deadline`."""
        deadline = self.deadline()
        if deadline is None or now < deadline:
            return []
        if self.state is State.CONNECTING:
            return [self._fail(ReasonCode.SERVER_UNAVAILABLE, "the server did not answer CONNECT in time", now)]
        if self._keep_alive.ping_sent is not None:
            return [self._fail(ReasonCode.KEEP_ALIVE_TIMEOUT, "the server did not answer a ping in time", now)]
        self.probe(now)
        return []

    def probe(self, now: int) -> None:
        """Send a ping now, if none is on its way."""
        if self.state is State.CONNECTED and self._keep_alive.ping_sent is None:
            self._send(PingReq(), now)
            self._keep_alive.ping_sent = now

    # what the application wants

    def publish(
        self,
        topic: str | bytes,
        payload: bytes,
        qos: int = 0,
        retain: bool = False,
        properties: Properties | None = None,
        *,
        now: int,
    ) -> int | None:
        """Publish a message. With QoS 1 and 2: its packet identifier, which a `Published` will carry; they wait for a
        connection and for the server's window. `properties` are 5.0's, and ignored in 3.1.1.

        Raises TopicError; QueueFull when `max_held_bytes` are held; NotConnected for QoS 0 without a connection;
        PublishRefused for what the server has excluded; ValueError for what cannot be encoded.
        """
        if isinstance(topic, str):
            check_topic_name(topic)
            topic = topic.encode()
        if not qos and self.state not in (State.CONNECTING, State.CONNECTED):
            raise NotConnected("a QoS 0 message cannot wait for a connection")
        identifier = self._take_identifier() if qos else 0
        try:
            packet = encode(
                Publish(topic, payload, qos, retain, False, identifier, properties or Properties()), self.config.version
            )
            self._check_publish(packet)
        except Exception:
            self._identifiers.free(identifier)
            raise
        if not qos:
            self._write(packet, now)
            return None
        lifetime = properties.message_expiry_interval if properties is not None else None
        self._outbox.add(identifier, packet, now + 1000 * lifetime if lifetime else None)
        if self.state is State.CONNECTED:
            self._send_waiting(self._untold, now)
        return identifier

    def subscribe(
        self, subscriptions: Sequence[Subscription], properties: Properties | None = None, *, now: int
    ) -> int:
        """Ask for messages; a `Subscribed` will carry the packet identifier. Raises NotConnected, ValueError."""
        return self._ask(Subscribe(0, list(subscriptions), properties or Properties()), now)

    def unsubscribe(self, topic_filters: Sequence[str], properties: Properties | None = None, *, now: int) -> int:
        """The opposite; an `Unsubscribed` will carry the packet identifier. Raises NotConnected, ValueError."""
        return self._ask(Unsubscribe(0, list(topic_filters), properties or Properties()), now)

    def acknowledge(self, message: MessageReceived, reason_code: ReasonCode = ReasonCode.SUCCESS, *, now: int) -> None:
        """Manual acknowledgement: the application has the message, or refuses it (5.0). Those received before it are
        answered first. A message of an earlier connection is not answered: the server sends it again.
        """
        message.acknowledged = reason_code
        self._send_due(now)

    # packets from the server

    def _on_connack(self, packet: ConnAck, events: list[Event], now: int) -> None:
        if self.state is State.CONNECTED:
            raise ProtocolError("a second CONNACK")  # [MQTT-3.2.0-2]
        if packet.reason_code:
            self.state = State.CLOSING
            events.append(ConnectRefused(packet.reason_code, packet.properties))
            return
        if packet.session_present and self._clean_start:
            raise ProtocolError("session present after a clean start")  # [MQTT-3.2.2-2]
        properties = packet.properties
        self.state = State.CONNECTED
        self._connected_before = True
        self._connack = properties
        self.client_identifier = properties.assigned_client_identifier or self.client_identifier
        if properties.server_keep_alive is not None:
            self._keep_alive.interval_ms = properties.server_keep_alive * 1000  # [MQTT-3.2.2-21]
        expiry = properties.session_expiry_interval
        self._session_outlives = bool(self.config.session_expiry_interval if expiry is None else expiry)
        self._outbox.window = min(properties.receive_maximum or 65_535, self.config.send_maximum)
        events.append(Connected(packet.session_present, properties))
        if packet.session_present:
            for identifier in self._outbox.resume():
                self._send(PubRel(identifier), now)
        else:
            self._inbox.restart()
            for identifier in self._outbox.restart():
                self._published(Published(identifier), events)
        self._send_waiting(events, now)

    def _on_publish(self, packet: Publish, events: list[Event], now: int) -> None:
        qos = packet.qos
        message = MessageReceived(
            self._topic_of(packet) if packet.properties.present else packet.topic.decode(),
            packet.payload,
            qos,
            packet.retain,
            packet.dup,
            packet.packet_identifier,
            packet.properties,
        )
        if not qos:
            events.append(message)
            return
        if not self.config.manual_acknowledgement:
            message.acknowledged = ReasonCode.SUCCESS
            if qos == 1:  # nothing to remember
                events.append(message)
                self._acknowledge(message, now)
                return
        if self._inbox.receive(message):
            events.append(message)
        if self._inbox.holds_more_than(_TOLERANCE * self.config.receive_maximum):
            raise ProtocolError("more messages on the way than allowed", ReasonCode.RECEIVE_MAXIMUM_EXCEEDED)
        self._send_due(now)

    def _on_puback(self, packet: PubAck, events: list[Event], now: int) -> None:
        qos = self._outbox.qos_of_sent(packet.packet_identifier)
        if qos == 2:
            raise ProtocolError("PUBACK for a QoS 2 message")
        if qos:  # else it is late: for a message that is settled
            self._outbox.settle(packet.packet_identifier)
            self._published(Published(packet.packet_identifier, packet.reason_code, packet.properties), events)
            self._send_waiting(events, now)

    def _on_pubrec(self, packet: PubRec, events: list[Event], now: int) -> None:
        identifier = packet.packet_identifier
        qos = self._outbox.qos_of_sent(identifier)
        if qos == 1:
            raise ProtocolError("PUBREC for a QoS 1 message")
        if qos and packet.reason_code >= ReasonCode.UNSPECIFIED_ERROR:  # [MQTT-4.4.0-2]
            self._outbox.settle(identifier)
            self._published(Published(identifier, packet.reason_code, packet.properties), events)
            self._send_waiting(events, now)
        elif qos:
            self._outbox.release(identifier)
            self._send(PubRel(identifier), now)
        elif self._outbox.is_released(identifier):
            self._send(PubRel(identifier), now)
        elif packet.reason_code < ReasonCode.UNSPECIFIED_ERROR:
            self._send(PubRel(identifier, ReasonCode.PACKET_IDENTIFIER_NOT_FOUND), now)

    def _on_pubrel(self, packet: PubRel, events: list[Event], now: int) -> None:
        known = self._inbox.release(packet.packet_identifier)
        reason_code = ReasonCode.SUCCESS if known else ReasonCode.PACKET_IDENTIFIER_NOT_FOUND
        self._send(PubComp(packet.packet_identifier, reason_code), now)

    def _on_pubcomp(self, packet: PubComp, events: list[Event], now: int) -> None:
        if self._outbox.complete(packet.packet_identifier):
            self._published(Published(packet.packet_identifier, properties=packet.properties), events)
            self._send_waiting(events, now)

    def _on_suback(self, packet: SubAck, events: list[Event], now: int) -> None:
        asked = self._answered(packet.packet_identifier)
        if not isinstance(asked, Subscribe) or len(asked.subscriptions) != len(packet.reason_codes):
            raise ProtocolError("a SUBACK that answers no SUBSCRIBE")
        events.append(Subscribed(packet.packet_identifier, packet.reason_codes, packet.properties))

    def _on_unsuback(self, packet: UnsubAck, events: list[Event], now: int) -> None:
        asked = self._answered(packet.packet_identifier)
        if not isinstance(asked, Unsubscribe):
            raise ProtocolError("an UNSUBACK that answers no UNSUBSCRIBE")
        reason_codes = packet.reason_codes
        if self.config.version != V5:
            reason_codes = [ReasonCode.SUCCESS] * len(asked.topic_filters)
        if len(asked.topic_filters) != len(reason_codes):
            raise ProtocolError("an UNSUBACK that answers no UNSUBSCRIBE")
        events.append(Unsubscribed(packet.packet_identifier, reason_codes, packet.properties))

    def _on_pingresp(self, packet: PingResp, events: list[Event], now: int) -> None:
        """That something has arrived is what counts, and `receive` has noted it."""

    def _on_disconnect(self, packet: Disconnect, events: list[Event], now: int) -> None:
        if self.config.version != V5:
            raise ProtocolError("a server of 3.1.1 does not send DISCONNECT")
        self.state = State.CLOSING
        text = packet.properties.reason_string or packet.reason_code.name.lower().replace("_", " ")
        events.append(Disconnected(packet.reason_code, f"the server disconnected: {text}", packet.properties))

    # the rest

    @property
    def _clean_start(self) -> bool:
        if self.config.version == V5 and self._connected_before:
            return not self._session_outlives
        return self.config.clean_start

    def _connect_properties(self) -> Properties:
        config, properties = self.config, self.config.properties.copy()
        properties.session_expiry_interval = config.session_expiry_interval or None
        properties.receive_maximum = config.receive_maximum if config.receive_maximum < 65_535 else None
        properties.topic_alias_maximum = config.topic_alias_maximum or None
        properties.maximum_packet_size = config.max_packet_bytes if config.max_packet_bytes < MAX_PACKET_BYTES else None
        return properties

    def _topic_of(self, packet: Publish) -> str:
        alias = packet.properties.topic_alias
        if alias is None:
            return packet.topic.decode()
        if alias > self.config.topic_alias_maximum:
            raise ProtocolError(f"topic alias {alias} is not allowed", ReasonCode.TOPIC_ALIAS_INVALID)
        if packet.topic:
            self._aliases[alias] = packet.topic.decode()
        elif alias not in self._aliases:
            raise ProtocolError(f"topic alias {alias} stands for nothing", ReasonCode.TOPIC_ALIAS_INVALID)
        return self._aliases[alias]

    def _check_publish(self, packet: bytes) -> None:
        if self.state is State.CONNECTED and (reason_code := excluded(packet, self._connack)):
            raise PublishRefused(reason_code)
        if not self._outbox.has_room(self._output_bytes + len(packet)):
            raise QueueFull(f"{self.held_bytes} bytes are held, {self.config.max_held_bytes} are allowed")

    def _take_identifier(self) -> int:
        identifier = self._identifiers.take()
        if identifier is None:
            raise QueueFull("all 65,535 packet identifiers are in use")
        return identifier

    def _ask(self, packet: Subscribe | Unsubscribe, now: int) -> int:
        if self.state is not State.CONNECTED:
            raise NotConnected("subscriptions need a connection")
        packet.packet_identifier = self._take_identifier()
        try:
            self._send(packet, now)
        except ValueError:
            self._identifiers.free(packet.packet_identifier)
            raise
        self._asked[packet.packet_identifier] = packet
        return packet.packet_identifier

    def _answered(self, packet_identifier: int) -> Subscribe | Unsubscribe | None:
        asked = self._asked.pop(packet_identifier, None)
        if asked is not None:
            self._identifiers.free(packet_identifier)
        return asked

    def _forget_what_was_asked(self) -> None:
        for identifier in self._asked:
            self._identifiers.free(identifier)
        self._asked.clear()

    def _published(self, event: Published, events: list[Event]) -> None:
        self._identifiers.free(event.packet_identifier)
        events.append(event)

    def _send_waiting(self, events: list[Event], now: int) -> None:
        outbox = self._outbox
        while waiting := outbox.next():
            identifier, packet = waiting
            refusal = excluded(packet, self._connack)  # published before this server said what it takes
            expires_at = outbox.expires_at(identifier)
            if refusal is not None:
                outbox.settle(identifier)
                self._published(Published(identifier, refusal), events)
            elif expires_at is None or self.config.version != V5:
                self._write(packet, now)
            elif expires_at > now or packet[0] & DUP:  # what was sent before is repeated in any case [MQTT-4.4.0-1]
                self._write(_aged(packet, max(1, -(-(expires_at - now) // 1000))), now)
            else:
                outbox.settle(identifier)
                self._identifiers.free(identifier)
                events.append(Expired(identifier))

    def _send_due(self, now: int) -> None:
        if self.state is not State.CONNECTED:
            return
        for message in self._inbox.take_due():
            self._acknowledge(message, now)

    def _acknowledge(self, message: MessageReceived, now: int) -> None:
        if message.acknowledged:
            answer = PubAck if message.qos == 1 else PubRec
            self._send(answer(message.packet_identifier, message.acknowledged), now)
        else:  # there is one for every message: ready made but for the identifier
            self._write(_PLAIN_ACKS[message.qos] + message.packet_identifier.to_bytes(2, "big"), now)

    def _fail(self, reason_code: ReasonCode, text: str, now: int) -> Disconnected:
        if self.state is State.CONNECTED and self.config.version == V5:
            known = REASON_CODES[PacketType.DISCONNECT].get(reason_code, ReasonCode.PROTOCOL_ERROR)
            self._send(Disconnect(known), now)
        self.state = State.CLOSING
        return Disconnected(reason_code, text)

    def _send(self, packet: Packet, now: int) -> None:
        self._write(encode(packet, self.config.version), now)

    def _write(self, data: bytes, now: int) -> None:
        self._output.append(data)
        self._output_bytes += len(data)
        self._keep_alive.last_sent = now


def _aged(packet: bytes, lifetime_s: int) -> bytes:
    """A PUBLISH of MQTT 5 with what remains of its lifetime: it may have waited for a window, or for a connection."""
    header = read_header(packet, 0)
    assert header is not None
    first, start, end = header
    publish = decode(first, packet[start:end], V5)
    assert isinstance(publish, Publish)
    publish.properties.message_expiry_interval = lifetime_s
    return encode(publish, V5)


_HANDLERS: Final[dict[type, Callable[[Client, Any, list[Event], int], None]]] = {
    ConnAck: Client._on_connack,
    Publish: Client._on_publish,
    PubAck: Client._on_puback,
    PubRec: Client._on_pubrec,
    PubRel: Client._on_pubrel,
    PubComp: Client._on_pubcomp,
    SubAck: Client._on_suback,
    UnsubAck: Client._on_unsuback,
    PingResp: Client._on_pingresp,
    Disconnect: Client._on_disconnect,
}
