"""What a fleet runs in: nodes, links and clients, on real sockets or in virtual time. The fleet knows no difference."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from firmware_sim.devices.clock import Clock
from firmware_sim.devices.port import Access, Port
from firmware_sim.links.link import Counters
from firmware_sim.scenario.plan import Action
from firmware_sim.scenario.roster import Member


class WorldError(RuntimeError):
    """A world could not be made, or fell apart; the message says what is missing and what to do."""


@dataclass(slots=True)
class Glance:
    """A look at the world: what links carried so far, and what waits at nodes now, in messages."""

    links: dict[str, Counters] = field(default_factory=dict)
    queued: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Usage:
    """What a node has used so far."""

    cpu_s: float
    resident_mib: float


Decision = Callable[[str, str, str, int, int], None]
"""Told what a link decided: link, direction, fate, size in bytes, time in ns."""


class World(Protocol):
    """A world is opened, filled with ports, acted upon, looked at, and closed."""

    run: str
    """Tells this run's messages from those of others."""
    is_virtual: bool

    @property
    def clock(self) -> Clock:
        """Its time."""

    async def open(self) -> None:
        """Make links and start nodes. Raises `WorldError`."""

    def port(self, member: Member, access: Access) -> Port:
        """A client for a device, not yet connected."""

    def doors(self, population: str) -> list[tuple[str, int]]:
        """Host and port of each node that a population in bulk talks to."""

    def settle(self, population: str) -> Callable[[], None] | None:
        """What a process that carries the population has to do before it begins."""

    async def act(self, action: Action) -> None:
        """Do something to a node, a link, or a device's serial line. Raises `WorldError`."""

    async def look(self) -> Glance:
        """How it stands."""

    def lags_ns(self) -> Sequence[int]:
        """How late things began that the fleet itself had planned."""

    def usage(self) -> dict[str, Usage]:
        """What each node has used; empty where that means nothing."""

    def endings(self) -> list[str]:
        """How nodes ended that nobody ended, with their last words."""

    async def stop(self) -> dict[str, Path]:
        """End the nodes in order. Where each wrote of every message; a foreign node is not among them, nor ended."""

    async def close(self) -> None:
        """Let go of everything else, those files included."""
