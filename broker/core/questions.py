"""What the engine asks and does not decide: who may come in, and who may use a topic.

A question carries a ticket; the answer comes back through `Engine.verdict`, later or at once. Until then the
channel that caused it is held, and its bytes are bounded by one read.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Action(StrEnum):
    """What somebody wants to do with a topic."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


@dataclass(slots=True, frozen=True)
class Admission:
    """May this client come in?

    Attributes:
        ticket: goes back with the verdict.
        client_id: as it asked to be called; empty where it leaves the name to us.
        username, password: as given; None where absent.
        peer: address of the other side.
        protocol: `mqtt` or `coap`.
    """

    ticket: int
    client_id: str
    username: str | None
    password: bytes | None
    peer: object
    protocol: str


@dataclass(slots=True, frozen=True)
class Permission:
    """May this client, already inside, publish to a topic or subscribe to a filter?"""

    ticket: int
    client_id: str
    username: str | None
    action: Action
    topic: str


Question = Admission | Permission


@dataclass(slots=True, frozen=True)
class Verdict:
    """The answer to a question.

    Attributes:
        allowed: come in, or go ahead.
        reason_code: MQTT 5 reason code for a refusal (0x87 not authorized, 0x86 bad user name or password, ...).
        restricted: for an admission: ask about every topic. A client that is not restricted may use every topic but
            write to none that begins with `$`.
    """

    allowed: bool
    reason_code: int = 0x87
    restricted: bool = False
