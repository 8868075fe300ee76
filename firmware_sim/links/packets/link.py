"""A link between places, packet by packet: a pipe each way, and at its ends whoever takes packets for an address.

It owns where a packet goes and asks the pipes when. A link has any number of ends on its near side, where those are who
connect, and on its far side, where those are whom they connect to: all of them share its two pipes. It knows no device
and no clock.
"""

import contextlib
from collections.abc import Sequence
from random import Random
from typing import Final, Protocol

from ..model import Direction, DirectionModel, LinkModel
from ..pipe import Pipe

IPV4: Final = 4
MIN_HEADER_BYTES: Final = 20
DESTINATION: Final = slice(16, 20)  # RFC 791 §3.1


class End(Protocol):
    """Where packets leave the link."""

    def write(self, packet: bytes) -> None:
        """Take a packet. Raises OSError when it cannot; then the packet is gone."""


class PacketWay:
    """One direction of a link. `ends` is by address, as four bytes."""

    __slots__ = ("ends", "lag_ns", "pipe")

    def __init__(self, model: DirectionModel, random: Random) -> None:
        self.pipe: Pipe[bytes] = Pipe(model, random)
        self.ends: dict[bytes, End] = {}
        self.lag_ns = 0

    def push(self, packet: bytes, now_ns: int) -> None:
        """Send an IPv4 packet on its way. What is for nobody here costs the link nothing: what a kernel says to any
        neighbour when a device is new, or to somebody who has moved.
        """
        if len(packet) >= MIN_HEADER_BYTES and packet[0] >> 4 == IPV4 and packet[DESTINATION] in self.ends:
            self.pipe.push(packet, len(packet), now_ns)

    def deliver(self, now_ns: int) -> None:
        """Hand over what has arrived."""
        for arrives_ns, packet in self.pipe.pop(now_ns):
            self.lag_ns = max(self.lag_ns, now_ns - arrives_ns)
            if end := self.ends.get(packet[DESTINATION]):
                with contextlib.suppress(OSError):  # somebody inside took the device down
                    end.write(packet)


class PacketLink:
    """`up` leads from the near side to the far one, `down` back. Chance comes from `seed` and the name."""

    __slots__ = ("down", "up")

    def __init__(self, name: str, model: LinkModel, seed: int) -> None:
        self.up = PacketWay(model.direction("up"), Random(f"{seed}/{name}/up"))
        self.down = PacketWay(model.direction("down"), Random(f"{seed}/{name}/down"))

    def deliver(self, now_ns: int) -> None:
        """Hand over what has arrived."""
        self.up.deliver(now_ns)
        self.down.deliver(now_ns)

    def deadline(self) -> int | None:
        """When something arrives next, in ns."""
        deadlines = (self.up.pipe.deadline(), self.down.pipe.deadline())
        return min((deadline for deadline in deadlines if deadline is not None), default=None)

    def cut(self, directions: Sequence[Direction], now_ns: int) -> None:
        """Silence: no reset, no ICMP message."""
        for direction in directions:
            self._way(direction).pipe.cut(now_ns)

    def heal(self, directions: Sequence[Direction]) -> None:
        """Carry again."""
        for direction in directions:
            self._way(direction).pipe.heal()

    def change(self, model: LinkModel, now_ns: int) -> None:
        """Be like `model` from now on."""
        self.up.pipe.change(model.direction("up"), now_ns)
        self.down.pipe.change(model.direction("down"), now_ns)

    def _way(self, direction: Direction) -> PacketWay:
        return self.up if direction == "up" else self.down
