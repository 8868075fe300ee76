"""What a client is told before it connects."""

from dataclasses import dataclass, field

from oriole.wire.mqtt import MAX_PACKET_BYTES, V5, Properties, Will


@dataclass(slots=True, frozen=True)
class ClientConfig:
    """Everything about one client; the defaults are those of a small tool."""

    client_identifier: str = ""
    """Empty: the server assigns one, which is then kept."""

    version: int = V5
    """V311 or V5."""

    clean_start: bool = True
    """Begin with a new session. Later connections of the same client resume it where the protocol can say so: in
    5.0 with a `session_expiry_interval`; in 3.1.1 a clean session is clean each time."""

    session_expiry_interval: int = 0
    """Seconds that the server keeps the session after the connection (5.0)."""

    keep_alive: int = 60
    """Seconds without a packet after which a ping is sent; 0 is never. The server may say otherwise (5.0)."""

    username: str | None = None
    password: bytes | None = None
    will: Will | None = None

    properties: Properties = field(default_factory=Properties)
    """Further properties of the CONNECT (5.0), such as `user_property`."""

    receive_maximum: int = 65_535
    """QoS 1 and 2 messages that the server may have on the way to us, unacknowledged (5.0)."""

    send_maximum: int = 1_000
    """QoS 1 and 2 messages that we have on the way to the server, unacknowledged; less when it says less."""

    topic_alias_maximum: int = 0
    """Topic aliases that the server may use towards us (5.0)."""

    max_packet_bytes: int = MAX_PACKET_BYTES
    """A larger packet is refused by its header."""

    max_held_bytes: int = 16 * 1024 * 1024
    """Bytes of published packets held: QoS 1 and 2 until acknowledged, QoS 0 until taken by `outgoing`."""

    manual_acknowledgement: bool = False
    """QoS 1 and 2 messages are acknowledged by `Client.acknowledge`, not on arrival."""

    connect_timeout_s: int = 20
    """From CONNECT to CONNACK, at most."""
