"""The scenario file: who lives where, how they are connected, what happens when. Typed; every key has a sentence.

`load` refuses what cannot work before anything starts, by key and line.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from firmware_sim.devices.device import MIN_BEAT_S
from firmware_sim.devices.kinds import KINDS, WrongAddressError, check_address, parse_address, scheme
from firmware_sim.devices.names import check_name
from firmware_sim.links.orders import LinkModel
from oriole import typed_yaml
from oriole.urls import UrlError
from oriole.wire.topics import TopicError, check_topic_filter, check_topic_name

Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z][a-z0-9_]*$", max_length=40)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=7 * 86_400)]
Positive = Annotated[float, msgspec.Meta(gt=0, le=86_400)]
Beat = Annotated[float, msgspec.Meta(ge=MIN_BEAT_S, le=86_400)]

MAX_DEVICES = 2_000


class Population(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Devices that differ in nothing but their names, which are `POPULATION-1`, `POPULATION-2`, ..."""

    kind: str
    """What they are: lamp, watch, thermostat, relay, remote or herald."""
    address: Name
    """What they talk to: a name from `addresses`."""
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_DEVICES)] = 1
    """How many there are."""
    place: str = "home"
    """Where they are: the topic level above their names."""
    link: str = ""
    """The link that they reach their address through; empty for none."""
    beyond: str = ""
    """A link that lies beyond their address (an edge's uplink): the report sets its bytes against theirs."""
    way: str = ""
    """What the report calls their connection; the address's name when empty."""
    every_s: Beat = 10.0
    """Seconds from beat to beat: a report, an order, an announcement, a waking."""
    qos: Literal[0, 1, 2] = 1
    """MQTT quality of service of all that they send and hear; CoAP and serial confirm always."""
    mqtt: Literal["5", "3.1.1"] = "5"
    """The version of MQTT that they speak."""
    hears: list[str] = []
    """Topic filters that they listen to, below `topics`. Keep one device's filters from overlapping."""
    commands: list[str] = []
    """Populations that they give orders to (remote)."""
    announces: str = ""
    """The topic that they speak to, below `topics` (herald)."""
    reads: str = ""
    """A topic below `topics` whose value they ask for on each beat (thermostat)."""
    awake_s: Positive = 1.0
    """How long they stay awake at a time (watch)."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no kind `{self.kind}`; there are {', '.join(KINDS)}")
        try:
            check_name(self.place)
            for topic_filter in self.hears:
                check_topic_filter(topic_filter)
            for topic in filter(None, (self.announces, self.reads)):
                check_topic_name(topic)
        except TopicError as error:
            raise ValueError(str(error)) from None
        if self.kind == "herald" and not self.announces:
            raise ValueError("a herald needs `announces`")
        if self.kind == "remote" and not self.commands:
            raise ValueError("a remote needs `commands`")
        if "coap" in KINDS[self.kind].speaks and any("+" in each or "#" in each for each in self.hears):
            raise ValueError(f"a {self.kind} hears single topics: CoAP has no wildcards")
        if self.reads and "coap" not in KINDS[self.kind].speaks:
            raise ValueError(f"a {self.kind} cannot read: only CoAP has a question")


class Event(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Something that happens once; exactly one of `cut` and `heal`."""

    at_s: Seconds
    """When, in seconds after the devices began; not after the scenario's end."""
    cut: str = ""
    """A link that falls silent: nothing is reset, nothing gets through."""
    heal: str = ""
    """A link that carries again."""

    def __post_init__(self) -> None:
        if bool(self.cut) == bool(self.heal):
            raise ValueError("an event has either `cut` or `heal`")


