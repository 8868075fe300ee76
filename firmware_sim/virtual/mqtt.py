"""A port on MQTT in virtual time: `oriole.link.mqtt`'s client over a stream of the virtual network."""

from collections.abc import Sequence
from random import Random

from firmware_sim.devices.port import Access, Delivery, Owner
from oriole.link.mqtt import (
    Client,
    ClientConfig,
    Connected,
    ConnectRefused,
    Disconnected,
    Event,
    Expired,
    MessageReceived,
    NotConnected,
    Published,
    PublishRefused,
    QueueFull,
    Subscribed,
)
from oriole.wire.mqtt import V5, V311, Properties, Subscription
from oriole.wire.mqtt import Will as MqttWill

from .loop import SECOND_NS, Timeline
from .network import Network, Route, Stream

FIRST_RETRY_S, LAST_RETRY_S = 0.2, 5.0
MAX_HELD_BYTES = 1 << 20
"""What a device keeps while it is offline."""


class MqttPort:
    """A client with a session that outlives its connections. See `firmware_sim.devices.port.Port`."""

    latest_only = False

    def __init__(
        self, network: Network, timeline: Timeline, access: Access, routes: Sequence[Route], random: Random
    ) -> None:
        self._network = network
        self._timeline = timeline
        self._access = access
        self._routes = list(routes)
        self._random = random
        self._meter = access.meter
        self._stream: Stream | None = None
        self._is_wanted = False
        self._is_stalled = False
        self._retry_s = FIRST_RETRY_S
        self._attempt = 0  # tells a retry, or an answer, that came too late from one that is awaited
        self._alarm_ns = 0
        self._knows_session = True
        self._forget()

    def _forget(self) -> None:
        """Be as a client that was never connected."""
        self._client = self._new_client()
        self._tickets: dict[int, int] = {}  # packet identifier -> ticket
        self._sent: dict[int, int] = {}  # those of them that were written on some connection
        self._filters: dict[int, str] = {}

    def _new_client(self) -> Client:
        access = self._access
        is_5 = access.mqtt_version == 5
        will = access.will
        return Client(
            ClientConfig(
                client_identifier=access.client_id,
                version=V5 if is_5 else V311,
                clean_start=is_5 and not self._knows_session,  # in MQTT 3.1.1 it would have no session at all
                session_expiry_interval=access.session_s if is_5 else 0,
                keep_alive=access.keep_alive_s,
                will=None if will is None else MqttWill(will.topic.encode(), will.payload, 1, True),
                max_held_bytes=MAX_HELD_BYTES,
            )
        )

    # ---- What the device asks for

    def open(self, owner: Owner) -> None:
        """See `Port`."""
        self._owner = owner
        if not self._is_wanted:
            self._is_wanted = True
            if self._meter is not None:
                self._meter.woke(self._timeline.now)
            self._retry_s = FIRST_RETRY_S
            if self._stream is None:
                self._dial()

    def sleep(self) -> None:
        """See `Port`."""
        self._rest()
        if self._stream is not None:
            self._client.disconnect(self._timeline.now_ms())
            self._flush()

    def fail(self, keeps_state: bool, silently: bool) -> None:
        """See `Port`."""
        self._rest()
        self._drop(silently)
        if not keeps_state:
            self._knows_session = False
            self._forget()

    def _rest(self) -> None:
        self._is_wanted = False
        self._attempt += 1
        if self._meter is not None:
            self._meter.slept(self._timeline.now)

    def stall(self, stalled: bool) -> None:
        """See `Port`."""
        self._is_stalled = stalled
        if self._stream is not None:
            self._stream.stall(stalled)

    def roam(self) -> None:
        """See `Port`."""
        self._routes.append(self._routes.pop(0))
        if self._is_wanted:
            self._drop(silently=True)
            self._owner.disconnected("went over to another node")
            self._dial()

    async def close(self) -> None:
        """See `Port`."""
        self.sleep()

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """See `Port`."""
        try:
            identifier = self._client.subscribe([Subscription(topic_filter, qos)], now=self._timeline.now_ms())
        except NotConnected:
            return  # the device asks again when there is a session
        self._filters[identifier] = topic_filter
        self._flush()

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int, lifetime_s: int = 0) -> None:
        """See `Port`."""
        properties = Properties(message_expiry_interval=lifetime_s) if lifetime_s else None
        try:
            identifier = self._client.publish(topic, payload, qos, retain, properties, now=self._timeline.now_ms())
        except QueueFull:
            self._owner.refused(ticket, "the device's own queue is full")
            return
        except PublishRefused as error:
            self._owner.refused(ticket, str(error))
            return
        except NotConnected:
            return  # QoS 0 does not wait
        if identifier is not None:
            self._tickets[identifier] = ticket
            if self._stream is not None:
                self._sent[identifier] = ticket
        self._flush()

    def forget(self, topic: str) -> None:
        """See `Port`. A run in virtual time ends with its brokers: there is nothing to leave behind."""

    def read(self, topic: str) -> None:
        """See `Port`."""
        raise NotImplementedError("MQTT has no question: subscribe instead")

    # ---- Connections

    def _dial(self) -> None:
        self._attempt += 1
        self._network.dial(self._routes[0], self, self._attempt)

    def dialled(self, stream: Stream | None, attempt: int, reason: str = "") -> None:
        """A connection is there, or nobody answered. One that nobody waits for any more is ended."""
        if attempt != self._attempt:
            if stream is not None:
                stream.abort()
        elif stream is None:
            self._owner.disconnected(reason)
            self._again()
        else:
            self._stream = stream
            stream.stall(self._is_stalled)
            self._client.connect(self._timeline.now_ms())
            self._flush()

    def _again(self) -> None:
        if not self._is_wanted:
            return
        self._attempt += 1
        pause_s = self._retry_s * self._random.uniform(0.5, 1.5)
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
        self._timeline.at(self._timeline.now + round(pause_s * SECOND_NS), self._retry, self._attempt)

    def _retry(self, attempt: int) -> None:
        if attempt == self._attempt:
            self._dial()

    def _drop(self, silently: bool) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            if silently:
                stream.vanish()
            else:
                stream.abort()
            self._client.closed(self._timeline.now_ms())

    def receive(self, data: bytes) -> None:
        """The stream brought bytes."""
        if self._meter is not None:
            self._meter.received(len(data), self._timeline.now)
        for event in self._client.receive(data, self._timeline.now_ms()):
            self._tell(event)
        self._flush()

    def ended(self) -> None:
        """The other side closed the stream."""
        self._stream = None
        events = self._client.closed(self._timeline.now_ms())
        if self._is_wanted:
            self._owner.disconnected(events[0].text if events and isinstance(events[0], Disconnected) else "closed")
            self._again()

    def drained(self, unsent: int) -> None:
        """The stream took what was written."""

    def _flush(self) -> None:
        stream = self._stream
        if stream is None:
            return
        if data := self._client.outgoing():
            if self._meter is not None:
                self._meter.sent(len(data), self._timeline.now)
            stream.write(data)
        if self._client.closing:
            self._stream = None
            stream.end()
            self._client.closed(self._timeline.now_ms())
            if self._is_wanted:
                self._again()
            return
        deadline = self._client.deadline()
        if deadline is not None and (not self._alarm_ns or deadline * 1_000_000 < self._alarm_ns):
            self._alarm_ns = max(deadline * 1_000_000, self._timeline.now)
            self._timeline.at(self._alarm_ns, self._alarm, self._alarm_ns)

    def _alarm(self, set_for_ns: int) -> None:
        """The client wanted to be looked at, unless something has been said or heard meanwhile."""
        if set_for_ns != self._alarm_ns:
            return  # an earlier one took its place
        self._alarm_ns = 0
        if self._stream is None:
            return
        for event in self._client.tick(self._timeline.now_ms()):
            self._tell(event)
        self._flush()

    def _tell(self, event: Event) -> None:
        match event:
            case MessageReceived():
                delivery = Delivery(event.topic, event.payload, event.qos, event.dup, event.retain)
                self._owner.delivered(delivery)
            case Published(packet_identifier=identifier, reason_code=code):
                self._sent.pop(identifier, None)
                ticket = self._tickets.pop(identifier, None)
                if ticket is None:
                    return
                if code >= 0x80:
                    self._owner.refused(ticket, code.name.lower())
                else:
                    self._owner.accepted(ticket)
            case Expired(packet_identifier=identifier):
                self._sent.pop(identifier, None)
                self._owner.refused(self._tickets.pop(identifier), "expired on the device")
            case Subscribed(packet_identifier=identifier, reason_codes=codes):
                topic_filter = self._filters.pop(identifier)
                if codes[0] >= 0x80:
                    self._owner.disconnected(f"the subscription to {topic_filter} was refused: {codes[0].name.lower()}")
                else:
                    self._owner.subscribed(topic_filter)
            case Connected(session_present=resumed):
                self._retry_s = FIRST_RETRY_S
                self._knows_session = True
                if self._meter is not None:
                    self._meter.connected(self._timeline.now)
                self._owner.resent(list(self._sent.values()))
                self._sent.update(self._tickets)
                self._filters.clear()
                self._owner.connected(resumed)
            case ConnectRefused(reason_code=code):
                self._owner.disconnected(f"refused: {code.name.lower()}")
            case Disconnected(text=text):
                self._owner.disconnected(text)
