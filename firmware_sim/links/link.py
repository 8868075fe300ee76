"""A link between two places in real time: both its directions, what goes over it, and the one timer that drives them.

TCP connections, UDP flows and serial cables all go through this. Nobody is told of a cut: nothing is reset, no socket
closes. That is what a dead radio looks like to both ends.
"""

import asyncio
import sys
import time
from collections.abc import Sequence
from random import Random
from typing import Protocol, Self

import msgspec

from .model import Direction, LinkModel
from .pipe import SECOND_NS, Fate, Pipe
from .way import Receive, Way

BOTH: tuple[Direction, ...] = ("up", "down")


class Counters(msgspec.Struct, frozen=True):
    """What went over a link so far. Bytes are those of whole packets, headers included; bare acknowledgements of TCP
    are not counted.
    """

    up_bytes: int = 0
    down_bytes: int = 0
    lost_bytes: int = 0
    """Of what TCP lost it sent other packets with the same content."""
    lag_ns: int = 0
    """The carrier's own worst delay: how late it brought something."""
    lost: int = 0
    """Packets that did not arrive, whatever the reason."""
    duplicated: int = 0
    """Packets that arrived twice."""
    reordered: int = 0
    """Packets that were held back."""
    queued_bytes: int = 0
    """What waits before the bottlenecks now."""
    refused: int = 0
    """Connections, flows and datagrams that the carrier itself failed, for want of files, room or time."""

    @classmethod
    def of(cls, up: Pipe, down: Pipe, now_ns: int, lag_ns: int = 0, refused: int = 0, spilt_bytes: int = 0) -> Self:  # type: ignore[type-arg]
        """The sum of both directions; `spilt_bytes` were lost behind the link."""
        return cls(
            up_bytes=up.carried_bytes,
            down_bytes=down.carried_bytes,
            lost_bytes=up.lost_bytes + down.lost_bytes + spilt_bytes,
            lag_ns=lag_ns,
            lost=up.lost + down.lost,
            duplicated=up.fates[Fate.DUPLICATED] + down.fates[Fate.DUPLICATED],
            reordered=up.fates[Fate.REORDERED] + down.fates[Fate.REORDERED],
            queued_bytes=up.queued_bytes(now_ns) + down.queued_bytes(now_ns),
            refused=refused,
        )

    @property
    def total_bytes(self) -> int:
        """Both directions."""
        return self.up_bytes + self.down_bytes


class Mover(Protocol):
    """Who has connections or flows that stand and fall with an address."""

    def moved(self) -> None:
        """The near end has another address now."""


class Link:
    """`up` leads from whoever connects to the place connected to, `down` back."""

    __slots__ = (
        "_armed_ns",
        "_loop",
        "_name",
        "_said",
        "_timer",
        "down",
        "lag_ns",
        "movers",
        "refused",
        "spilt_bytes",
        "up",
    )

    def __init__(self, name: str, model: LinkModel, seed: int) -> None:
        self._name = name
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._armed_ns = 0
        self.up = Way(model.direction("up"), Random(f"{seed}/{name}/up"))
        self.down = Way(model.direction("down"), Random(f"{seed}/{name}/down"))
        self.movers: dict[Mover, None] = {}
        self.lag_ns = 0
        self.refused = 0
        self._said: dict[str, None] = {}
        self.spilt_bytes = 0

    def send(self, way: Way, receive: Receive, what: object, size_bytes: int) -> None:
        """Put a packet in one of the ways."""
        way.send(receive, what, size_bytes, time.monotonic_ns())
        self.stir()

    def stir(self) -> None:
        """Something was put in, or changed: see that the timer goes off for it."""
        deadlines = [deadline for way in (self.up, self.down) if (deadline := way.deadline()) is not None]
        if deadlines and (self._timer is None or min(deadlines) < self._armed_ns):
            if self._timer is not None:
                self._timer.cancel()
            self._armed_ns = min(deadlines)
            self._timer = self._loop.call_at(self._armed_ns / SECOND_NS, self._advance)

    def cut(self, directions: Sequence[Direction] = BOTH) -> None:
        """Silence. What is under way is lost. Cutting what is cut changes nothing."""
        for way in self._ways(directions):
            way.pipe.cut(time.monotonic_ns())

    def heal(self, directions: Sequence[Direction] = BOTH) -> None:
        """Carry again. Healing what is whole changes nothing."""
        for way in self._ways(directions):
            way.pipe.heal()

    def change(self, model: LinkModel) -> None:
        """Be like `model` from now on."""
        now_ns = time.monotonic_ns()
        self.up.pipe.change(model.direction("up"), now_ns)
        self.down.pipe.change(model.direction("down"), now_ns)
        self.stir()

    def move(self) -> None:
        """The near end has another address now: connections that exist hear nothing more, and are not told."""
        for mover in list(self.movers):
            mover.moved()

    def refuse(self, why: str, times: int = 1) -> None:
        """Count that the relay itself fails, and say each reason once: the link is not to blame."""
        if why not in self._said:
            self._said[why] = None
            print(f"link {self._name}: {why}", file=sys.stderr, flush=True)
        self.refused += times

    def count(self) -> Counters:
        """What went through so far."""
        pipes = self.up.pipe, self.down.pipe
        return Counters.of(*pipes, time.monotonic_ns(), self.lag_ns, self.refused, self.spilt_bytes)

    def close(self) -> None:
        """Bring nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _ways(self, directions: Sequence[Direction]) -> list[Way]:
        return [self.up if direction == "up" else self.down for direction in directions]

    def _advance(self) -> None:
        self._timer = None
        now_ns = time.monotonic_ns()
        self.lag_ns = max(self.lag_ns, now_ns - self._armed_ns)
        self.up.advance(now_ns)
        self.down.advance(now_ns)
        self.stir()
