"""A peer and the one confirmable message that may be on its way to it (RFC 7252 §4.2, §4.7)."""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oriole.link.coap.observation import Observation
    from oriole.link.coap.request import Request


class Failure(Enum):
    """Why a confirmable message will not be acknowledged."""

    RESET = "reset"
    """The peer rejected it."""
    TIMED_OUT = "timed out"
    """Nothing came back for any of its transmissions."""


class Transmission:
    """A confirmable message until it is settled.

    Attributes:
        datagram: what is sent, and sent again.
        message_id: matches the acknowledgement.
        sender: told how it ends; None for a separate response, of which nobody asks.
        attempts: transmissions so far.
        timeout_ms: the wait after the latest transmission.
        resend_at: when that wait ends.
    """

    __slots__ = ("attempts", "datagram", "message_id", "resend_at", "sender", "timeout_ms")

    def __init__(self, datagram: bytes, message_id: int, sender: Observation | Request | None) -> None:
        self.datagram = datagram
        self.message_id = message_id
        self.sender = sender
        self.attempts = 0
        self.timeout_ms = 0
        self.resend_at = 0


class Peer:
    """What is open with one address.

    Attributes:
        address: opaque to us.
        message_id: the last one we used towards it. Each peer has its own sequence, because it takes a repeat within
            minutes for a duplicate.
        outstanding: the message that it has to acknowledge before it gets another one.
        backlog: those others.
        observations: by token.
        wake_at: time of its one live entry among the deadlines; 0 without one.
    """

    __slots__ = ("address", "backlog", "message_id", "observations", "outstanding", "wake_at")

    def __init__(self, address: Hashable, message_id: int) -> None:
        self.address = address
        self.message_id = message_id
        self.outstanding: Transmission | None = None
        self.backlog: deque[Transmission] = deque()
        self.observations: dict[bytes, Observation] = {}
        self.wake_at = 0

    @property
    def idle(self) -> bool:
        """Nothing is open: it may be forgotten."""
        return self.outstanding is None and not self.observations

    def next_message_id(self) -> int:
        """A message ID not used towards this peer for the longest time."""
        self.message_id = (self.message_id + 1) & 0xFFFF
        return self.message_id
