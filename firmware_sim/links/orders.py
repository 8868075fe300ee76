"""What the network's process is told and what it answers: one JSON object per line, in order."""

from collections.abc import Sequence
from typing import Literal

import msgspec

from .link import BOTH, Counters
from .model import Direction, LinkModel, Share


class AddLink(msgspec.Struct, frozen=True, tag=True):
    """Make a link called `name`; what it leaves to chance comes from `seed` and its name."""

    name: str
    model: LinkModel
    seed: int


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
    """Silence on the link, or in one direction of it."""

    link: str
    directions: Sequence[Direction] = BOTH


class Heal(msgspec.Struct, frozen=True, tag=True):
    """The link carries again, or one direction of it."""

    link: str
    directions: Sequence[Direction] = BOTH


class Change(msgspec.Struct, frozen=True, tag=True):
    """The link becomes like `model`."""

    link: str
    model: LinkModel


class Move(msgspec.Struct, frozen=True, tag=True):
    """Whoever connects over the link has another address now."""

    link: str


class Disturb(msgspec.Struct, frozen=True, tag=True):
    """On the link's cables such shares of the bytes are damaged, and inserted."""

    link: str
    damaged: Share
    inserted: Share


class Unplug(msgspec.Struct, frozen=True, tag=True):
    """The link's cables are pulled."""

    link: str


class Plug(msgspec.Struct, frozen=True, tag=True):
    """The link's cables are put back."""

    link: str


class Count(msgspec.Struct, frozen=True, tag=True):
    """Say what went over every link."""


Order = AddLink | Forward | Connect | Cut | Heal | Change | Move | Disturb | Unplug | Plug | Count


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one order: `error` when it failed, otherwise what was asked for."""

    error: str = ""
    port: int = 0
    gateway: str = ""
    device: str = ""
    counters: dict[str, Counters] = {}
