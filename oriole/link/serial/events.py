"""What an endpoint tells its owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from oriole.wire.serial import FrameError, Hello, Noise, NumberedFrame


@dataclass(frozen=True, slots=True)
class Greeted:
    """To a gateway: a device wants a session. Answer with `welcome` or `reject`, now or later."""

    hello: Hello


@dataclass(frozen=True, slots=True)
class Connected:
    """The session is up. Not resumed: one side has forgotten the other, so a device subscribes anew."""

    peer: str
    resumed: bool


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The session is down, and may be resumed; `reason` as in BYE, or UNAVAILABLE when the peer fell silent."""

    reason: int
    text: str


@dataclass(frozen=True, slots=True)
class Received:
    """A frame for the owner, once and in order. With a number it wants `acknowledge`, in order, when it is settled.

    A FrameError stands for a numbered frame that cannot be read: it takes its turn like the others.
    """

    frame: NumberedFrame | FrameError
    epoch: int  # of the inbox: it ends when the peer reboots

    @property
    def sequence(self) -> int:
        """The frame's number, 0 for one without."""
        return self.frame.sequence


@dataclass(frozen=True, slots=True)
class Acknowledged:
    """The peer has settled everything up to this number."""

    sequence: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """The peer has come back and takes no frames as long as the one with this number: it will never get it."""

    sequence: int


Event: TypeAlias = Greeted | Connected | Disconnected | Received | Acknowledged | Skipped | Noise
