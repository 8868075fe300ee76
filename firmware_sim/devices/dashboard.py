"""Somebody who only listens: a screen on the wall, a recorder, a program that counts."""

from collections.abc import Iterator
from random import Random

from .device import Device
from .moments import Step
from .traits import Traits


class Dashboard(Device):
    """Hears what its profile says, and says that it is there."""

    kind = "dashboard"
    speaks = ("mqtt", "coap")
    obeys = False

    @classmethod
    def plan(cls, traits: Traits, random: Random) -> Iterator[Step]:
        """Nothing."""
        return iter(())
