"""What bulk devices do by themselves, known before anything has happened: it follows from seed and names alone."""

import heapq
from collections.abc import Iterator
from operator import itemgetter
from random import Random

from firmware_sim.devices.kinds import KINDS
from firmware_sim.devices.stamp import Values
from firmware_sim.devices.traits import Traits

from .config import BulkConfig, Group

Step = tuple[int, str, str, Values]
"""Something that a device does: when, in ns after the run began; its name; the verb; what was drawn for it."""


def planned(config: BulkConfig) -> Iterator[Step]:
    """The steps of all devices, in order and without end."""
    lives = (_life(group, traits, config.seed) for group in config.groups for traits in group.traits())
    return heapq.merge(*lives, key=itemgetter(0))


def _life(group: Group, traits: Traits, seed: int) -> Iterator[Step]:
    name, begins_ns = traits.name, 0
    if group.starts_ns:
        begins_ns = group.starts_ns + round(Random(f"{seed}/{name}/start").random() * group.spread_ns)
        yield begins_ns, name, "power_on", {}
    for at_ns, verb, values in KINDS[group.kind].plan(traits, Random(f"{seed}/{name}")):
        yield begins_ns + at_ns, name, verb, values
