"""A tracker on something that moves."""

import math
from collections.abc import Iterator
from random import Random

from .device import Device
from .moments import Step, beats
from .stamp import Values, flag
from .traits import Traits

DEGREES_A_STEP = 0.001
"""How far it comes from one report to the next: about a hundred metres."""
PLACES = 5


class Tracker(Device):
    """Reports where it is on its beat. Its path is planned: it turns a little at each step."""

    kind = "tracker"
    order_is_state = True

    def reset(self) -> None:
        self.is_lost = False
        self.position: Values | None = None

    @classmethod
    def plan(cls, traits: Traits, random: Random) -> Iterator[Step]:
        latitude, longitude = random.uniform(47, 54), random.uniform(6, 15)
        heading = random.uniform(0, math.tau)
        for at_ns in beats(traits, random):
            heading += random.uniform(-0.5, 0.5)
            latitude += DEGREES_A_STEP * math.cos(heading)
            longitude += DEGREES_A_STEP * math.sin(heading)
            yield at_ns, "report", {"latitude": round(latitude, PLACES), "longitude": round(longitude, PLACES)}

    @staticmethod
    def an_order(random: Random) -> Values:
        return {"lost": random.random() < 0.5}

    def live(self, values: Values) -> None:
        self.position = values

    def state(self) -> Values:
        return {"lost": self.is_lost}

    def reading(self) -> Values | None:
        return self.position

    def obey(self, order: Values) -> None:
        self.is_lost = flag(order, "lost")
