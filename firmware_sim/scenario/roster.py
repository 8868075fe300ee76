"""From populations to single devices: names, topics, targets, nodes. No randomness, no I/O."""

import math
from dataclasses import dataclass

from firmware_sim.devices.device import Device
from firmware_sim.devices.kinds import KINDS
from firmware_sim.devices.port import Access, Meter
from firmware_sim.devices.traits import Target, Traits

from .file import Scenario
from .population import Population, Profile
from .values import names_of


@dataclass(slots=True, frozen=True)
class Member:
    """A device before it exists. `index` counts within its population, from 0."""

    kind: type[Device]
    traits: Traits
    profile: Profile
    population: Population
    index: int

    @property
    def name(self) -> str:
        """What it is called."""
        return self.traits.name

    @property
    def nodes(self) -> list[str]:
        """The nodes that it talks to, beginning with its first."""
        nodes = names_of(self.population.at)
        first = self.index % len(nodes)
        return nodes[first:] + nodes[:first]

    @property
    def mqtt_version(self) -> int:
        """As paho and `oriole.wire.mqtt` number them."""
        return 5 if self.profile.mqtt == "5" else 4

    @property
    def session_s(self) -> int:
        """How long its session waits: MQTT counts whole seconds."""
        return math.ceil(self.profile.session)

    @property
    def keep_alive_s(self) -> int:
        """At least a second, the least that MQTT can say; 0 for never."""
        return math.ceil(self.profile.keep_alive)

    def access(self, run: str, meter: Meter | None = None) -> Access:
        """What its port is told of it."""
        return Access(
            name=self.name,
            run=run,
            kind=self.kind.kind,
            mqtt_version=self.mqtt_version,
            session_s=self.session_s,
            keep_alive_s=self.keep_alive_s,
            will=self.kind.will(self.traits),
            meter=meter,
        )


def roster(scenario: Scenario) -> list[Member]:
    """Every device of the scenario, in the file's order; those that the load generator carries too."""
    return [
        _member(scenario, name, index)
        for name, population in scenario.populations.items()
        for index in range(population.count)
    ]


def device_name(population: str, index: int) -> str:
    """What the device with `index`, from 0, is called."""
    return f"{population}-{index + 1}"


def _member(scenario: Scenario, name: str, index: int) -> Member:
    population = scenario.populations[name]
    profile = scenario.profile(name)
    kind = KINDS[profile.kind]

    def below(topic: str) -> str:
        return f"{scenario.topics}/{topic}" if topic else ""

    traits = Traits(
        name=device_name(name, index),
        place=below(population.place),
        population=name,
        way=scenario.way(name),
        every_ns=profile.every.ns,
        qos=profile.qos,
        lifetime_s=math.ceil(profile.lifetime),
        hears=(*map(below, profile.hears), *_replies(scenario, kind, population)),
        targets=tuple(target for each in population.commands for target in _targets(scenario, each)),
        announces=below(profile.announces),
        reads=below(profile.reads),
        awake_ns=profile.awake.ns,
        padding=profile.padding,
        takes_firmware=any(
            scenario.profile(other).kind == "updater" and name in each.commands
            for other, each in scenario.populations.items()
        ),
    )
    return Member(kind, traits, profile, population, index)


def _targets(scenario: Scenario, name: str) -> list[Target]:
    population = scenario.populations[name]
    place = f"{scenario.topics}/{population.place}"
    kind = KINDS[scenario.profile(name).kind]
    return [Target(f"{place}/{device_name(name, index)}", kind) for index in range(population.count)]


def _replies(scenario: Scenario, kind: type[Device], population: Population) -> list[str]:
    """Where those commanded answer, one filter per place."""
    places = dict.fromkeys(scenario.populations[name].place for name in population.commands)
    return [f"{scenario.topics}/{place}/+/{kind.answers_on}" for place in places]
