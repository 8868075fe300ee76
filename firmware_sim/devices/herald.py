"""Somebody who tells everybody the same."""

from .device import Device


class Herald(Device):
    """On each beat it says something to all who listen to its topic."""

    kind = "herald"
    obeys = False

    def beat(self) -> None:
        self.publish(
            self.traits.announces, {"text": self.random.choice(["tea is ready", "storm ahead", "doors close"])}
        )
