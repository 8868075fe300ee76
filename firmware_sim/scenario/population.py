"""Who takes part: profiles say how a device of some kind behaves, populations how many of them live where."""

from typing import Annotated, Literal

import msgspec

from firmware_sim.devices.device import MIN_BEAT_S
from firmware_sim.devices.kinds import KINDS
from firmware_sim.devices.names import check_name
from firmware_sim.energy import RADIOS
from oriole.mistakes import there_are
from oriole.wire.topics import TopicError, check_topic_filter, check_topic_name

from .values import Duration, Names, names_of, seconds

MAX_COUNT = 100_000
MAX_KEEP_ALIVE_S = 65_535


class Profile(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a kind of device behaves."""

    kind: str
    """What it is: lamp, thermostat, lock, motion, button, meter, watch, tracker, relay, dashboard, remote, ..."""
    over: Literal["", "mqtt", "coap", "serial"] = ""
    """What it speaks, where its kind speaks several; empty: the first of them."""
    every: Duration = seconds(10.0)
    """Its beat: how often it reports, orders, announces, wakes; the mean where moments are drawn at random."""
    qos: Literal[0, 1, 2] = 1
    """MQTT quality of service of all that it sends and hears; CoAP and serial confirm always."""
    mqtt: Literal["5", "3.1.1"] = "5"
    """The version of MQTT that it speaks."""
    session: Duration = seconds(3600.0)
    """How long the broker keeps its session while it is away (MQTT 5)."""
    keep_alive: Duration = seconds(30.0)
    """MQTT keep-alive; over CoAP, after so long an observation is asked for again. 0 for never."""
    lifetime: Duration = seconds(0.0)
    """After this its orders are worth nothing (MQTT 5 message expiry); 0 for never."""
    hears: list[str] = []
    """Topic filters that it listens to, below `topics`. Keep one device's filters from overlapping."""
    announces: str = ""
    """The topic that it speaks to, below `topics` (herald)."""
    reads: str = ""
    """A topic below `topics` whose value it asks for half-way between beats (CoAP)."""
    awake: Duration = seconds(1.0)
    """How long it stays awake at a time (watch, and other sleepers)."""
    padding: Annotated[int, msgspec.Meta(ge=0, le=200_000)] = 0
    """Bytes added to each of its messages."""
    radio: str = ""
    """Its radio, for the energy model; empty: it has mains power and none is modelled."""
    battery_mwh: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """What its battery holds, in milliwatt-hours; 0 for no battery."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"there is no kind `{self.kind}`; {there_are(KINDS, self.kind)}")
        kind = KINDS[self.kind]
        if self.over and self.over not in kind.speaks:
            raise ValueError(f"a {self.kind} speaks {' or '.join(kind.speaks)}, not {self.over}")
        if self.speaks == "mqtt" and self.keep_alive > MAX_KEEP_ALIVE_S:
            raise ValueError(f"`keep_alive` is at most {MAX_KEEP_ALIVE_S} s: MQTT has 16 bits for it; 0 for never")
        if self.every < MIN_BEAT_S:
            raise ValueError(f"`every` is at least {MIN_BEAT_S * 1000:g} ms")
        if self.radio and self.radio not in RADIOS:
            raise ValueError(f"there is no radio `{self.radio}`; {there_are(RADIOS, self.radio)}")
        try:
            for topic_filter in self.hears:
                check_topic_filter(topic_filter)
            for topic in filter(None, (self.announces, self.reads)):
                check_topic_name(topic)
        except TopicError as error:
            raise ValueError(str(error)) from None
        if self.kind == "dashboard" and not self.hears:
            raise ValueError("a dashboard needs `hears`")
        if self.kind == "herald" and not self.announces:
            raise ValueError("a herald needs `announces`")
        if self.speaks == "coap" and any("+" in each or "#" in each for each in self.hears):
            raise ValueError("on CoAP a device hears single topics: there are no wildcards")
        if self.reads and self.speaks != "coap":
            raise ValueError(f"a {self.kind} cannot read over {self.speaks}: only CoAP has a question")

    @property
    def speaks(self) -> str:
        """The protocol: mqtt, coap or serial."""
        return self.over or KINDS[self.kind].speaks[0]


class Population(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Devices that differ in nothing but their names, which are `POPULATION-1`, `POPULATION-2`, ..."""

    profile: str
    """A name from `profiles`, or a kind, which behaves by default."""
    at: Names
    """The node that they talk to. With several, each starts at one of them in turn, and may roam to the others."""
    count: Annotated[int, msgspec.Meta(ge=1, le=MAX_COUNT)] = 1
    """How many there are."""
    link: str = ""
    """The link between them and their node; empty for none."""
    place: str = "home"
    """Where they are: the topic level above their names."""
    way: str = ""
    """What the report calls their connection; the node's name when empty."""
    commands: list[str] = []
    """Populations that they give orders to (remote, updater)."""
    starts: Duration = seconds(0.0)
    """When they are switched on; 0: before everything else, and the run begins when all of those are connected."""
    spread: Duration = seconds(0.0)
    """Those with `starts` come one by one within this time."""
    bulk: bool = False
    """Carried by the load generator instead of a full client each: for tens of thousands of them. MQTT only; in virtual
    time there is no difference."""

    def __post_init__(self) -> None:
        if not names_of(self.at):
            raise ValueError("`at` names no node")
        try:
            check_name(self.place)
        except TopicError as error:
            raise ValueError(str(error)) from None
        if self.spread and not self.starts:
            raise ValueError("`spread` needs `starts`: those that are there from the beginning connect at once")
