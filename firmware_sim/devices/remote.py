"""Somebody who commands: a phone, a wall switch, an office far away."""

from collections.abc import Iterator
from random import Random

from .device import Device
from .moments import Step, beats
from .stamp import Stamp, Values
from .traits import Traits


class Remote(Device):
    """On each beat it commands one of its targets. A target that names the order in its state has obeyed."""

    kind = "remote"
    obeys = False
    commands = True

    @classmethod
    def plan(cls, traits: Traits, random: Random) -> Iterator[Step]:
        """Whom, and what."""
        for at_ns in beats(traits, random):
            number = random.randrange(len(traits.targets))
            yield at_ns, "order", {"target": number, "order": traits.targets[number].kind.an_order(random)}

    def act(self, verb: str, values: Values) -> None:
        """Order."""
        if verb != "order":
            super().act(verb, values)
            return
        target = self.traits.targets[values["target"]]
        lifetime_s = self.traits.lifetime_s or target.kind.order_lifetime_s
        self.send(f"{target.topic}/set", values["order"], "order", target.kind.order_is_state, lifetime_s)

    def heard(self, topic: str, values: Values, stamp: Stamp) -> None:
        """A confirmation closes the round trip that an order opened."""
        match values.get("obeyed"):
            case [self.traits.name, int(number)]:
                order_topic = topic.removesuffix("/state") + "/set"
                self._ledger.confirmed(self.traits.name, order_topic, number, self._clock.now_ns())
