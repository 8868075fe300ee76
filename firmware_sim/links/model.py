"""What a link is like, as a person writes it down: the keys of `links` in a scenario.

A link has two directions, alike unless `up` or `down` says otherwise. What the numbers do to a packet is `pipe.py`'s.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

Milliseconds = Annotated[float, Meta(ge=0, le=3_600_000)]
Kilobits = Annotated[int, Meta(ge=0, le=10_000_000)]
Kibibytes = Annotated[int, Meta(ge=1, le=1_048_576)]
Share = Annotated[float, Meta(ge=0, le=1)]
Packets = Annotated[float, Meta(ge=1, le=1_000_000)]

Direction = Literal["up", "down"]


class DirectionModel(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One direction of a link. As it stands by default, everything arrives at once."""

    delay_ms: Milliseconds = 0.0
    """One way, in milliseconds."""
    jitter_ms: Milliseconds = 0.0
    """Up to so much more delay, drawn for each packet; nothing overtakes for it."""
    rate_kbit: Kilobits = 0
    """Bottleneck in kilobits per second, headers included; 0 for none."""
    buffer_kib: Kibibytes = 64
    """What waits before the bottleneck, in KiB; what finds it full is lost, and TCP sends it again."""
    loss: Share = 0.0
    """The share of packets that are lost on the way."""
    burst: Packets = 1.0
    """How many packets are lost in a row, on average, of those that come within 100 ms of each other; 1 for losses that
    know nothing of each other."""
    reorder: Share = 0.0
    """The share of packets that are held back, so that later ones overtake them."""
    reorder_ms: Milliseconds = 10.0
    """How long such a packet is held back, in milliseconds."""
    duplicate: Share = 0.0
    """The share of packets that arrive twice."""


class Differences(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The keys in which one direction differs from what its link says; their meaning is the link's."""

    delay_ms: Milliseconds | UnsetType = UNSET
    """One way, in milliseconds."""
    jitter_ms: Milliseconds | UnsetType = UNSET
    """Up to so much more delay."""
    rate_kbit: Kilobits | UnsetType = UNSET
    """Bottleneck in kilobits per second; 0 for none."""
    buffer_kib: Kibibytes | UnsetType = UNSET
    """What waits before the bottleneck, in KiB."""
    loss: Share | UnsetType = UNSET
    """The share of packets that are lost."""
    burst: Packets | UnsetType = UNSET
    """How many packets are lost in a row."""
    reorder: Share | UnsetType = UNSET
    """The share of packets that are held back."""
    reorder_ms: Milliseconds | UnsetType = UNSET
    """How long such a packet is held back."""
    duplicate: Share | UnsetType = UNSET
    """The share of packets that arrive twice."""


class LinkModel(DirectionModel, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A link: the keys of both directions, and where one of them differs."""

    up: Differences = Differences()
    """What differs from whoever connects towards the place connected to."""
    down: Differences = Differences()
    """What differs on the way back."""

    def direction(self, direction: Direction) -> DirectionModel:
        """One direction alone."""
        values = {key: getattr(self, key) for key in DirectionModel.__struct_fields__}
        differences = msgspec.structs.asdict(self.up if direction == "up" else self.down)
        return DirectionModel(**values | {key: value for key, value in differences.items() if value is not UNSET})
