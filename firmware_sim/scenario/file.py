"""A whole scenario, and what must be true across its parts: refused before anything starts, by key and line."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import msgspec

from firmware_sim.devices.kinds import KINDS
from firmware_sim.devices.names import check_name
from firmware_sim.devices.voice import CLASSES
from firmware_sim.links.model import LinkModel
from oriole import typed_yaml
from oriole.mistakes import there_are
from oriole.wire.topics import TopicError

from .expectation import Expectation
from .happenings import DEVICE_FAULTS, LINK_FAULTS, NODE_FAULTS, Event, Fault
from .nodes import Node, parse_address, scheme
from .population import Population, Profile
from .values import Duration, Name, names_of, seconds

MAX_DEVICES = 2_000
"""Devices with a full client each, in one process."""
MAX_BULK = 100_000


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A story that can be run: in virtual time at full length, on real sockets compressed."""

    name: str
    """What the report calls it."""
    about: str = ""
    """The story, in a sentence."""
    length: Duration = seconds(60.0)
    """How long the devices act."""
    compress: Annotated[float, msgspec.Meta(ge=1, le=1_000_000)] = 1.0
    """On real sockets, all durations of this file are divided by this; links and latencies stay as they are."""
    seed: int = 1
    """What all random choices come from."""
    topics: str = "fleet"
    """The topic level above everything that the fleet says."""
    ready: Duration = seconds(30.0)
    """How long devices may take to connect and subscribe before the run is given up. Not compressed."""
    settle: Duration = seconds(1.0)
    """The pause before the first act, in which subscriptions travel beyond an edge. Not compressed."""
    drain: Duration = seconds(10.0)
    """How long to wait at the end for what is still under way; less when everything has arrived. Not compressed."""
    late_ms: Annotated[float, msgspec.Meta(gt=0)] = 1000.0
    """A message that takes longer is late."""
    nodes: dict[Name, Node]
    """The programs under test."""
    links: dict[Name, LinkModel] = {}
    """Networks between populations and nodes, and between nodes."""
    profiles: dict[Name, Profile] = {}
    """How devices behave."""
    populations: dict[Name, Population]
    """Who takes part."""
    schedule: list[Event] = []
    """What people do."""
    faults: list[Fault] = []
    """What goes wrong."""
    expectations: list[Expectation] = []
    """What is promised."""

    def __post_init__(self) -> None:
        try:
            check_name(self.topics)
        except TopicError as error:
            raise wrong(str(error), "topics") from None
        if not self.populations:
            raise wrong("nobody takes part", "populations")
        for name in self.nodes:
            self._check_node(name)
        for name in self.populations:
            self._check_population(name)
        for bulk, most in ((False, MAX_DEVICES), (True, MAX_BULK)):
            if sum(each.count for each in self.populations.values() if each.bulk is bulk) > most:
                hint = "" if bulk else ": more of them want `bulk`"
                raise wrong(f"more than {most} devices{hint}", "populations")
        for index, event in enumerate(self.schedule):
            self._check_event(event, f"schedule[{index}]")
        for index, fault in enumerate(self.faults):
            self._check_fault(fault, f"faults[{index}]")
        for index, expectation in enumerate(self.expectations):
            self._check_expectation(expectation, f"expectations[{index}]")

    def profile(self, population: str) -> Profile:
        """How the devices of a population behave."""
        name = self.populations[population].profile
        return self.profiles[name] if name in self.profiles else Profile(kind=name)

    def carriers(self) -> dict[str, list[str]]:
        """The links between each kind of connection and the topmost node, by way."""
        carriers: dict[str, dict[str, None]] = {}
        for name, population in self.populations.items():
            for node in names_of(population.at):
                for link in filter(None, (population.link, *self._links_above(node))):
                    carriers.setdefault(self.way(name), {})[link] = None
        return {way: list(links) for way, links in carriers.items()}

    def way(self, population: str) -> str:
        """What the report calls a population's connection."""
        return self.populations[population].way or names_of(self.populations[population].at)[0]

    def compressed(self) -> "Scenario":
        """The same story in a fraction of the time, for real sockets. Raises `ConfigError` where it gets too short."""
        try:
            return self if self.compress == 1 else _divided(self, self.compress)
        except ValueError as error:
            raise typed_yaml.ConfigError(f"compressed by {self.compress:g}: {error}") from None

    def _links_above(self, node: str) -> list[str]:
        links = []
        while uplink := self.nodes[node].uplink:
            links.append(self.nodes[node].link)
            node = uplink
        return links

    # ---- What must be true across the parts

    def _check_node(self, name: str) -> None:
        node = self.nodes[name]
        where = f"nodes.{name}"
        if node.link:
            _known([node.link], self.links, "link", f"{where}.link")
        above = [name]
        while uplink := self.nodes[above[-1]].uplink:
            _known([uplink], self.nodes, "node", f"nodes.{above[-1]}.uplink")
            if uplink in above:
                raise wrong(f"the uplinks lead in a circle: {' -> '.join([*above, uplink])}", f"{where}.uplink")
            above.append(uplink)

    def _check_population(self, name: str) -> None:
        population = self.populations[name]
        where = f"populations.{name}"
        if population.profile not in self.profiles and population.profile not in KINDS:
            choices = there_are([*self.profiles, *KINDS], population.profile)
            raise wrong(f"no profile or kind `{population.profile}`; {choices}", f"{where}.profile")
        profile = self.profile(name)
        kind = KINDS[profile.kind]
        at = names_of(population.at)
        if name in self.nodes:
            raise wrong("a node is called the same", where)
        _known(at, self.nodes, "node", f"{where}.at")
        for node in at:
            self._check_door(name, node, f"{where}.at")
        if population.link:
            _known([population.link], self.links, "link", f"{where}.link")
        if profile.speaks == "serial":
            if population.link:
                raise wrong("a serial line has no `link`: it is one", f"{where}.link")
            if len(at) > 1:
                raise wrong("a device on a serial line cannot roam", f"{where}.at")
        if population.bulk and profile.speaks != "mqtt":
            raise wrong("the load generator speaks MQTT alone", f"{where}.bulk")
        if population.bulk and profile.radio:
            raise wrong("the load generator counts no energy: a `radio` needs a full client", f"{where}.bulk")
        _known(population.commands, self.populations, "population", f"{where}.commands")
        for index, target in enumerate(population.commands):
            if not KINDS[self.profile(target).kind].obeys:
                raise wrong(f"`{target}` takes no orders", f"{where}.commands[{index}]")
        if population.commands and not kind.commands:
            raise wrong(f"a {profile.kind} gives no orders", f"{where}.commands")
        if kind.commands and not population.commands:
            raise wrong(f"a {profile.kind} needs `commands`", where)
        if population.starts > self.length:
            raise wrong(f"that is after the scenario's end: `length` is {self.length}", f"{where}.starts")

    def _check_door(self, name: str, node: str, where: str) -> None:
        """Whether the population can talk to `node`."""
        speaks = self.profile(name).speaks
        there = self.nodes[node]
        if there.kind == "broker" and speaks == "serial":
            raise wrong(f"`{node}` is a broker: serial lines end at an edge", where)
        if there.kind == "foreign":
            doors = [scheme(parse_address(url)) for url in there.addresses]
            if speaks not in doors:
                raise wrong(f"`{node}` does not listen for {speaks}://", where)
            if speaks == "serial" and self.populations[name].count > doors.count("serial"):
                count = self.populations[name].count
                raise wrong(
                    f"{count} devices need a serial line each, and `{node}` has {doors.count('serial')}",
                    f"populations.{name}.count",
                )

    def _check_event(self, event: Event, where: str) -> None:
        self._check_time(event.at, f"{where}.at")
        _known(event.targets, self.populations, "population", f"{where}.{event.verb}")
        for target in event.targets:
            if event.verb == "roam" and len(names_of(self.populations[target].at)) < 2:
                raise wrong(f"`{target}` has only one node: it needs several in `at`", f"{where}.roam")
            if event.verb == "update" and not any(
                self.profile(name).kind == "updater" and target in each.commands
                for name, each in self.populations.items()
            ):
                raise wrong(f"no updater has `{target}` among its `commands`", f"{where}.update")

    def _check_fault(self, fault: Fault, where: str) -> None:
        if fault.at is not None:
            self._check_time(fault.at, f"{where}.at")
        where = f"{where}.{fault.verb}"
        if fault.verb in LINK_FAULTS:
            _known(fault.targets, self.links, "link", where)
        elif fault.verb in NODE_FAULTS:
            _known(fault.targets, self.nodes, "node", where)
        elif fault.verb in DEVICE_FAULTS:
            _known(fault.targets, self.populations, "population", where)
        else:
            _known(fault.targets, {**self.nodes, **self.populations}, "node or population", where)
        for target in fault.targets:
            if target in self.nodes and self.nodes[target].kind == "foreign":
                raise wrong(f"`{target}` is foreign: it is not ours to harm", where)
            if fault.verb == "fill_disk" and not self.nodes[target].data:
                raise wrong(f"`{target}` has no data folder: it needs `data: true`", where)
            if fault.verb in ("noise", "unplug") and self.profile(target).speaks != "serial":
                raise wrong(f"`{target}` has no serial lines", where)

    def _check_expectation(self, expectation: Expectation, where: str) -> None:
        if expectation.of:
            _known([expectation.of], dict.fromkeys(CLASSES), "class of messages", f"{where}.of")
        if expectation.population:
            _known([expectation.population], self.populations, "population", f"{where}.population")
            if expectation.measure == "battery_days" and not self._has_battery(expectation.population):
                needs = "it needs `radio` and `battery_mwh`"
                raise wrong(f"`{expectation.population}` has no battery: {needs}", f"{where}.population")
        if expectation.way and expectation.measure == "link_bytes_per_byte":
            _known([expectation.way], self.carriers(), "connection over links", f"{where}.way")
        elif expectation.way:
            ends = expectation.way.replace("→", "->").split(" -> ")
            if len(ends) != 2:
                raise wrong("a way is written `publisher's connection -> subscriber's connection`", f"{where}.way")
            _known(ends, dict.fromkeys(map(self.way, self.populations)), "connection", f"{where}.way")

    def _has_battery(self, population: str) -> bool:
        profile = self.profile(population)
        return bool(profile.radio and profile.battery_mwh)

    def _check_time(self, at: Duration, where: str) -> None:
        if at > self.length:
            raise wrong(f"{at} is after the scenario's end: `length` is {self.length}", where)


