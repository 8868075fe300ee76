"""The lines of a settlements file: what a node says about each message that it meets (docs/settlements.md).

A line is a JSON object; `event` says which of these structures it is. A message is known by its topic and the digest of
its payload, whatever protocol it came by and leaves by. Whom it is from and to is a label, its kind before a colon:
`client:ID` of MQTT, `node:NAME` of another node that is connected here, `uplink`, which is the node above, `coap:NAME`,
`serial:NAME`; `retained` is the store of retained values.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import blake2b
from typing import Literal

from msgspec import Struct, field

__all__ = [
    "Accepted", "Ended", "Line", "Missing", "Queued", "Refused", "Snapshot", "Start", "Stop", "Waiting", "digest_of",
]  # fmt: skip


def digest_of(payload: bytes) -> str:
    """The payload's name in these lines: of a push, the body's."""
    return blake2b(payload, digest_size=8).hexdigest()


class _Line(Struct, frozen=True, kw_only=True, omit_defaults=True, tag_field="event"):
    at: int
    """When, in milliseconds on the node's clock, which is CLOCK_MONOTONIC on a machine and never goes back."""


class Start(_Line, frozen=True, kw_only=True, tag="start"):
    """A node begins to write; or goes on in a new file, or after it could not, and then the epoch is the same."""

    wall: datetime
    """The time of day, to line up files of several machines."""
    node: str
    """Its name."""
    kind: Literal["broker", "edge"]
    epoch: str
    """Its life, a new one at each start."""


class Stop(_Line, frozen=True, kw_only=True, tag="stop"):
    """The node ends in order; the lines before it say what is still queued. A life without it was cut off."""

    wall: datetime
    queued: int
    """How many `queued` lines stand before this one."""


class _OfMessage(_Line, frozen=True, kw_only=True):
    topic: str
    digest: str


class Accepted(_OfMessage, frozen=True, kw_only=True, tag="accepted"):
    """The node has taken a message; each of `owed` ends once, or is queued when the node ends."""

    qos: int
    retain: bool = False
    stored: bool = False
    """It was retained elsewhere before it was asked for here."""
    publisher: str = field(name="from", default="")
    """Who it came from; empty for the node itself."""
    owed: list[str] = []
    """Whom it is for here: those whose subscriptions match."""


class Refused(_OfMessage, frozen=True, kw_only=True, tag="refused"):
    """The node has not taken a message, or not again: nobody here is owed it."""

    qos: int
    publisher: str = field(name="from", default="")
    reason: str


class Ended(_OfMessage, frozen=True, kw_only=True, tag="ended"):
    """What one recipient was owed has ended."""

    to: str
    outcome: str
    """`acknowledged`, `sent`, `expired`, `collapsed` or `dropped`."""
    reason: str = ""
    """Why it was dropped."""
    stored: bool = False
    """It was kept until the recipient asked for it, and is in no `owed`."""


class Queued(_OfMessage, frozen=True, kw_only=True, tag="queued"):
    """What one recipient is still owed as the node ends."""

    to: str
    sent: bool = False
    """It was sent and not acknowledged: the recipient may have it."""
    stored: bool = False


class Waiting(Queued, frozen=True, kw_only=True, tag="waiting"):
    """The same at a moment in between: it ends later."""


class Snapshot(_Line, frozen=True, kw_only=True, tag="snapshot"):
    """Somebody asked what everybody is owed now; the next `waiting` lines say it."""

    waiting: int
    """How many lines these are."""


class Missing(_Line, frozen=True, kw_only=True, tag="missing"):
    """Lines could not be written before this one."""

    lines: int


Line = Start | Accepted | Refused | Ended | Waiting | Queued | Snapshot | Missing | Stop
