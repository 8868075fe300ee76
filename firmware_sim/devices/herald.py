"""Somebody who tells everybody the same."""

from collections.abc import Iterator
from random import Random

from .device import Device
from .moments import Step, beats
from .stamp import Values
from .traits import Traits


class Herald(Device):
    """On each beat it says something to all who listen to its topic."""

    kind = "herald"
    obeys = False

    @classmethod
    def plan(cls, traits: Traits, random: Random) -> Iterator[Step]:
        """What it says."""
        for at_ns in beats(traits, random):
            yield at_ns, "say", {"text": random.choice(["tea is ready", "storm ahead", "doors close"])}

    def act(self, verb: str, values: Values) -> None:
        """Say it."""
        if verb == "say":
            self.send(self.traits.announces, values, "news")
        else:
            super().act(verb, values)
