"""How a client of the load generator comes to be ready: CONNECT, then its filters, a SUBSCRIBE packet at a time."""

from collections.abc import Callable, Sequence

from firmware_sim.load.errors import LoadError, unexpected
from oriole.wire.mqtt import (
    V5,
    ConnAck,
    Connect,
    PacketType,
    Properties,
    SubAck,
    Subscribe,
    Subscription,
    decode,
    encode,
    read_header,
)

_KEPT_SESSION_S = 3600
_FILTERS_PER_PACKET = 100
_FAILED = 0x80


class Handshake:
    """Connects as `client_identifier` and subscribes to `filters` at `qos`; `send` takes its bytes.

    With `persistent`, the broker keeps the session. Keep-alive is off: a quiet connection stays quiet.
    """

    __slots__ = ("_filters", "_qos", "_send", "_version", "ready")

    def __init__(
        self,
        client_identifier: str,
        filters: Sequence[str],
        *,
        qos: int,
        version: int,
        persistent: bool,
        send: Callable[[bytes], None],
    ) -> None:
        self._filters = list(filters)
        self._qos = qos
        self._version = version
        self._send = send
        self.ready = False
        """Whether everything asked for was granted."""
        kept = persistent and version == V5
        connect = Connect(
            client_identifier,
            version,
            clean_start=not persistent,
            keep_alive=0,
            properties=Properties(session_expiry_interval=_KEPT_SESSION_S) if kept else Properties(),
        )
        send(encode(connect, version))

    def receive(self, data: bytes, now: int) -> int:
        """Take the whole packets at the front of `data`; returns how many bytes they were.

        Raises LoadError.
        """
        position = 0
        while (header := read_header(data, position)) and header[2] <= len(data):
            first, body, position = header
            if first >> 4 not in (PacketType.CONNACK, PacketType.SUBACK):
                raise unexpected(first, "a client that is connecting")
            packet = decode(first, data[body:position], self._version)
            if isinstance(packet, ConnAck) and packet.reason_code:
                raise LoadError(f"the broker refused a connection: {packet.reason_code!r}")
            if isinstance(packet, SubAck) and max(packet.reason_codes) >= _FAILED:
                raise LoadError("the broker refused a subscription")
            self._subscribe()
        return position

    def _subscribe(self) -> None:
        now, self._filters = self._filters[:_FILTERS_PER_PACKET], self._filters[_FILTERS_PER_PACKET:]
        if now:
            subscriptions = [Subscription(topic_filter=filter, qos=self._qos) for filter in now]
            self._send(encode(Subscribe(packet_identifier=1, subscriptions=subscriptions), self._version))
        else:
            self.ready = True
