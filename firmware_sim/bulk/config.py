"""What the bulk process is told of its devices. It is made by a program, not by people: durations are exact."""

from typing import Annotated, Literal

import msgspec

from firmware_sim.devices.kinds import KINDS
from firmware_sim.devices.traits import Target, Traits

Count = Annotated[int, msgspec.Meta(ge=1)]
Natural = Annotated[int, msgspec.Meta(ge=0)]


class TargetOf(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A device that is commanded, in this process or elsewhere."""

    topic: str
    """Its base topic."""
    kind: str
    """What it is."""


class Group(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Devices that differ in nothing but their names: `NAME-1`, `NAME-2`, ..."""

    name: str
    """What the group is called."""
    kind: str
    """What its devices are; any kind that speaks MQTT."""
    count: Count
    """How many there are."""
    place: str
    """The topic above their names."""
    addresses: list[tuple[str, Annotated[int, msgspec.Meta(ge=1, le=65_535)]]]
    """Host and port of the nodes; the first is used until a device roams."""
    way: str = ""
    """How they are connected, as the report calls it; the group's name when empty."""
    every_ns: Count = 10_000_000_000
    """Their beat."""
    qos: Literal[0, 1, 2] = 1
    """Quality of service of all that they send and hear."""
    lifetime_s: Natural = 0
    """After so long their orders are worth nothing; 0 for never."""
    hears: list[str] = []
    """Topic filters that they listen to besides their own."""
    targets: list[TargetOf] = []
    """Whom they command."""
    announces: str = ""
    """The topic that they speak to (herald)."""
    awake_ns: Count = 1_000_000_000
    """How long they stay awake at a time (sleepers)."""
    padding: Natural = 0
    """Bytes added to each message."""
    takes_firmware: bool = False
    """Whether they listen for new firmware."""
    mqtt_version: Literal[4, 5] = 5
    """5, or 4 for MQTT 3.1.1."""
    session_s: Natural = 3600
    """How long the broker keeps their sessions (MQTT 5)."""
    keep_alive_s: Annotated[int, msgspec.Meta(ge=0, le=65_535)] = 30
    """MQTT keep-alive."""
    starts_ns: Natural = 0
    """When they are switched on, after the run began; 0: before it begins."""
    spread_ns: Natural = 0
    """Those with `starts_ns` come one by one within this time."""

    def __post_init__(self) -> None:
        kind = KINDS.get(self.kind)
        if kind is None or "mqtt" not in kind.speaks:
            raise ValueError(f"group `{self.name}`: no kind `{self.kind}` speaks MQTT")
        if not self.addresses:
            raise ValueError(f"group `{self.name}` has no address")
        if kind.commands and not self.targets:
            raise ValueError(f"group `{self.name}`: a {self.kind} needs `targets`")
        for target in self.targets:
            if target.kind not in KINDS:
                raise ValueError(f"group `{self.name}`: there is no kind `{target.kind}`")

    def device_names(self) -> list[str]:
        """What its devices are called."""
        return [f"{self.name}-{number}" for number in range(1, self.count + 1)]

    def traits(self) -> list[Traits]:
        """Its devices, in the order of their numbers."""
        targets = tuple(Target(target.topic, KINDS[target.kind]) for target in self.targets)
        return [
            Traits(
                name=name,
                place=self.place,
                population=self.name,
                way=self.way or self.name,
                every_ns=self.every_ns,
                qos=self.qos,
                lifetime_s=self.lifetime_s,
                hears=tuple(self.hears),
                targets=targets,
                announces=self.announces,
                awake_ns=self.awake_ns,
                padding=self.padding,
                takes_firmware=self.takes_firmware,
            )
            for name in self.device_names()
        ]


class BulkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that one process carries."""

    run: str
    """Tells the messages of this run from others."""
    seed: int
    """What all random choices come from; each device's depend on it and on the device's name alone."""
    groups: list[Group]
    """Who takes part."""
    connects_per_s: Annotated[float, msgspec.Meta(gt=0)] = 500.0
    """How many devices are switched on in a second, of those that are there before the run begins."""
    sources: list[str] = []
    """Addresses of this machine to connect from, in turn; each gives some 28,000 connections to one broker."""
    ways: dict[str, str] = {}
    """How populations outside this process are connected, as the report calls it."""

    @property
    def count(self) -> int:
        """How many devices there are."""
        return sum(group.count for group in self.groups)
