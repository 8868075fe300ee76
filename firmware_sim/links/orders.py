"""What the network's process is told and what it answers: one JSON object per line, in order."""

from typing import Literal

import msgspec

from .link import Counters

MAX_DELAY_MS = 3_600_000.0


class LinkModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What a link is like, the same in both directions."""

    delay_ms: float = 0.0
    """One way, in milliseconds."""
    rate_kbit: int = 0
    """Bottleneck in kilobits per second; 0 for none."""
    buffer_kib: int = 64
    """What waits before the bottleneck, in KiB; more is lost (UDP) or slowed (TCP)."""

    def __post_init__(self) -> None:
        if self.delay_ms < 0 or self.rate_kbit < 0 or self.buffer_kib < 1:
            raise ValueError("a link's delay and rate cannot be negative, and its buffer holds at least 1 KiB")
        if not self.delay_ms <= MAX_DELAY_MS:
            raise ValueError(f"a link's delay is a number of at most {MAX_DELAY_MS:.0f} ms")


class AddLink(msgspec.Struct, frozen=True, tag=True):
    """Make a link called `name`."""

    name: str
    model: LinkModel


class Forward(msgspec.Struct, frozen=True, tag=True):
    """Listen for `protocol` and carry it over the link to `host:port`."""

    link: str
    protocol: Literal["tcp", "udp"]
    host: str
    port: int


class Connect(msgspec.Struct, frozen=True, tag=True):
    """Make a serial cable over the link."""

    link: str


class Cut(msgspec.Struct, frozen=True, tag=True):
    """Silence on the link."""

    link: str


class Heal(msgspec.Struct, frozen=True, tag=True):
    """The link carries again."""

    link: str


class Count(msgspec.Struct, frozen=True, tag=True):
    """Say what went over every link."""


Order = AddLink | Forward | Connect | Cut | Heal | Count


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one order: `error` when it failed, otherwise what was asked for."""

    error: str = ""
    port: int = 0
    gateway: str = ""
    device: str = ""
    counters: dict[str, Counters] = {}
