"""What happens to the populations, links and nodes of a scenario: what people do, and what goes wrong."""

from typing import Annotated

import msgspec

from firmware_sim.links.model import LinkModel

from .values import Duration, Names, Part, Share, names_of, seconds

EVENTS = ("power_on", "power_off", "roam", "update")
FAULTS = (
    "cut", "change", "readdress", "kill", "power_cut", "pause", "fill_disk", "jump_clock", "slow", "noise", "unplug",
)  # fmt: skip
LINK_FAULTS = ("cut", "change", "readdress")
NODE_FAULTS = ("fill_disk", "jump_clock")
DEVICE_FAULTS = ("slow", "noise", "unplug")
PROCESS_FAULTS = ("kill", "power_cut", "pause")
"""Faults of nodes and of devices alike."""

FIRMWARE_KIB = 64
MAX_JUMP_S = 1e9


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that people do; exactly one of `power_on`, `power_off`, `roam` and `update`."""

    at: Duration
    """When, after the devices began."""
    spread: Duration = seconds(0.0)
    """Each device does it at a moment of its own within this time."""
    power_on: Names = ""
    """Populations that are switched on."""
    power_off: Names = ""
    """Populations that are switched off in order: they say goodbye and their session waits."""
    roam: Names = ""
    """Populations that go over to the next of their nodes."""
    update: Names = ""
    """Populations that are offered new firmware by whoever has them among its `commands` (updater)."""
    firmware_kib: Annotated[int, msgspec.Meta(ge=1, le=4096)] = FIRMWARE_KIB
    """Size of the new firmware in KiB (update)."""

    def __post_init__(self) -> None:
        if sum(bool(getattr(self, verb)) for verb in EVENTS) != 1:
            raise ValueError(f"an event has exactly one of {', '.join(f'`{verb}`' for verb in EVENTS)}")

    @property
    def verb(self) -> str:
        """What is done."""
        return next(verb for verb in EVENTS if getattr(self, verb))

    @property
    def targets(self) -> list[str]:
        """The populations that it is about."""
        return names_of(getattr(self, self.verb))


class Fault(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that goes wrong; exactly one of the keys that name what does. At a time, or again and again."""

    at: Duration | None = None
    """When, after the devices began."""
    every: Duration | None = None
    """Instead of `at`: again and again, at random, this long apart in the mean."""
    lasts: Duration = seconds(0.0)
    """After how long it is over: the link heals, the process is started again. 0: it stays so. Where faults of one kind
    overlap on one target, it is over when all of them are."""
    cut: Names = ""
    """Links that fall silent: nothing is reset, nothing gets through."""
    change: Names = ""
    """Links that become like `to`."""
    to: LinkModel | None = None
    """What the links are like meanwhile (change)."""
    readdress: Names = ""
    """Links behind which addresses change: connections that exist go silent for ever (a new cell, a new lease)."""
    kill: Names = ""
    """Nodes or populations that are killed (SIGKILL): the system closes their connections."""
    power_cut: Names = ""
    """Nodes or populations that lose power: nothing closes their connections."""
    keeps_state: bool = True
    """Whether devices come back with what they knew (kill, power_cut): session, settings, half a firmware."""
    pause: Names = ""
    """Nodes or populations that stand still (SIGSTOP)."""
    fill_disk: Names = ""
    """Nodes whose data folder is on a disk that is full."""
    jump_clock: Names = ""
    """Nodes whose wall clock jumps by `by`."""
    by: Annotated[float, msgspec.Meta(ge=-MAX_JUMP_S, le=MAX_JUMP_S)] = 0.0
    """Seconds that the clock jumps, back if negative (jump_clock)."""
    slow: Names = ""
    """Populations that do not read what is sent to them."""
    noise: Names = ""
    """Populations on serial lines of which a share of bytes is damaged."""
    bytes_damaged: Share = 0.001
    """That share (noise)."""
    unplug: Names = ""
    """Populations whose serial cable is pulled."""
    share: Part = 1.0
    """Which share of the devices it hits, drawn by the seed: above 0, and at least one of each population."""

    def __post_init__(self) -> None:
        if sum(bool(getattr(self, verb)) for verb in FAULTS) != 1:
            raise ValueError(f"a fault has exactly one of {', '.join(f'`{verb}`' for verb in FAULTS)}")
        if (self.at is None) == (self.every is None):
            raise ValueError("a fault has either `at` or `every`")
        if self.every is not None and not self.every.ns:
            raise ValueError("`every` is longer than nothing")
        if bool(self.change) != (self.to is not None):
            raise ValueError("`change` and `to` go together")
        if bool(self.jump_clock) != bool(self.by):
            raise ValueError("`jump_clock` and `by`, the seconds that it jumps, go together")
        if self.verb in ("pause", "slow", "noise", "unplug") and not self.lasts:
            raise ValueError(f"`{self.verb}` needs `lasts`")

    @property
    def verb(self) -> str:
        """What goes wrong."""
        return next(verb for verb in FAULTS if getattr(self, verb))

    @property
    def targets(self) -> list[str]:
        """Whom it hits."""
        return names_of(getattr(self, self.verb))
