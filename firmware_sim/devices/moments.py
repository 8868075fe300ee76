"""When a device does something by itself: endless moments, in order, in ns after its start."""

from collections.abc import Iterator
from random import Random

from .stamp import Values
from .traits import Traits

Step = tuple[int, str, Values]
"""Something that a device does by itself: when, in ns after the start; the verb; what was drawn for it."""


def beats(traits: Traits, random: Random) -> Iterator[int]:
    """A regular beat, from a first moment of its own."""
    at_ns = round(random.random() * traits.every_ns)
    while True:
        yield at_ns
        at_ns += traits.every_ns


def chances(traits: Traits, random: Random) -> Iterator[int]:
    """At random, `every_ns` apart in the mean: a Poisson process."""
    at_ns = 0.0
    while True:
        at_ns += random.expovariate(1 / traits.every_ns)
        yield round(at_ns)
