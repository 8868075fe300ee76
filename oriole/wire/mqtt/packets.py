"""The packets of MQTT as values, named as in the specification (MQTT 5.0 §3).

The topic of a message is UTF-8 bytes, as the broker routes it; other text is `str`. Packet identifiers are 1 to 65,535,
reason codes are `ReasonCode`, intervals are seconds. Version 3.1.1 has no properties and hardly any reason codes: what
it cannot say is left out when encoding, and has the default when decoding.
"""

from dataclasses import dataclass, field

from oriole.wire.mqtt.packet_type import V5
from oriole.wire.mqtt.properties import Properties
from oriole.wire.mqtt.reason_codes import ReasonCode


@dataclass(slots=True)
class Will:
    """The message that the server publishes when a connection ends without DISCONNECT (§3.1.2.5)."""

    topic: bytes
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Connect:
    """§3.1. `keep_alive` in seconds, 0 is none; `clean_start` is called "clean session" in 3.1.1."""

    client_identifier: str
    version: int = V5
    clean_start: bool = True
    keep_alive: int = 0
    username: str | None = None
    password: bytes | None = None
    will: Will | None = None
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class ConnAck:
    """§3.2. In 3.1.1 the reason code travels as the nearest of the six return codes."""

    session_present: bool = False
    reason_code: ReasonCode = ReasonCode.SUCCESS
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Publish:
    """§3.3. `packet_identifier` is 0 with QoS 0. The topic is empty only with a topic alias."""

    topic: bytes
    payload: bytes = b""
    qos: int = 0
    retain: bool = False
    dup: bool = False
    packet_identifier: int = 0
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class PubAck:
    """§3.4: the answer to a QoS 1 PUBLISH."""

    packet_identifier: int
    reason_code: ReasonCode = ReasonCode.SUCCESS
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class PubRec:
    """§3.5: the first answer to a QoS 2 PUBLISH."""

    packet_identifier: int
    reason_code: ReasonCode = ReasonCode.SUCCESS
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class PubRel:
    """§3.6: the answer to PUBREC."""

    packet_identifier: int
    reason_code: ReasonCode = ReasonCode.SUCCESS
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class PubComp:
    """§3.7: the answer to PUBREL."""

    packet_identifier: int
    reason_code: ReasonCode = ReasonCode.SUCCESS
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Subscription:
    """One topic filter of a SUBSCRIBE with its options (§3.8.3.1); 3.1.1 has only `qos`."""

    topic_filter: str
    qos: int = 0
    no_local: bool = False
    retain_as_published: bool = False
    retain_handling: int = 0


@dataclass(slots=True)
class Subscribe:
    """§3.8."""

    packet_identifier: int
    subscriptions: list[Subscription]
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class SubAck:
    """§3.9: one reason code for each subscription, in order."""

    packet_identifier: int
    reason_codes: list[ReasonCode]
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Unsubscribe:
    """§3.10."""

    packet_identifier: int
    topic_filters: list[str]
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class UnsubAck:
    """§3.11: one reason code for each topic filter, in order; none in 3.1.1."""

    packet_identifier: int
    reason_codes: list[ReasonCode] = field(default_factory=list)
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class PingReq:
    """§3.12."""


@dataclass(slots=True)
class PingResp:
    """§3.13."""


@dataclass(slots=True)
class Disconnect:
    """§3.14. In 3.1.1 only a client sends it, and it says nothing."""

    reason_code: ReasonCode = ReasonCode.NORMAL_DISCONNECTION
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Auth:
    """§3.15: enhanced authentication, 5.0 only."""

    reason_code: ReasonCode = ReasonCode.SUCCESS
    properties: Properties = field(default_factory=Properties)


Ack = PubAck | PubRec | PubRel | PubComp

Packet = (
    Connect
    | ConnAck
    | Publish
    | PubAck
    | PubRec
    | PubRel
    | PubComp
    | Subscribe
    | SubAck
    | Unsubscribe
    | UnsubAck
    | PingReq
    | PingResp
    | Disconnect
    | Auth
)
