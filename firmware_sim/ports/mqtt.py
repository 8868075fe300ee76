"""A port on MQTT: paho-mqtt, driven by the asyncio loop, one socket and no thread per device.

paho keeps the session's state (what was not acknowledged is sent again, marked DUP); the port connects, reconnects with
a seeded back-off and tells its device. What the device publishes while paho waits for CONNACK is held back until then,
because paho would send it before the older messages that are still to be sent again.

A stalled port still writes: paho sends PINGREQ, and gives the connection up when it has read no answer for as long as
the keep-alive. A message that waited for a connection leaves with its whole lifetime, which paho does not shorten.
"""

import asyncio
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from random import Random
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from firmware_sim.devices.port import Access, Delivery, Owner
from firmware_sim.unhandled import tell
from oriole.urls import Endpoint

from .real import Inside
from .stream import Stream, dial

HOUSEKEEPING_S = 1.0
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 5.0
MAX_QUEUED = 1000  # what a device keeps while it is offline
MAX_IN_FLIGHT = 20
CLOSE_S = 1.0
WILL_QOS = 1


class PahoClient(paho.Client):
    """paho on a connection that is there already: the way it makes one blocks, and knows no networks but its own."""

    stream: Stream

    def _create_socket(self) -> Stream:
        return self.stream


