"""Everything that a run will do by itself, in order, before anything has happened: devices' steps, events and faults.

The plan follows from the file and the seed alone. Two runs plan the same, in virtual time and on real sockets; a trace
holds it, and a trace can be played back instead.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from operator import attrgetter
from random import Random
from typing import Any

import msgspec

from firmware_sim.devices.stamp import Values

from .file import Scenario
from .happenings import LINK_FAULTS, Event, Fault
from .roster import Member, device_name

BEGINNINGS = {"kill": "fail", "power_cut": "fail"}
"""What a fault's verb is called as an action, where that differs."""
ENDS = {
    "cut": "heal",
    "change": "restore",
    "kill": "power_on",
    "power_cut": "power_on",
    "pause": "go_on",
    "fill_disk": "free_disk",
    "slow": "read_on",
    "noise": "calm",
    "unplug": "plug",
}
"""What ends it, where something does."""
UNDONE_IN_PART = ("restore", "calm")
"""Ends of what may be more or less bad."""


class Action(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that is done to somebody. `at_ns` counts from the moment at which the devices began."""

    at_ns: int
    to: str
    """A device, a link or a node, by name."""
    do: str
    """The verb."""
    values: Values = {}
    """What the verb needs."""


def plan(scenario: Scenario, members: Iterable[Member], seed: int) -> Iterator[Action]:
    """The actions of a whole run, in order, one by one: a day of a thousand devices need not be held at once.

    `members` are those whose own steps are to be planned here: the load generator plans the `lives` of those that it
    carries.
    """
    end_ns = scenario.length.ns
    for action in heapq.merge(_done_to_it(scenario, seed), lives(scenario, members, seed), key=_when):
        if action.at_ns > end_ns:
            return
        yield action


def _when(action: Action) -> int:
    return action.at_ns


# ---- Devices by themselves


def lives(scenario: Scenario, members: Iterable[Member], seed: int) -> Iterator[Action]:
    """What `members` do by themselves, in order, one by one."""
    return heapq.merge(*(_life(member, seed, scenario.length.ns) for member in members), key=_when)


def starts_ns(member: Member, seed: int) -> int:
    """When a device is first switched on; 0: before the run begins."""
    population = member.population
    if not population.starts:
        return 0
    return population.starts.ns + round(Random(f"{seed}/{member.name}/start").random() * population.spread.ns)


def _life(member: Member, seed: int, end_ns: int) -> Iterator[Action]:
    begins_ns = starts_ns(member, seed)
    name = member.name
    if begins_ns:
        yield Action(begins_ns, name, "power_on")
    for at_ns, verb, values in member.kind.plan(member.traits, Random(f"{seed}/{name}")):
        if begins_ns + at_ns > end_ns:
            return
        yield Action(begins_ns + at_ns, name, verb, values)


# ---- What is done to it


@dataclass(slots=True, frozen=True)
class _Turn:
    """For better or worse."""

    action: Action
    end: str
    """What ends it, or itself where it is an end; empty where nothing does."""
    begun: Action | None = None
    """How the fault began whose beginning or end it is; None where people act, or nothing ends it."""

    @property
    def at_ns(self) -> int:
        """When."""
        return self.action.at_ns


def _done_to_it(scenario: Scenario, seed: int) -> Iterator[Action]:
    """What people do and what goes wrong. Where faults overlap on one target, the last end counts; until then, what is
    more or less bad is as the latest of those that stand makes it.
    """
    events = [_Turn(action, action.do) for action in sorted(_events(scenario, seed), key=_when)]
    faults = (_fault(scenario, fault, seed, index) for index, fault in enumerate(scenario.faults))
    standing: defaultdict[tuple[str, str], list[Action]] = defaultdict(list)
    for turn in heapq.merge(events, *faults, key=attrgetter("at_ns")):
        action, begun = turn.action, turn.begun
        stand = standing[action.to, turn.end]
        if begun is None:
            stand.clear()
            yield action
        elif action is begun:
            stand.append(action)
            yield action
        else:
            was_latest = stand[-1:] == [begun]
            if begun in stand:
                stand.remove(begun)
            if not stand:
                yield action
            elif was_latest and turn.end in UNDONE_IN_PART:
                yield msgspec.structs.replace(stand[-1], at_ns=action.at_ns)


# ---- What people do


def _events(scenario: Scenario, seed: int) -> Iterator[Action]:
    for index, event in enumerate(scenario.schedule):
        random = Random(f"{seed}/schedule/{index}")
        for target in event.targets:
            for number in range(scenario.populations[target].count):
                at_ns = event.at.ns + round(random.random() * event.spread.ns)
                name = device_name(target, number)
                if event.verb == "update":
                    yield from _update(scenario, event, target, number, at_ns, index)
                else:
                    yield Action(at_ns, name, event.verb)


def _update(scenario: Scenario, event: Event, target: str, number: int, at_ns: int, index: int) -> Iterator[Action]:
    """The updater is told to update; which of its targets that is, it knows by position."""
    for name, population in scenario.populations.items():
        if scenario.profile(name).kind == "updater" and target in population.commands:
            before = population.commands[: population.commands.index(target)]
            position = sum(scenario.populations[each].count for each in before) + number
            values: dict[str, Any] = {
                "target": position,
                "version": f"1.{index + 1}",
                "size": event.firmware_kib * 1024,
            }
            yield Action(at_ns, device_name(name, 0), "update", values)
            return


# ---- What goes wrong


def _fault(scenario: Scenario, fault: Fault, seed: int, index: int) -> Iterator[_Turn]:
    """The times of one fault, each with its end."""
    random = Random(f"{seed}/fault/{index}")
    end = ENDS.get(fault.verb, "")
    for at_ns in _moments(fault, random, scenario.length.ns):
        targets = list(_hit(scenario, fault, random))
        begun = [
            Action(at_ns, name, BEGINNINGS.get(fault.verb, fault.verb), _values(fault, random)) for name in targets
        ]
        yield from (_Turn(action, end, action if end else None) for action in begun)
        if fault.lasts and end:
            yield from (_Turn(Action(at_ns + fault.lasts.ns, action.to, end), end, action) for action in begun)


def _moments(fault: Fault, random: Random, end_ns: int) -> Iterator[int]:
    if fault.at is not None:
        yield fault.at.ns
        return
    assert fault.every is not None
    at_ns = 0.0
    while (at_ns := at_ns + random.expovariate(1 / fault.every.ns)) <= end_ns:
        yield round(at_ns)
        at_ns += fault.lasts.ns  # one that lasts is over before it can come again


def _hit(scenario: Scenario, fault: Fault, random: Random) -> Iterator[str]:
    """The links, nodes and devices that it hits this time."""
    for target in fault.targets:
        if fault.verb in LINK_FAULTS or target in scenario.nodes:
            yield target
        else:
            count = scenario.populations[target].count
            hit = sorted(random.sample(range(count), max(1, round(fault.share * count))))
            yield from (device_name(target, number) for number in hit)


def _values(fault: Fault, random: Random) -> Values:
    match fault.verb:
        case "kill" | "power_cut":
            return {"keeps_state": fault.keeps_state, "silently": fault.verb == "power_cut"}
        case "change":
            return {"to": msgspec.to_builtins(fault.to)}
        case "jump_clock":
            return {"by_s": fault.by}
        case "noise":
            return {"share": fault.bytes_damaged, "seed": random.getrandbits(32)}
    return {}
