"""What happened on a connection, for whoever drives a `Client`."""

from dataclasses import dataclass, field

from oriole.wire.mqtt import Properties, ReasonCode


@dataclass(slots=True)
class Connected:
    """CONNACK. Without `session_present` the server knows no subscription: subscribe again."""

    session_present: bool
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class ConnectRefused:
    """The server does not want us, and why. The connection is to be closed."""

    reason_code: ReasonCode
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class MessageReceived:
    """A message for us. `dup`: with QoS 1 it may be a repeat. `packet_identifier` is 0 with QoS 0."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    dup: bool
    packet_identifier: int
    properties: Properties
    acknowledged: ReasonCode | None = None
    """What `Client.acknowledge` said; None before. QoS 0 stays None."""


@dataclass(slots=True)
class Published:
    """A QoS 1 or 2 message of ours is settled: taken by the server, or refused with 0x80 and above."""

    packet_identifier: int
    reason_code: ReasonCode = ReasonCode.SUCCESS
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Expired:
    """A QoS 1 or 2 message of ours was worth nothing any more before it could be sent, and is gone."""

    packet_identifier: int


@dataclass(slots=True)
class Subscribed:
    """SUBACK: a reason code for each subscription, in order."""

    packet_identifier: int
    reason_codes: list[ReasonCode]
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Unsubscribed:
    """UNSUBACK: a reason code for each topic filter, in order; 3.1.1 knows only success."""

    packet_identifier: int
    reason_codes: list[ReasonCode]
    properties: Properties = field(default_factory=Properties)


@dataclass(slots=True)
class Disconnected:
    """The connection is over, before or after CONNACK, and not by `Client.disconnect`; `text` is for people."""

    reason_code: ReasonCode
    text: str
    properties: Properties = field(default_factory=Properties)


Event = Connected | ConnectRefused | MessageReceived | Published | Expired | Subscribed | Unsubscribed | Disconnected
