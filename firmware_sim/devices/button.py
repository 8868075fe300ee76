"""A button: a call for help, a doorbell."""

from collections.abc import Iterator
from random import Random

from .device import Device
from .moments import Step, chances
from .stamp import Values
from .traits import Traits


class Button(Device):
    """Somebody presses it at random moments. A press is an event: it is not kept for whoever comes later."""

    kind = "button"
    speaks = ("mqtt", "coap", "serial")
    obeys = False

    @classmethod
    def plan(cls, traits: Traits, random: Random) -> Iterator[Step]:
        for at_ns in chances(traits, random):
            yield at_ns, "press", {"clicks": random.choice([1, 1, 1, 2])}

    def act(self, verb: str, values: Values) -> None:
        """Tell of it."""
        if verb == "press":
            self.publish("press", values, of="alarm")
        else:
            super().act(verb, values)
