"""A port on MQTT for devices in bulk: `oriole.link.mqtt`'s client on a socket of its own, served by the loop of all.

It comes back by itself after a pause that grows, and that follows from the seed, the device and the attempt alone.
"""

import errno
import os
import socket
from collections.abc import Sequence
from random import Random
from typing import Final

from firmware_sim.devices.clock import SECOND_NS
from firmware_sim.devices.port import Access, Delivery, Owner
from firmware_sim.ports.silence import silence
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
from oriole.wire.mqtt import V5, V311, Properties, ReasonCode, Subscription
from oriole.wire.mqtt import Will as MqttWill

from .loop import READABLE, WRITABLE, Loop

FIRST_RETRY_S, LAST_RETRY_S = 0.2, 5.0
CONNECT_S: Final = 20
"""How long a broker may take to accept a connection, and again to answer CONNECT."""
MAX_HELD_BYTES: Final = 1 << 20
"""What a device keeps while it is offline."""
MS_NS: Final = 1_000_000

_READ_BYTES: Final = 1 << 16
_IP_BIND_ADDRESS_NO_PORT: Final = 24
"""Linux: choose the port when it is known where to, so that each source address has all ports for each destination."""


class BulkPort:
    """A client with a session that outlives its connections. See `firmware_sim.devices.port.Port`.

    Args:
        loop: serves its socket.
        access: who it is.
        addresses: where to connect; the first until it roams.
        source: the address to connect from; empty for any.
        seed: what its pauses between attempts come from, with its name.
    """

    __slots__ = (
        "_access",
        "_addresses",
        "_alarm_ns",
        "_attempt",
        "_client",
        "_filters",
        "_gives_up_ns",
        "_is_dialling",
        "_is_stalled",
        "_is_wanted",
        "_knows_session",
        "_loop",
        "_owner",
        "_retry_s",
        "_seed",
        "_sent",
        "_silent",
        "_socket",
        "_source",
        "_tickets",
        "_unsent",
    )

    latest_only = False
    _owner: Owner

    def __init__(
        self, loop: Loop, access: Access, addresses: Sequence[tuple[str, int]], source: str = "", seed: int = 0
    ) -> None:
        self._loop = loop
        self._access = access
        self._addresses = list(addresses)
        self._source = source
        self._seed = seed
        self._socket: socket.socket | None = None
        self._silent: socket.socket | None = None
        self._unsent = b""
        self._is_dialling = False
        self._is_wanted = False
        self._is_stalled = False
        self._retry_s = FIRST_RETRY_S
        self._attempt = 0  # tells a retry that came too late from one that is awaited
        self._alarm_ns = 0
        self._gives_up_ns = 0
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
                clean_start=not self._knows_session,
                session_expiry_interval=access.session_s if is_5 else 0,
                keep_alive=access.keep_alive_s,
                will=None if will is None else MqttWill(will.topic.encode(), will.payload, 1, True),
                max_held_bytes=MAX_HELD_BYTES,
                connect_timeout_s=CONNECT_S,
            )
        )

    # ---- What the device asks for

    def open(self, owner: Owner) -> None:
        """See `Port`."""
        self._owner = owner
        if not self._is_wanted:
            self._is_wanted = True
            self._retry_s = FIRST_RETRY_S
            if self._socket is None:
                self._dial()

    def sleep(self) -> None:
        """See `Port`."""
        self._leave(None)

    def fail(self, keeps_state: bool, silently: bool) -> None:
        """See `Port`."""
        self._is_wanted = False
        self._attempt += 1
        self._drop(silently)
        if not keeps_state:
            self._knows_session = False
            self._forget()

    def stall(self, stalled: bool) -> None:
        """See `Port`."""
        self._is_stalled = stalled
        self._watch()

    def roam(self) -> None:
        """See `Port`. With one address it is the same one again, over a new connection."""
        self._addresses.append(self._addresses.pop(0))
        if self._is_wanted:
            self._attempt += 1
            self._drop(silently=True)
            self._owner.disconnected("went over to another node")
            self._dial()

    async def close(self) -> None:
        """See `Port`. What was written leaves with the next passes of the loop. An MQTT 3.1.1 broker keeps the
        session, which only another connection could end.
        """
        is_5 = self._access.mqtt_version == 5
        self._leave(Properties(session_expiry_interval=0) if is_5 else None)
        self._release_silent()

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
            if self._socket is not None:
                self._sent[identifier] = ticket
        self._flush()

    def forget(self, topic: str) -> None:
        """See `Port`."""
        self.publish(topic, b"", 0, True, 0)

    def read(self, topic: str) -> None:
        """See `Port`."""
        raise NotImplementedError("MQTT has no question: subscribe instead")

    # ---- Connections

    def _dial(self) -> None:
        self._attempt += 1
        host, port = self._addresses[0]
        try:
            self._socket = sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._source:
                sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
                sock.bind((self._source, 0))
            code = sock.connect_ex((host, port))
        except OSError as error:
            code = error.errno or errno.EIO
        if code not in (0, errno.EINPROGRESS):
            self._lost(os.strerror(code))
            return
        self._is_dialling = True
        self._gives_up_ns = self._loop.now_ns() + CONNECT_S * SECOND_NS
        self._watch()
        self._arm(self._gives_up_ns)

    def ready(self, events: int) -> None:
        """See `Source`."""
        sock = self._socket
        assert sock is not None
        if self._is_dialling:
            if code := sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                self._lost(os.strerror(code))
                return
            self._is_dialling = False
            self._client.connect(self._now_ms())
            self._watch()
            self._flush()
        elif events & ~WRITABLE:
            self._read(sock)
        elif self._unsent:
            self._write(b"")

    def _read(self, sock: socket.socket) -> None:
        try:
            data = sock.recv(_READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error.strerror or str(error))
            return
        if not data:
            self._lost("the server closed the connection")
            return
        for event in self._client.receive(data, self._now_ms()):
            self._tell(event)
        if self._socket is sock:
            self._flush()

    def _flush(self) -> None:
        """Write what the client has to say, and end the connection where it wants that."""
        if self._socket is None or self._is_dialling:
            return
        if data := self._client.outgoing():
            self._write(data)
        if self._socket is not None:
            if self._client.closing:
                self._drop(silently=False)
                self._again()
            elif (deadline_ms := self._client.deadline()) is not None:
                self._arm(deadline_ms * MS_NS)

    def _write(self, data: bytes) -> None:
        assert self._socket is not None
        was_blocked = bool(self._unsent)
        self._unsent = data = self._unsent + data
        try:
            self._unsent = data[self._socket.send(data) :]
        except BlockingIOError:
            pass
        except OSError as error:
            self._lost(error.strerror or str(error))
            return
        if was_blocked != bool(self._unsent):
            self._watch()

    def _watch(self) -> None:
        sock = self._socket
        if sock is None:
            return
        if self._is_dialling:
            events = WRITABLE
        else:
            events = (0 if self._is_stalled else READABLE) | (WRITABLE if self._unsent else 0)
        self._loop.watch(sock.fileno(), events, self)

    def _leave(self, properties: Properties | None) -> None:
        """End in order, where there is something to end."""
        self._is_wanted = False
        self._attempt += 1
        if self._socket is not None:
            if not self._is_dialling:
                self._client.disconnect(self._now_ms(), ReasonCode.NORMAL_DISCONNECTION, properties)
                self._flush()
            self._drop(silently=False)

    def _drop(self, silently: bool) -> None:
        """Have no connection any more."""
        sock, self._socket = self._socket, None
        self._is_dialling = False
        self._unsent = b""
        if sock is None:
            return
        self._loop.ignore(sock.fileno())
        if silently:
            self._release_silent()
            silence(sock)
            self._silent = sock
        else:
            sock.close()
        self._client.closed(self._now_ms())

    def _release_silent(self) -> None:
        """The socket of a connection that ended in silence, whose other end may know now."""
        if self._silent is not None:
            self._silent.close()
            self._silent = None

    def _lost(self, reason: str) -> None:
        """The connection is gone, or never came."""
        self._drop(silently=False)
        if self._is_wanted:
            host, port = self._addresses[0]
            self._owner.disconnected(f"{host}:{port}: {reason}")
            self._again()

    def _again(self) -> None:
        if not self._is_wanted:
            return
        self._attempt += 1
        attempt = self._attempt
        pause_s = self._retry_s * Random(f"{self._seed}/{self._access.name}/retry/{attempt}").uniform(0.5, 1.5)
        self._retry_s = min(2 * self._retry_s, LAST_RETRY_S)
        self._loop.at(self._loop.now_ns() + round(pause_s * SECOND_NS), lambda: self._retry(attempt))

    def _retry(self, attempt: int) -> None:
        if attempt == self._attempt:
            self._dial()

    # ---- Time

    def _now_ms(self) -> int:
        return self._loop.now_ns() // MS_NS

    def _arm(self, when_ns: int) -> None:
        """Look at the connection at `when_ns`, unless that is planned for earlier anyway."""
        if not self._alarm_ns or when_ns < self._alarm_ns:
            self._alarm_ns = when_ns
            self._loop.at(when_ns, self._alarm)

    def _alarm(self) -> None:
        """The client wanted to be looked at, unless something has been said or heard meanwhile."""
        now_ns = self._loop.now_ns()
        if not self._alarm_ns or now_ns < self._alarm_ns:
            return  # an earlier one was made after this
        self._alarm_ns = 0
        if self._is_dialling:
            if now_ns >= self._gives_up_ns:
                self._lost(os.strerror(errno.ETIMEDOUT))
            else:
                self._arm(self._gives_up_ns)
        elif self._socket is not None:
            for event in self._client.tick(now_ns // MS_NS):
                self._tell(event)
            self._flush()

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
            case Connected(session_present=resumed):
                self._retry_s = FIRST_RETRY_S
                self._knows_session = True
                self._release_silent()
                self._owner.resent(list(self._sent.values()))
                self._sent.update(self._tickets)
                self._filters.clear()
                self._owner.connected(resumed)
            case ConnectRefused(reason_code=code):
                self._owner.disconnected(f"refused: {code.name.lower()}")
            case Disconnected(text=text):
                self._owner.disconnected(text)
