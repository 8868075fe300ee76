"""Somebody who commands: a phone, a wall switch, an office far away."""

from .device import Device
from .stamp import Values


class Remote(Device):
    """On each beat it commands one of its targets. A target that names the order in its state has obeyed."""

    kind = "remote"
    obeys = False

    def beat(self) -> None:
        if not self.traits.targets:
            return
        target = self.random.choice(self.traits.targets)
        order = target.kind.an_order(self.random)
        self.publish(target.topic, order, retain=target.kind.order_is_state)

    def heard(self, topic: str, values: Values) -> None:
        """A confirmation closes the round trip that an order opened."""
        match values.get("obeyed"):
            case [self.traits.name, int(number)]:
                order_topic = topic.removesuffix("/state") + "/set"
                self._ledger.confirmed(self.traits.name, order_topic, number, self._clock.now_ns())
