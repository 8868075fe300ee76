"""A port on MQTT: paho-mqtt, driven by the asyncio loop, one socket and no thread per device.

paho keeps the session's state (what was not acknowledged is sent again, marked DUP); the port connects, reconnects with
a seeded back-off and tells its device. Connecting blocks in paho, so it happens in the loop's executor.
"""

import asyncio
import contextlib
import socket
from random import Random
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from oriole.urls import Endpoint

from .port import Delivery, Owner

SESSION_S = 3600
HOUSEKEEPING_S = 1.0
FIRST_RETRY_S, LAST_RETRY_S = 0.2, 5.0
MAX_QUEUED = 1000  # what a device keeps while it is offline
CLOSE_S = 1.0


class MqttPort:
    """An MQTT 5 client (`version` 5) or an MQTT 3.1.1 one (4), with a session that outlives its connections."""

    latest_only = False

    def __init__(self, address: Endpoint, client_id: str, seed: str, version: int = 5, keep_alive_s: int = 30) -> None:
        self._address = address
        self._client_id = client_id
        self._keep_alive_s = keep_alive_s
        self._random = Random(seed)
        self._loop = asyncio.get_running_loop()
        self._unacknowledged: dict[int, int] = {}  # packet identifier -> ticket
        self._on_the_wire: dict[int, int] = {}  # those of them that were sent on some connection
        self._filters: dict[int, str] = {}
        self._is_wanted = False
        self._was_accepted = False
        self._life: asyncio.Task[None] | None = None
        self._gone = asyncio.Event()
        self._client = self._new_client(version)

    def _new_client(self, version: int) -> paho.Client:
        client = paho.Client(
            CallbackAPIVersion.VERSION2,
            self._client_id,
            clean_session=False if version == paho.MQTTv311 else None,
            protocol=MQTTProtocolVersion(version),
            reconnect_on_failure=False,
        )
        client.max_queued_messages_set(MAX_QUEUED)
        if self._address.username is not None:
            client.username_pw_set(self._address.username, self._address.password)
        properties = None
        if version == paho.MQTTv5:
            properties = _session_expiry(PacketTypes.CONNECT, SESSION_S)
        client.connect_async(self._address.host, self._address.port, self._keep_alive_s, properties=properties)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        client.on_socket_close = self._on_socket_close
        client.on_socket_unregister_write = self._on_written
        return client

    # ---- What the device asks for: see `Port`

    def open(self, owner: Owner) -> None:
        self._owner = owner
        self._is_wanted = True
        if self._life is None or self._life.done():
            self._life = self._loop.create_task(self._live())

    def sleep(self) -> None:
        self._is_wanted = False
        self._client.disconnect()

    async def close(self) -> None:
        self._is_wanted = False
        properties = None
        if self._client.is_connected() and self._client.protocol == paho.MQTTv5:
            properties = _session_expiry(PacketTypes.DISCONNECT, 0)
        self._client.disconnect(properties=properties)
        if self._life is not None:
            try:
                await asyncio.wait_for(self._life, CLOSE_S)
            except TimeoutError:  # cut off: DISCONNECT cannot leave
                self._unwatch()
        if self._client.protocol == paho.MQTTv311:
            with contextlib.suppress(OSError):
                await self._loop.run_in_executor(None, self._drop_session)

    def subscribe(self, topic_filter: str, qos: int) -> None:
        _, identifier = self._client.subscribe(topic_filter, qos)
        if identifier is not None:
            self._filters[identifier] = topic_filter

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int) -> None:
        info = self._client.publish(topic, payload, qos, retain)
        if info.rc == paho.MQTT_ERR_QUEUE_SIZE:
            self._owner.refused(ticket, "the device's own queue is full")
        elif qos:
            self._unacknowledged[info.mid] = ticket
            if info.rc == paho.MQTT_ERR_SUCCESS:
                self._on_the_wire[info.mid] = ticket

    def forget(self, topic: str) -> None:
        self._client.publish(topic, b"", 0, retain=True)

    def read(self, topic: str) -> None:
        raise NotImplementedError("MQTT has no question: subscribe instead")

    # ---- The life of its connections

    async def _live(self) -> None:
        retry_s = FIRST_RETRY_S
        while self._is_wanted:
            self._gone.clear()
            self._was_accepted = False
            try:
                await self._loop.run_in_executor(None, self._connect)
            except OSError as error:
                self._owner.disconnected(f"{self._address}: {error.strerror or error}")
            else:
                self._watch()
                await self._until_gone()
            if self._is_wanted:
                retry_s = FIRST_RETRY_S if self._was_accepted else min(2 * retry_s, LAST_RETRY_S)
                await asyncio.sleep(retry_s * self._random.uniform(0.5, 1.5))

    def _connect(self) -> None:
        self._client.on_socket_register_write = None  # so that paho writes CONNECT itself, here in the executor
        self._client.reconnect()
        sock = self._client.socket()
        if isinstance(sock, socket.socket):  # Nagle would add 40 ms of the device's own to a latency
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _drop_session(self) -> None:
        """MQTT 3.1.1 ends a session by beginning a clean one. [MQTT-3.1.2-6]"""
        last = paho.Client(CallbackAPIVersion.VERSION2, self._client_id, clean_session=True)
        last.username_pw_set(self._address.username, self._address.password)
        last.connect(self._address.host, self._address.port)
        last.disconnect()

    def _watch(self) -> None:
        if (sock := self._client.socket()) is None:
            return
        self._client.on_socket_register_write = lambda _client, _data, sock: self._loop.add_writer(
            sock, self._client.loop_write
        )
        self._loop.add_reader(sock, self._client.loop_read)
        if self._client.want_write():
            self._loop.add_writer(sock, self._client.loop_write)
        if not self._is_wanted:  # it was told to sleep while it connected
            self._client.disconnect()

    def _unwatch(self) -> None:
        if (sock := self._client.socket()) is not None:
            self._on_socket_close(self._client, None, sock)
            sock.close()

    async def _until_gone(self) -> None:
        while not self._gone.is_set():
            try:
                await asyncio.wait_for(self._gone.wait(), HOUSEKEEPING_S)
            except TimeoutError:
                self._client.loop_misc()  # keep-alive

    # ---- What paho tells

    def _on_connect(
        self, client: paho.Client, data: Any, flags: paho.ConnectFlags, reason: ReasonCode, properties: Any
    ) -> None:
        if reason.is_failure:
            self._owner.disconnected(f"{self._address} refused: {reason}")
            return
        self._was_accepted = True
        self._owner.resent(list(self._on_the_wire.values()))
        self._on_the_wire.update(self._unacknowledged)
        self._owner.connected(flags.session_present)

    def _on_disconnect(self, client: paho.Client, data: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        self._loop.call_soon_threadsafe(self._lost, str(reason))

    def _lost(self, reason: str) -> None:
        self._gone.set()
        if self._is_wanted:
            self._owner.disconnected(f"{self._address}: {reason}")

    def _on_written(self, client: paho.Client, data: Any, sock: Any) -> None:
        self._loop.remove_writer(sock)

    def _on_socket_close(self, client: paho.Client, data: Any, sock: Any) -> None:
        self._loop.remove_reader(sock)
        self._loop.remove_writer(sock)

    def _on_subscribe(
        self, client: paho.Client, data: Any, identifier: int, reasons: list[ReasonCode], properties: Any
    ) -> None:
        topic_filter = self._filters.pop(identifier)
        if reasons[0].is_failure:
            self._owner.disconnected(f"{self._address} refused the subscription to {topic_filter}: {reasons[0]}")
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
        delivery = Delivery(message.topic, bytes(message.payload), message.qos, message.dup, message.retain)
        self._owner.delivered(delivery)


def _session_expiry(packet: int, seconds: int) -> Properties:
    properties = Properties(packet)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = seconds
    return properties