class MqttPort:
    """An MQTT 5 or MQTT 3.1.1 client, with a session that outlives its connections. See `Port`."""

    latest_only = False

    def __init__(self, access: Access, addresses: Sequence[Endpoint], inside: Inside) -> None:
        self._access = access
        self._addresses = deque(addresses)
        self._inside = inside
        self._random = Random(f"{access.run}/{access.name}")
        self._loop = asyncio.get_running_loop()
        self._is_wanted = False
        self._is_stalled = False
        self._is_accepted = False  # the connection's CONNECT was
        self._has_lost_session = False
        self._retry_s = FIRST_RETRY_S
        self._life: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._silent: Stream | None = None
        self._forget()

    def _forget(self) -> None:
        """Be as a client that was never connected."""
        self._client = self._new_client()
        self._unacknowledged: dict[int, int] = {}  # packet identifier -> ticket
        self._on_the_wire: dict[int, int] = {}  # those of them that were sent on some connection
        self._filters: dict[int, str] = {}
        self._early: list[Callable[[], None]] = []  # what was published while paho waited for CONNACK
        self._greeting: bool | None = None  # whether the session is an old one, until the device is told

    def _new_client(self, clean: bool = False) -> PahoClient:
        """`clean` is to end a session of MQTT 3.1.1; MQTT 5 begins with clean start on the first connection anyway."""
        version = MQTTProtocolVersion(self._access.mqtt_version)
        client = PahoClient(
            CallbackAPIVersion.VERSION2,
            self._access.client_id,
            clean_session=None if version == paho.MQTTv5 else clean,
            protocol=version,
            reconnect_on_failure=False,
        )
        client.max_queued_messages_set(MAX_QUEUED)
        client.max_inflight_messages_set(MAX_IN_FLIGHT)
        if (will := self._access.will) is not None and not clean:
            client.will_set(will.topic, will.payload, WILL_QOS, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_socket_open = self._on_socket_open
        client.on_socket_close = self._on_socket_close
        client.on_socket_register_write = self._on_unwritten
        client.on_socket_unregister_write = self._on_written
        return client

    # ---- What the device asks for: see `Port`

    def open(self, owner: Owner) -> None:
        self._owner = owner
        if not self._is_wanted and self._access.meter is not None:
            self._access.meter.woke(time.monotonic_ns())
        self._is_wanted = True
        self._retry_s = FIRST_RETRY_S
        if self._life is None or self._life.done():
            self._life = self._loop.create_task(self._live())
            self._life.add_done_callback(tell)

    def sleep(self) -> None:
        self._is_wanted = False
        self._say_goodbye(None)

    def _rest(self) -> None:
        """The radio is off; whatever was sent afterwards would wake it."""
        if self._access.meter is not None:
            self._access.meter.slept(time.monotonic_ns())

    def fail(self, keeps_state: bool, silently: bool) -> None:
        self._is_wanted = False
        self._drop(silently)
        self._rest()
        if not keeps_state:
            self._has_lost_session = True
            self._forget()

    def stall(self, stalled: bool) -> None:
        self._is_stalled = stalled
        if (sock := self._client.socket()) is not None:
            if stalled:
                self._loop.remove_reader(sock)
            else:
                self._loop.add_reader(sock, self._readable, self._client)

    def roam(self) -> None:
        self._addresses.rotate(-1)
        if self._is_wanted:
            self._drop(silently=True)
            self._owner.disconnected("went over to another node")
            self.open(self._owner)

    async def close(self) -> None:
        self._is_wanted = False
        is_v5 = self._client.protocol == paho.MQTTv5
        ends_session = is_v5 and self._client.is_connected()
        self._say_goodbye(_properties(PacketTypes.DISCONNECT, SessionExpiryInterval=0) if ends_session else None)
        if self._life is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._life, CLOSE_S)
        self._drop(silently=False)  # it may be cut off: then DISCONNECT did not leave
        if not is_v5:
            with contextlib.suppress(OSError):
                async with asyncio.timeout(CLOSE_S):
                    await self._end_session()
        if self._silent is not None:
            self._silent.end()

    def subscribe(self, topic_filter: str, qos: int) -> None:
        _, identifier = self._client.subscribe(topic_filter, qos)
        if identifier is not None:
            self._filters[identifier] = topic_filter

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int, lifetime_s: int = 0) -> None:
        if self._client.socket() is not None and not self._client.is_connected():
            self._early.append(partial(self.publish, topic, payload, qos, retain, ticket, lifetime_s))
            return
        properties = None
        if lifetime_s and self._client.protocol == paho.MQTTv5:
            properties = _properties(PacketTypes.PUBLISH, MessageExpiryInterval=lifetime_s)
        info = self._client.publish(topic, payload, qos, retain, properties)
        if info.rc == paho.MQTT_ERR_QUEUE_SIZE:
            self._owner.refused(ticket, "the device's own queue is full")
        elif qos:
            self._unacknowledged[info.mid] = ticket
            if info.rc == paho.MQTT_ERR_SUCCESS and len(self._unacknowledged) <= MAX_IN_FLIGHT:
                self._on_the_wire[info.mid] = ticket

    def forget(self, topic: str) -> None:
        self._client.publish(topic, b"", 0, retain=True)

    def read(self, topic: str) -> None:
        raise NotImplementedError("MQTT has no question: subscribe instead")

    # ---- The life of its connections

    async def _live(self) -> None:
        while self._is_wanted:
            try:
                if self._has_lost_session and self._client.protocol == paho.MQTTv311:
                    await self._end_session()
                self._has_lost_session = False
                await self._connection(self._client)
            except OSError as error:
                self._owner.disconnected(f"{self._addresses[0]}: {_words(error)}")
            if self._is_wanted:
                pause_s = self._retry_s * self._random.uniform(0.5, 1.5)
                self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
                await asyncio.sleep(pause_s)
        self._rest()

    async def _connection(self, client: PahoClient) -> None:
        """One connection, from its making until it is gone. Raises OSError when there is none."""
        self._gone.clear()
        stream = await dial(self._addresses[0], self._inside, self._access.meter)
        self._aim(client)
        client.stream = stream
        client.reconnect()
        while not self._gone.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(HOUSEKEEPING_S):
                    await self._gone.wait()
            client.loop_misc()  # keep-alive

    async def _end_session(self) -> None:
        """MQTT 3.1.1 ends a session by beginning a clean one. [MQTT-3.1.2-6]"""
        client = self._new_client(clean=True)

        def leave(*_: Any) -> None:
            client.disconnect()

        client.on_connect = leave
        client.on_disconnect = lambda *_: self._gone.set()
        try:
            await self._connection(client)
        finally:
            self._aim(client)

    def _aim(self, client: PahoClient) -> None:
        """Point paho at the current address. A connection that it has ends without a word."""
        address, access = self._addresses[0], self._access
        properties = None
        if client.protocol == paho.MQTTv5:
            properties = _properties(PacketTypes.CONNECT, SessionExpiryInterval=access.session_s)
        client.username_pw_set(address.username, address.password)
        client.connect_async(address.host, address.port, access.keep_alive_s, properties=properties)

    def _say_goodbye(self, properties: Properties | None) -> None:
        """Send DISCONNECT; the life of connections ends when it has left, and at once where there is none."""
        if self._client.socket() is not None:
            self._client.disconnect(properties=properties)
        else:
            self._end_life()
            self._rest()

    def _end_life(self) -> None:
        if self._life is not None:
            self._life.cancel()
            self._life = None

    def _drop(self, silently: bool) -> None:
        """End the life of connections now, without a word."""
        self._end_life()
        if self._client.socket() is not None and silently:
            if self._silent is not None:
                self._silent.end()
            self._silent = self._client.stream
            self._silent.fall_silent()
        self._aim(self._client)
        self._over()

    def _over(self) -> None:
        """A connection is over: what was on the wire may arrive twice, what was to wait for it waits for the next."""
        if self._is_accepted:
            self._is_accepted = False
            self._on_the_wire.update(islice(self._unacknowledged.items(), MAX_IN_FLIGHT))
        self._greeting = None
        self._publish_early()

    def _publish_early(self) -> None:
        early, self._early = self._early, []
        for publish in early:
            publish()

    def _readable(self, client: PahoClient) -> None:
        client.loop_read()
        client.stream.account()
        self._greet()

    def _greet(self) -> None:
        """Tell of the new session, now that paho has sent again what waited: news must not overtake it."""
        if self._greeting is not None:
            resumed, self._greeting = self._greeting, None
            self._publish_early()
            self._owner.connected(resumed)

    # ---- What paho tells

    def _on_connect(
        self, client: paho.Client, data: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            self._owner.disconnected(f"{self._addresses[0]} refused: {reason}")
            return
        self._is_accepted = True
        self._retry_s = FIRST_RETRY_S
        self._filters.clear()
        if self._access.meter is not None:
            self._access.meter.connected(time.monotonic_ns())
        self._owner.resent(list(self._on_the_wire.values()))
        self._greeting = flags.session_present

    def _on_disconnect(self, client: paho.Client, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        self._gone.set()
        self._over()
        if self._is_wanted:
            self._owner.disconnected(f"{self._addresses[0]}: {reason}")

    def _on_socket_open(self, client: Any, data: Any, sock: Any) -> None:
        if not self._is_stalled:
            self._loop.add_reader(sock, self._readable, client)

    def _on_socket_close(self, client: paho.Client, data: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)

    def _on_unwritten(self, client: paho.Client, data: Any, sock: Any) -> None:
        self._loop.add_writer(sock, client.loop_write)

    def _on_written(self, client: paho.Client, data: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)

    def _on_subscribe(
        self, client: paho.Client, data: Any, identifier: int, reasons: list[ReasonCode], properties: Any
    ) -> None:
        topic_filter = self._filters.pop(identifier)
        if reasons[0].is_failure:
            self._owner.disconnected(f"{self._addresses[0]} refused the subscription to {topic_filter}: {reasons[0]}")
        else:
            self._owner.subscribed(topic_filter)

    def _on_publish(self, client: paho.Client, data: Any, identifier: int, reason: ReasonCode, properties: Any) -> None:
        ticket = self._unacknowledged.pop(identifier, None)
        self._on_the_wire.pop(identifier, None)
        if ticket is None:
            return  # QoS 0
        if reason.is_failure:
            self._owner.refused(ticket, str(reason))
        else:
            self._owner.accepted(ticket)

    def _on_message(self, client: paho.Client, data: Any, message: paho.MQTTMessage) -> None:
        self._greet()
        delivery = Delivery(message.topic, bytes(message.payload), message.qos, message.dup, message.retain)
        self._owner.delivered(delivery)


def _properties(packet: int, **values: int) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    for name, value in values.items():
        setattr(properties, name, value)
    return properties


def _words(error: OSError) -> str:
    """What went wrong; the numbers of name servers' errors are below zero, and have words of their own."""
    if error.errno is not None and error.errno > 0:
        return os.strerror(error.errno)
    return error.strerror or "no answer"