def load(path: str | Path) -> Scenario:
    """Read a scenario file. Raises `oriole.typed_yaml.ConfigError`, which names the key and the line."""
    return typed_yaml.load(path, Scenario)


def wrong(what: str, where: str) -> ValueError:
    """An error about another key than the one just read; the path is in the words that msgspec uses."""
    return ValueError(f"{what} - at `$.{where}`")


def _known(names: Iterable[str], known: Mapping[str, object], what: str, where: str) -> None:
    for name in names:
        if name not in known:
            choices = there_are(known, name) if known else f"there is no {what} at all"
            raise wrong(f"no {what} `{name}`; {choices}", where)


_NOT_COMPRESSED = ("ready", "settle", "drain")


def _divided(scenario: Scenario, factor: float) -> Scenario:
    """Every duration of the file divided, but those of the run itself."""
    changes: dict[str, object] = {
        "length": scenario.length / factor,
        "profiles": {name: _durations_divided(each, factor) for name, each in _profiles(scenario).items()},
        "populations": {name: _durations_divided(each, factor) for name, each in scenario.populations.items()},
        "schedule": [_durations_divided(each, factor) for each in scenario.schedule],
        "faults": [_durations_divided(each, factor) for each in scenario.faults],
    }
    return msgspec.structs.replace(scenario, **changes)


def _profiles(scenario: Scenario) -> dict[str, Profile]:
    """Those of the file, and those that populations take by default."""
    defaults = {
        each.profile: Profile(kind=each.profile) for each in scenario.populations.values() if each.profile in KINDS
    }
    return defaults | scenario.profiles


def _durations_divided(part: msgspec.Struct, factor: float) -> msgspec.Struct:
    values = {field: getattr(part, field) for field in part.__struct_fields__}
    divided = {field: value / factor for field, value in values.items() if isinstance(value, Duration)}
    return msgspec.structs.replace(part, **divided)
