"""A relay with a current sensor, on a serial line."""

from random import Random

from .device import Device
from .stamp import Values


class Relay(Device):
    """Closes and opens a circuit, and measures what flows."""

    kind = "relay"
    speaks = ("serial",)
    is_closed = False

    @staticmethod
    def an_order(random: Random) -> Values:
        return {"closed": random.random() < 0.5}

    def state(self) -> Values:
        return {"closed": self.is_closed}

    def reading(self) -> Values:
        return {"watts": round(self.random.gauss(60, 5), 1) if self.is_closed else 0.0}

    def obey(self, order: Values) -> None:
        self.is_closed = bool(order["closed"])
