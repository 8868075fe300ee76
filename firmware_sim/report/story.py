"""What happened when: the raw material of the plots. Times are ns of the ledger's clock."""

from dataclasses import dataclass, field

from firmware_sim.links.link import Counters

from .latency import Sample


@dataclass(slots=True, frozen=True)
class Look:
    """A look at what links have carried, and at what waits now.

    `queued`: messages that wait, by node; where nodes are programs, nobody can look into them.
    """

    at_ns: int
    links: dict[str, Counters]
    queued: dict[str, int] = field(default_factory=dict)


@dataclass(slots=True, frozen=True)
class Cut:
    """A link's silence, as it really was."""

    link: str
    start_ns: int
    end_ns: int


@dataclass(slots=True, frozen=True)
class Incident:
    """Something else that went wrong: who was killed, stood still, lost its power."""

    at_ns: int
    what: str
    who: str


@dataclass(slots=True, frozen=True)
class Story:
    """A run from its first act to its end."""

    began_ns: int
    ended_ns: int
    looks: list[Look]
    cuts: list[Cut]
    latencies: dict[str, list[Sample]]
    """By way: when a message was sent, and how long it took."""
    incidents: list[Incident] = field(default_factory=list)
    awaited: list[int] = field(default_factory=list)
    """At each look, the messages that were due to somebody and had not arrived."""