class Scenario(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A whole file."""

    name: str
    """What the report calls it."""
    about: str = ""
    """The story, in a sentence."""
    seconds: Positive = 60.0
    """How long the devices act."""
    ready_s: Positive = 30.0
    """How long the devices may take to connect and subscribe before the run is given up."""
    settle_s: Seconds = 1.0
    """The pause between the last subscription and the first act: subscriptions travel on beyond an edge."""
    drain_s: Seconds = 10.0
    """How long to wait at the end for what is still under way; less when everything has arrived."""
    late_ms: Positive = 1000.0
    """A message that takes longer is late."""
    seed: int = 1
    """What all random choices come from."""
    topics: str = "fleet"
    """The topic level above everything that the fleet says."""
    addresses: dict[Name, str | list[str]]
    """What there is to talk to: `mqtt://`, `coap://` or `serial://`; a list gives each device its own, in turn."""
    links: dict[Name, LinkModel] = {}
    """Networks between a population and its address."""
    populations: dict[Name, Population]
    """Who takes part."""
    schedule: list[Event] = []
    """What happens meanwhile."""

    def __post_init__(self) -> None:
        for name in self.addresses:
            self._check_addresses(name)
        for name in self.populations:
            self._check_population(name)
        for index, event in enumerate(self.schedule):
            _known(event.cut or event.heal, self.links, "link", f"schedule[{index}]")
            if event.at_s > self.seconds:
                end = f"{event.at_s:g} s is after the scenario's end: `seconds` is {self.seconds:g}"
                raise _wrong(end, f"schedule[{index}].at_s")
        try:
            check_name(self.topics)
        except TopicError as error:
            raise _wrong(str(error), "topics") from None
        if sum(population.count for population in self.populations.values()) > MAX_DEVICES:
            raise _wrong(f"more than {MAX_DEVICES} devices", "populations")

    def carriers(self) -> dict[str, list[str]]:
        """The links between each kind of connection and what its devices talk to in the end."""
        carriers: dict[str, dict[str, None]] = {}
        for population in self.populations.values():
            for link in filter(None, (population.link, population.beyond)):
                carriers.setdefault(population.way or population.address, {})[link] = None
        return {way: list(links) for way, links in carriers.items()}

    def urls(self, address: str) -> list[str]:
        """The URLs behind a name from `addresses`."""
        urls = self.addresses[address]
        return [urls] if isinstance(urls, str) else urls

    def _check_addresses(self, name: str) -> None:
        if not self.urls(name):
            raise _wrong("no address in the list", f"addresses.{name}")
        try:
            schemes = {scheme(parse_address(url)): None for url in self.urls(name)}
        except UrlError as error:
            raise _wrong(str(error), f"addresses.{name}") from None
        if len(schemes) > 1:
            raise _wrong("the addresses of one name speak one protocol", f"addresses.{name}")

    def _check_population(self, name: str) -> None:
        population = self.populations[name]
        where = f"populations.{name}"
        _known(population.address, self.addresses, "address", f"{where}.address")
        urls = self.urls(population.address)
        address = parse_address(urls[0])
        try:
            check_address(KINDS[population.kind], address)
        except WrongAddressError as error:
            raise _wrong(str(error), f"{where}.address") from None
        if population.link:
            _known(population.link, self.links, "link", f"{where}.link")
            if scheme(address) == "serial":
                raise _wrong("a link carries mqtt:// and coap://, not a serial line", f"{where}.link")
        if scheme(address) == "serial" and population.count > len(urls):
            lines = f"{population.count} devices need a serial line each, and `{population.address}` has {len(urls)}"
            raise _wrong(lines, f"{where}.count")
        if population.beyond:
            _known(population.beyond, self.links, "link", f"{where}.beyond")
        for index, target in enumerate(population.commands):
            _known(target, self.populations, "population", f"{where}.commands[{index}]")
            if not KINDS[self.populations[target].kind].obeys:
                raise _wrong(f"`{target}` takes no orders", f"{where}.commands[{index}]")


def load(path: str | Path) -> Scenario:
    """Read a scenario file. Raises `oriole.typed_yaml.ConfigError`, which names the key and the line."""
    return typed_yaml.load(path, Scenario)


def _known(name: str, known: Mapping[str, object], what: str, where: str) -> None:
    if name not in known:
        there_are = f"there are {', '.join(known)}" if known else f"there is no {what} at all"
        raise _wrong(f"no {what} `{name}`; {there_are}", where)


def _wrong(what: str, where: str) -> ValueError:
    """An error about another key than the one just read; the path is in the words that msgspec uses."""
    return ValueError(f"{what} - at `$.{where}`")
