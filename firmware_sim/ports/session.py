"""A device's MQTT session over Oriole's own client, whatever carries its connections.

It knows what the device asked for and what came of it: tickets, filters, what may arrive twice, when to try again. How
a connection is made, how bytes travel on it and how it ends is for subclasses, which say when there is one (`_opened`),
what it brought (`receive`) and that it is gone (`_lost`). Pauses between attempts grow, and follow from the seed, the
device and the attempt alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from random import Random
from typing import Final, Generic, TypeVar

from firmware_sim.devices.clock import SECOND_NS, Clock
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
from oriole.link.mqtt.state import State
from oriole.wire.mqtt import V5, V311, Properties, ReasonCode, Subscription, Will

FIRST_RETRY_S, LAST_RETRY_S = 0.2, 5.0
MAX_HELD_BYTES: Final = 1 << 20
"""What a device keeps while it is offline."""
MS_NS: Final = 1_000_000

Address = TypeVar("Address")


class MqttSession(ABC, Generic[Address]):
    """A session that outlives its connections. See `firmware_sim.devices.port.Port`.

    Args:
        clock: what its alarms and pauses are planned on.
        access: who it is.
        addresses: where to connect; the first until it roams.
        seed: what its pauses between attempts come from, with its name.
    """

    __slots__ = (
        "_access",
        "_addresses",
        "_alarm_ns",
        "_attempt",
        "_client",
        "_clock",
        "_filters",
        "_has_lost_session",
        "_is_wanted",
        "_meter",
        "_owner",
        "_retry_s",
        "_seed",
        "_sent",
        "_speaker",
        "_tickets",
    )

    latest_only = False

    def __init__(self, clock: Clock, access: Access, addresses: Sequence[Address], seed: int) -> None:
        self._clock = clock
        self._access = access
        self._addresses = list(addresses)
        self._seed = seed
        self._meter = access.meter
        self._owner: Owner
        self._is_wanted = False
        self._has_lost_session = False
        self._retry_s = FIRST_RETRY_S
        self._attempt = 0  # tells what comes too late from what is awaited
        self._alarm_ns = 0
        self._forget()

    def _forget(self) -> None:
        """Be as a client that was never connected."""
        access, will = self._access, self._access.will
        is_5 = access.mqtt_version == 5
        self._client = Client(
            ClientConfig(
                client_identifier=access.client_id,
                version=V5 if is_5 else V311,
                clean_start=is_5 and self._has_lost_session,  # in MQTT 3.1.1 it would never have a session
                session_expiry_interval=access.session_s if is_5 else 0,
                keep_alive=access.keep_alive_s,
                will=None if will is None else Will(will.topic.encode(), will.payload, 1, True),
                max_held_bytes=MAX_HELD_BYTES,
            )
        )
        self._speaker = self._client  # who has the connection
        self._tickets: dict[int, int] = {}  # packet identifier -> ticket
        self._sent: dict[int, int] = {}  # those of them that were written on some connection
        self._filters: dict[int, str] = {}

    # ---- How connections are made and lost

    @abstractmethod
    def _dial(self, address: Address) -> None:
        """Make a connection: `_opened` or `_lost` follows, sooner or later."""

    @abstractmethod
    def _write(self, data: bytes) -> None:
        """Send bytes on the connection."""

    @abstractmethod
    def _hang_up(self, silently: bool) -> None:
        """Have no connection any more, and make none. Without effect where there is none.

        What was written may still leave, unless it is to end `silently`: then nobody is told, if that can be done.
        """

    @abstractmethod
    def stall(self, stalled: bool) -> None:
        """See `Port`."""

    def _opened(self) -> None:
        """The connection is there."""
        self._speaker = self._client
        if self._has_lost_session and self._client.config.version == V311:  # a clean one ends the old [MQTT-3.1.2-6]
            self._speaker = Client(replace(self._client.config, clean_start=True, will=None))
        self._speaker.connect(self._now_ms())
        self._flush()

    def _lost(self, reason: str) -> None:
        """The connection is gone, or never came."""
        self._end(silently=False)
        if self._is_wanted:
            self._owner.disconnected(reason)
            self._again()

    def receive(self, data: bytes) -> None:
        """The connection brought bytes."""
        now_ns = self._clock.now_ns()
        if self._meter is not None:
            self._meter.received(len(data), now_ns)
        for event in self._speaker.receive(data, now_ns // MS_NS):
            self._tell(event)
        self._flush()

    # ---- What the device asks for

    def open(self, owner: Owner) -> None:
        """See `Port`."""
        self._owner = owner
        if not self._is_wanted:
            self._is_wanted = True
            if self._meter is not None:
                self._meter.woke(self._clock.now_ns())
            self._retry_s = FIRST_RETRY_S
            self._dial(self._addresses[0])

    def sleep(self) -> None:
        """See `Port`."""
        self._leave(None)

    def fail(self, keeps_state: bool, silently: bool) -> None:
        """See `Port`."""
        self._rest(silently)
        if not keeps_state:
            self._has_lost_session = True
            self._forget()

    def roam(self) -> None:
        """See `Port`. With one address it is the same one again, over a new connection."""
        self._addresses.append(self._addresses.pop(0))
        if self._is_wanted:
            self._end(silently=True)
            self._owner.disconnected("went over to another node")
            self._retry_s = FIRST_RETRY_S
            self._dial(self._addresses[0])

    async def close(self) -> None:
        """See `Port`. An MQTT 3.1.1 broker keeps the session, which only another connection could end."""
        self._leave(Properties(session_expiry_interval=0))

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """See `Port`."""
        try:
            identifier = self._client.subscribe([Subscription(topic_filter, qos)], now=self._now_ms())
        except NotConnected:
            return  # the device asks again when there is a session
        self._filters[identifier] = topic_filter
        self._flush()

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int, lifetime_s: int = 0) -> None:
        """See `Port`."""
        properties = Properties(message_expiry_interval=lifetime_s) if lifetime_s else None
        try:
            identifier = self._client.publish(topic, payload, qos, retain, properties, now=self._now_ms())
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
            if self._client.state is State.CONNECTED:
                self._sent[identifier] = ticket
        self._flush()

    def forget(self, topic: str) -> None:
        """See `Port`."""
        with suppress(NotConnected, QueueFull, PublishRefused):
            self._client.publish(topic, b"", 0, retain=True, now=self._now_ms())
        self._flush()

    def read(self, topic: str) -> None:
        """See `Port`."""
        raise NotImplementedError("MQTT has no question: subscribe instead")

    # ---- The life of its connections

    def _again(self) -> None:
        """Try again after a pause, where a connection is wanted."""
        if not self._is_wanted:
            return
        chance = Random(f"{self._seed}/{self._access.name}/retry/{self._attempt}")
        pause_s = self._retry_s * chance.uniform(0.5, 1.5)
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
        retry = partial(self._retry, self._attempt)
        self._clock.at(self._clock.now_ns() + round(pause_s * SECOND_NS), retry)

    def _retry(self, attempt: int) -> None:
        if attempt == self._attempt:
            self._dial(self._addresses[0])

    def _leave(self, properties: Properties | None) -> None:
        """End in order, where there is something to end."""
        self._is_wanted = False
        if self._speaker.state is not State.CLOSED:
            self._speaker.disconnect(self._now_ms(), properties=properties)
            self._flush()
        self._rest(silently=False)

    def _rest(self, silently: bool) -> None:
        """Want no connection. What the device had to say is said: a radio that sends afterwards would not sleep."""
        self._is_wanted = False
        self._end(silently)
        if self._meter is not None:
            self._meter.slept(self._clock.now_ns())

    def _end(self, silently: bool) -> None:
        """Have no connection any more, and wait for none."""
        self._attempt += 1
        self._hang_up(silently)
        self._speaker.closed(self._now_ms())

    def _flush(self) -> None:
        """Write what the client has to say, and end the connection or plan a look at it where the client wants that."""
        client = self._speaker
        if client.state is State.CLOSED:
            return
        if data := client.outgoing():
            if self._meter is not None:
                self._meter.sent(len(data), self._clock.now_ns())
            self._write(data)
        if client.closing:
            self._end(silently=False)
            self._again()
        elif (deadline_ms := client.deadline()) is not None:
            deadline_ns = deadline_ms * MS_NS
            if not self._alarm_ns or deadline_ns < self._alarm_ns:
                self._alarm_ns = deadline_ns
                self._clock.at(deadline_ns, partial(self._alarm, deadline_ns))

    def _alarm(self, set_for_ns: int) -> None:
        """The client wanted to be looked at, unless something has been said or heard meanwhile."""
        if set_for_ns != self._alarm_ns:
            return  # an earlier one took its place
        self._alarm_ns = 0
        for event in self._speaker.tick(self._now_ms()):
            self._tell(event)
        self._flush()

    def _now_ms(self) -> int:
        return self._clock.now_ns() // MS_NS

    # ---- What the client tells

    def _tell(self, event: Event) -> None:
        match event:
            case MessageReceived():
                self._owner.delivered(Delivery(event.topic, event.payload, event.qos, event.dup, event.retain))
            case Published(packet_identifier=identifier, reason_code=code):
                self._sent.pop(identifier, None)
                ticket = self._tickets.pop(identifier, None)
                if ticket is None:
                    return
                if code >= ReasonCode.UNSPECIFIED_ERROR:
                    self._owner.refused(ticket, code.name.lower())
                else:
                    self._owner.accepted(ticket)
            case Expired(packet_identifier=identifier):
                self._sent.pop(identifier, None)
                self._owner.refused(self._tickets.pop(identifier), "expired on the device")
            case Subscribed(packet_identifier=identifier, reason_codes=codes):
                topic_filter = self._filters.pop(identifier)
                if codes[0] >= ReasonCode.UNSPECIFIED_ERROR:
                    self._owner.disconnected(f"the subscription to {topic_filter} was refused: {codes[0].name.lower()}")
                else:
                    self._owner.subscribed(topic_filter)
            case Connected() if self._speaker is not self._client:
                self._has_lost_session = False
                self._speaker.disconnect(self._now_ms())
            case Connected(session_present=resumed):
                self._has_lost_session = False
                self._retry_s = FIRST_RETRY_S
                if self._meter is not None:
                    self._meter.connected(self._clock.now_ns())
                self._owner.resent(list(self._sent.values()))
                self._sent.update(self._tickets)
                self._owner.connected(resumed)
            case ConnectRefused(reason_code=code):
                self._owner.disconnected(f"refused: {code.name.lower()}")
            case Disconnected(text=text):
                self._owner.disconnected(text)
