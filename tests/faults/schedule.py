"""What happens in a run, drawn from a seed and nothing else: who is there, what they say, and what is done to them.

The same seed gives the same schedule. It does not give the same run: when a fault strikes between two packets is up to
the machine, so a seed that found something is worth a few tries.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from oriole.wire.mqtt import V5, V311

FILTERS = (("t/#",), ("r/#",), ("t/#", "r/#"), ("t/0", "t/1"), ("t/1", "r/+/0"))
"""What a subscriber asks for. Filters of one subscriber do not overlap: what they match comes once."""
CROWD_TOPICS = 3
"""Topics `t/0`, `t/1`, ... belong to all publishers; `r/p0/0` belongs to publisher `p0` and is retained."""


@dataclass(slots=True, frozen=True)
class Publisher:
    """`interval_ms` lies between its messages, `deletes` is how likely one on a retained topic deletes the value."""

    name: str
    version: int
    interval_ms: float
    retained_qos: int
    deletes: float
    most_padding_bytes: int


@dataclass(slots=True, frozen=True)
class Subscriber:
    """`filters` with the QoS that it asks for."""

    name: str
    version: int
    filters: tuple[tuple[str, int], ...]
    receive_maximum: int


@dataclass(slots=True, frozen=True)
class Fault:
    """At `at_s`, `kind` is done to `whom`; it lasts `for_s`, where it lasts. `strength` is between 0 and 1."""

    at_s: float
    kind: str
    whom: str
    for_s: float
    strength: float


@dataclass(slots=True, frozen=True)
class Schedule:
    """A whole run. `commit_ms` is how long the disk takes to sync, at most; the broker's files are small, so that it
    begins new ones and cleans old ones all the time.
    """

    seed: int
    duration_s: float
    publishers: tuple[Publisher, ...]
    subscribers: tuple[Subscriber, ...]
    faults: tuple[Fault, ...]
    segment_bytes: int
    commit_ms: float
    disk: str

    @property
    def loses_power(self) -> bool:
        """Whether it has power cuts, for which the disk has to be watched."""
        return any(fault.kind == "power cut" for fault in self.faults)


BROKER = "broker"
BROKER_FAULTS = {
    "ordinary": ("kill", "kill", "kill during start", "stop"),
    "power": ("kill", "power cut", "power cut", "power cut", "stop"),
    "small": ("kill", "kill during start", "disk full", "disk full", "stop"),
}
"""What may be done to a broker, by its disk: one that loses its power is no small one."""
CLIENT_FAULTS: tuple[str, ...] = ("cut", "cut mid-packet", "deaf", "pause", "takeover", "takeover")
SUBSCRIBER_FAULTS = (*CLIENT_FAULTS, "hold acknowledgements", "hold acknowledgements")


def draw(seed: int, has_small_disks: bool = True) -> Schedule:
    """The schedule of a seed. Without `has_small_disks`, no disk gets full."""
    chance = random.Random(seed)
    duration_s = chance.uniform(3, 8)
    disk = chance.choice(("ordinary", "power", "small"))
    if disk == "small" and not has_small_disks:
        disk = "ordinary"
    publishers = tuple(_publisher(chance, f"p{number}") for number in range(chance.randint(2, 4)))
    subscribers = tuple(_subscriber(chance, f"s{number}") for number in range(chance.randint(2, 4)))
    faults = [_broker_fault(chance, disk, duration_s) for _ in range(chance.randint(2, 5))]
    victims = [(publisher.name, CLIENT_FAULTS) for publisher in publishers]
    victims += [(subscriber.name, SUBSCRIBER_FAULTS) for subscriber in subscribers]
    for name, kinds in victims:
        faults += [_client_fault(chance, kinds, name, duration_s) for _ in range(chance.randint(0, 4))]
    return Schedule(
        seed,
        duration_s,
        publishers,
        subscribers,
        tuple(sorted(faults, key=lambda fault: fault.at_s)),
        segment_bytes=chance.choice((4_000, 30_000, 200_000)),
        commit_ms=chance.choice((0, 3, 20)),
        disk=disk,
    )


def _publisher(chance: random.Random, name: str) -> Publisher:
    return Publisher(
        name,
        version=chance.choice((V311, V5)),
        interval_ms=chance.choice((10, 30, 80)),
        retained_qos=chance.choice((1, 2)),
        deletes=chance.choice((0, 0.2)),
        most_padding_bytes=chance.choice((0, 100, 4_000)),
    )


def _subscriber(chance: random.Random, name: str) -> Subscriber:
    return Subscriber(
        name,
        version=chance.choice((V311, V5)),
        filters=tuple((filter, chance.choice((1, 2, 2))) for filter in chance.choice(FILTERS)),
        receive_maximum=chance.choice((1, 2, 5, 20)),
    )


def _broker_fault(chance: random.Random, disk: str, duration_s: float) -> Fault:
    kind = chance.choice(BROKER_FAULTS[disk])
    return Fault(chance.uniform(0.2, duration_s), kind, BROKER, chance.uniform(0, 0.5), chance.random())


def _client_fault(chance: random.Random, kinds: tuple[str, ...], name: str, duration_s: float) -> Fault:
    return Fault(chance.uniform(0.2, duration_s), chance.choice(kinds), name, chance.uniform(0, 1), chance.random())
