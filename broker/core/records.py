"""What goes into the journal: the inputs that change what must survive, in the order in which they took effect.

Replaying them through the engine gives the state back, because one input gives one output. So a record says what was
asked (a message accepted, a filter subscribed), not what it led to.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.core.message import Message


@dataclass(slots=True)
class Accepted:
    """A message was taken over: from now on it is owed to every persistent recipient and kept if it is retained.

    `publisher` and `packet_identifier` name the QoS 2 exchange it came in by ("" and 0 otherwise), so that a repeat
    is recognised after a restart. `mark` is another node's number for it, (epoch, class, sequence), so that the mark is
    recorded with the message and never without it; None from anybody else.
    """

    message: Message
    publisher: str = ""
    packet_identifier: int = 0
    mark: tuple[str, str, int] | None = None


@dataclass(slots=True, frozen=True)
class SessionOpened:
    """A persistent session began or was resumed, or its client left (`connected` false)."""

    client_id: str
    session_expiry_interval: int
    connected: bool


@dataclass(slots=True, frozen=True)
class SessionEnded:
    """A persistent session and all it was owed are gone."""

    client_id: str


@dataclass(slots=True, frozen=True)
class Subscribed:
    """A persistent session subscribed; `options` is the subscription options byte of MQTT 5 (3.8.3.1)."""

    client_id: str
    filter: bytes
    options: int
    subscription_identifier: int


@dataclass(slots=True, frozen=True)
class Unsubscribed:
    """A persistent session gave up a filter."""

    client_id: str
    filter: bytes


@dataclass(slots=True, frozen=True)
class Progressed:
    """An exchange of a persistent session moved: `packet` is the first byte of the packet that came in.

    PUBACK and PUBCOMP end a delivery, PUBREC moves it on, PUBREL ends a QoS 2 reception.
    """

    client_id: str
    packet: int
    packet_identifier: int


Record = Accepted | SessionOpened | SessionEnded | Subscribed | Unsubscribed | Progressed
