"""A motion sensor."""

from collections.abc import Iterator
from random import Random

from .device import Device
from .moments import Step
from .stamp import Values, flag
from .traits import Traits

HELD_SHARE = 4
"""A motion is held for this part of the mean time between motions."""


class Motion(Device):
    """At random moments somebody comes by; after a while it is quiet again. Both are alarms, while it is armed."""

    kind = "motion"
    speaks = ("mqtt", "coap")
    order_is_state = True

    def reset(self) -> None:
        self.is_armed = True

    @classmethod
    def plan(cls, traits: Traits, random: Random) -> Iterator[Step]:
        held_ns = traits.every_ns // HELD_SHARE
        at_ns = 0
        while True:
            at_ns += round(random.expovariate(1 / (traits.every_ns - held_ns)))
            yield at_ns, "notice", {"motion": True}
            at_ns += held_ns
            yield at_ns, "notice", {"motion": False}

    @staticmethod
    def an_order(random: Random) -> Values:
        return {"armed": random.random() < 0.8}

    def state(self) -> Values:
        return {"armed": self.is_armed}

    def obey(self, order: Values) -> None:
        self.is_armed = flag(order, "armed")

    def act(self, verb: str, values: Values) -> None:
        """Tell of it."""
        if verb != "notice":
            super().act(verb, values)
        elif self.is_armed:
            self.publish("motion", values, of="alarm")
