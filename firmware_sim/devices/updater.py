"""Somebody who has new firmware for others."""

from collections.abc import Iterator
from random import Random

import msgspec

from .clock import Clock
from .device import Device
from .firmware import Ask, chunk, offer
from .moments import Step
from .port import Port
from .scribe import Scribe
from .stamp import Stamp, Values
from .traits import Traits


class Updater(Device):
    """Offers firmware when it is told to, and hands it out chunk by chunk to whoever of its targets asks.

    An offer is kept by the broker, so that a device that sleeps or is away finds it.
    """

    kind = "updater"
    obeys = False
    commands = True
    answers_on = "ask"

    def __init__(self, traits: Traits, port: Port, clock: Clock, ledger: Scribe) -> None:
        super().__init__(traits, port, clock, ledger)
        self._topics = {target.topic: None for target in traits.targets}

    @classmethod
    def plan(cls, traits: Traits, random: Random) -> Iterator[Step]:
        """Nothing by itself: it is people who decide that there is new firmware."""
        yield from ()

    def act(self, verb: str, values: Values) -> None:
        """Offer firmware of some version and size to one of its targets."""
        if verb != "update":
            super().act(verb, values)
            return
        target = self.traits.targets[values["target"]]
        offered = msgspec.structs.asdict(offer(values["version"], values["size"]))
        self.send(f"{target.topic}/firmware", offered, "firmware", retain=True)

    def heard(self, topic: str, values: Values, stamp: Stamp) -> None:
        """Somebody asks for a chunk."""
        asking, _, leaf = topic.rpartition("/")
        if leaf == "ask" and asking in self._topics:
            wanted = chunk(msgspec.convert(values, Ask))
            self.send(f"{asking}/chunk", msgspec.structs.asdict(wanted), "firmware")
