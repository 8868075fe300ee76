"""From populations to single devices: names, topics, targets, addresses. No randomness, no I/O."""

from dataclasses import dataclass

from firmware_sim.devices.device import Device, Target, Traits
from firmware_sim.devices.kinds import KINDS, Address, parse_address

from .scenario import Population, Scenario


@dataclass(slots=True, frozen=True)
class Plan:
    """A device before it exists."""

    kind: type[Device]
    traits: Traits
    address: Address
    link: str
    mqtt_version: int


def expand(scenario: Scenario, seed: int) -> list[Plan]:
    """Every device of the scenario, in the file's order."""
    return [
        _plan(scenario, seed, name, index)
        for name, population in scenario.populations.items()
        for index in range(population.count)
    ]


def _plan(scenario: Scenario, seed: int, name: str, index: int) -> Plan:
    population = scenario.populations[name]
    urls = scenario.urls(population.address)

    def below(topic: str) -> str:
        return f"{scenario.topics}/{topic}" if topic else ""

    traits = Traits(
        name=_device_name(name, index),
        place=below(population.place),
        way=population.way or population.address,
        seed=seed,
        every_s=population.every_s,
        qos=population.qos,
        hears=(*map(below, population.hears), *_confirmations(scenario, population)),
        targets=tuple(target for name in population.commands for target in _targets(scenario, name)),
        announces=below(population.announces),
        reads=below(population.reads),
        awake_s=population.awake_s,
    )
    kind = KINDS[population.kind]
    version = 5 if population.mqtt == "5" else 4
    return Plan(kind, traits, parse_address(urls[index % len(urls)]), population.link, version)


def _device_name(population: str, index: int) -> str:
    return f"{population}-{index + 1}"


def _targets(scenario: Scenario, name: str) -> list[Target]:
    population = scenario.populations[name]
    prefix = f"{scenario.topics}/{population.place}"
    kind = KINDS[population.kind]
    return [Target(f"{prefix}/{_device_name(name, index)}/set", kind) for index in range(population.count)]


def _confirmations(scenario: Scenario, population: Population) -> list[str]:
    """Where the states of those commanded are heard, one filter per place."""
    places = dict.fromkeys(scenario.populations[name].place for name in population.commands)
    return [f"{scenario.topics}/{place}/+/state" for place in places]
