"""What happens in a run, drawn from a seed and nothing else: who is there, what they say, and what is done to them.

The same seed gives the same schedule. It does not give the same run: when a fault strikes between two packets is up to
the machine, so a seed that found something is worth a few tries. Edges, links and clocks are drawn each by themselves.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import msgspec

from firmware_sim.links.model import LinkModel
from oriole.wire.mqtt import V5, V311

CENTRE = "broker"
FILTERS = (("t/#",), ("r/#",), ("t/#", "r/#"), ("t/0", "t/1"), ("t/1", "r/+/0"), ("t/2", "w/#"))
"""What a subscriber asks for. Filters of one subscriber do not overlap: what they match comes once."""
CROWD_TOPICS = 3
"""Topics `t/0`, `t/1`, ... belong to all publishers; `r/p0/0` belongs to publisher `p0` and is retained, `r/all/0` is
retained and belongs to all; `w/m0` is for the will of `m0`.
"""


@dataclass(slots=True, frozen=True)
class Means:
    """What the machine is capable of: nothing else is drawn."""

    has_small_disks: bool = True
    has_packets: bool = True


@dataclass(slots=True, frozen=True)
class Node:
    """`above` is the node that an edge connects to, over `link` if that is not empty. `commit_ms` is how long its disk
    takes to sync, at most; its files are small, so that it begins new ones and cleans old ones all the time.
    """

    name: str
    above: str
    link: str
    disk: str
    segment_bytes: int
    commit_ms: float


@dataclass(slots=True, frozen=True)
class Link:
    """A way to `node`, for the edge `near` or, where that is empty, for devices."""

    name: str
    near: str
    node: str
    model: LinkModel


@dataclass(slots=True, frozen=True, kw_only=True)
class Peer:
    """A client of `node`, which it reaches over `link` if that is not empty."""

    name: str
    node: str
    link: str
    version: int


@dataclass(slots=True, frozen=True, kw_only=True)
class Publisher(Peer):
    """`interval_ms` lies between its messages. Shares of them: `deletes` of those on retained topics delete the value,
    `lifetimes` of the others have a lifetime.
    """

    interval_ms: float
    retained_qos: int
    deletes: float
    lifetimes: float
    most_padding_bytes: int


@dataclass(slots=True, frozen=True, kw_only=True)
class Subscriber(Peer):
    """`filters` with the QoS that it asks for."""

    filters: tuple[tuple[str, int], ...]
    receive_maximum: int


@dataclass(slots=True, frozen=True, kw_only=True)
class Testator(Peer):
    """Its will is for `w/NAME`, and waits `delay_s` for it to come back."""

    qos: int
    delay_s: int


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
    """A whole run. `has_packets`: its links carry IP packets between network namespaces, and not streams in a relay."""

    seed: int
    duration_s: float
    nodes: tuple[Node, ...]
    links: tuple[Link, ...]
    has_packets: bool
    publishers: tuple[Publisher, ...]
    subscribers: tuple[Subscriber, ...]
    testators: tuple[Testator, ...]
    faults: tuple[Fault, ...]


NODE_FAULTS = {
    "ordinary": ("kill", "kill", "kill during start", "stop"),
    "power": ("kill", "power cut", "power cut", "power cut", "stop"),
    "small": ("kill", "kill during start", "disk full", "disk full", "stop"),
    "small, power": ("kill", "power cut", "power cut", "disk full", "disk full"),
}
"""What may be done to a node, by its disk: whether it may lose its power, and gets full."""
LINK_FAULTS = ("silence", "silence", "half silence", "half silence", "other address")
CLIENT_FAULTS: tuple[str, ...] = ("cut", "cut mid-packet", "deaf", "pause", "takeover", "takeover")
SUBSCRIBER_FAULTS = (*CLIENT_FAULTS, "hold acknowledgements", "hold acknowledgements")
TESTATOR_FAULTS = ("cut", "pause", "takeover")


def draw(seed: int, means: Means = Means()) -> Schedule:
    """The schedule of a seed, with all that is possible."""
    chance = random.Random(seed)
    duration_s = chance.uniform(3, 8)
    landscape = _Landscape(seed, means, _node(chance, CENTRE, means))
    publishers = tuple(_publisher(chance, landscape, f"p{number}") for number in range(chance.randint(2, 4)))
    subscribers = tuple(_subscriber(chance, landscape, f"s{number}") for number in range(chance.randint(2, 4)))
    testators = tuple(_testator(chance, landscape, f"m{number}") for number in range(chance.randint(0, 2)))
    victims: list[tuple[str, tuple[str, ...], int]] = []
    victims += [(each.name, CLIENT_FAULTS, chance.randint(0, 4)) for each in publishers]
    victims += [(each.name, SUBSCRIBER_FAULTS, chance.randint(0, 4)) for each in subscribers]
    victims += [(each.name, TESTATOR_FAULTS, chance.randint(0, 4)) for each in testators]
    victims += [(each.name, ("death",), 1) for each in testators]
    victims += [(each.name, NODE_FAULTS[each.disk], chance.randint(2, 5)) for each in landscape.nodes]
    victims += [(each.name, LINK_FAULTS, chance.randint(1, 3)) for each in landscape.links]
    faults = [_fault(chance, kinds, name, duration_s) for name, kinds, count in victims for _ in range(count)]
    faults += _jumps(seed, duration_s, landscape.nodes, subscribers)
    return Schedule(
        seed,
        duration_s,
        tuple(landscape.nodes),
        tuple(landscape.links),
        landscape.has_packets,
        publishers,
        subscribers,
        testators,
        tuple(sorted(faults, key=lambda fault: fault.at_s)),
    )


class _Landscape:
    """The nodes and links of a schedule, and where in it a client is."""

    def __init__(self, seed: int, means: Means, centre: Node) -> None:
        self._edges = random.Random(f"edges {seed}")
        self._links = random.Random(f"links {seed}")
        kind = self._links.choice(("none", "relay", "relay", "packets"))
        self.has_packets = kind == "packets" and means.has_packets
        self.nodes = [centre]
        self.links: list[Link] = []
        for number in range(self._edges.choice((0, 0, 1, 1, 2))):
            edge = _node(self._edges, f"e{number}", means, CENTRE, "" if kind == "none" else f"e{number} to {CENTRE}")
            self.nodes.append(edge)
            if edge.link:
                self.links.append(Link(edge.link, edge.name, edge.above, self._model()))
        if kind != "none":
            places = [node.name for node in self.nodes if not self.links or self._links.random() < 0.5]
            self.links += [Link(f"devices to {name}", "", name, self._model()) for name in places]

    def _model(self) -> LinkModel:
        chance = self._links
        model = LinkModel(delay_ms=chance.choice((0, 2, 20)), loss=chance.choice((0, 0, 0.02)))
        of_packets = {"reorder": chance.choice((0, 0.1)), "duplicate": chance.choice((0, 0.1))}
        return msgspec.structs.replace(model, **of_packets) if self.has_packets else model

    def place(self) -> tuple[str, str]:
        """A node for a client, and its link there."""
        node = self._edges.choice(self.nodes).name
        links = [link.name for link in self.links if link.node == node and not link.near]
        return node, self._links.choice(("", *links))


def _node(chance: random.Random, name: str, means: Means, above: str = "", link: str = "") -> Node:
    disk = chance.choice(tuple(NODE_FAULTS))
    if not means.has_small_disks:
        disk = disk.removeprefix("small, ").replace("small", "ordinary")
    return Node(name, above, link, disk, chance.choice((4_000, 30_000, 200_000)), chance.choice((0, 3, 20)))


def _publisher(chance: random.Random, landscape: _Landscape, name: str) -> Publisher:
    node, link = landscape.place()
    return Publisher(
        name=name,
        node=node,
        link=link,
        version=chance.choice((V311, V5)),
        interval_ms=chance.choice((10, 30, 80)),
        retained_qos=chance.choice((1, 2)),
        deletes=chance.choice((0, 0.2)),
        lifetimes=chance.choice((0, 0.3)),
        most_padding_bytes=chance.choice((0, 100, 4_000)),
    )


def _subscriber(chance: random.Random, landscape: _Landscape, name: str) -> Subscriber:
    node, link = landscape.place()
    return Subscriber(
        name=name,
        node=node,
        link=link,
        version=chance.choice((V311, V5)),
        filters=tuple((filter, chance.choice((1, 2, 2))) for filter in chance.choice(FILTERS)),
        receive_maximum=chance.choice((1, 2, 5, 20)),
    )


def _testator(chance: random.Random, landscape: _Landscape, name: str) -> Testator:
    node, link = landscape.place()
    version = chance.choice((V311, V5))
    delay_s = chance.choice((0, 1, 2)) if version == V5 else 0
    return Testator(name=name, node=node, link=link, version=version, qos=chance.choice((1, 2)), delay_s=delay_s)


def _fault(chance: random.Random, kinds: tuple[str, ...], whom: str, duration_s: float) -> Fault:
    return Fault(chance.uniform(0.2, duration_s), chance.choice(kinds), whom, chance.uniform(0, 1), chance.random())


def _jumps(seed: int, duration_s: float, nodes: list[Node], subscribers: tuple[Subscriber, ...]) -> list[Fault]:
    """In some schedules clocks jump, and some subscribers sleep for longer than short lifetimes are."""
    chance = random.Random(f"clocks {seed}")
    if chance.random() > 0.3:
        return []
    jumps = [
        Fault(chance.uniform(0.2, duration_s), "clock jump", node.name, 0, chance.random())
        for node in nodes
        for _ in range(chance.randint(1, 3))
    ]
    sleeps = [
        Fault(chance.uniform(0.2, duration_s / 2), "sleep", subscriber.name, chance.uniform(2.5, 4), 0)
        for subscriber in subscribers
        if chance.random() < 0.5
    ]
    return jumps + sleeps
