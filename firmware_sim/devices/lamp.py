"""A lamp on MQTT."""

from random import Random

from .device import Device
from .stamp import Values, flag, number


class Lamp(Device):
    """Lit or not, and how bright."""

    kind = "lamp"

    def reset(self) -> None:
        self.is_lit = False
        self.brightness = 100

    @staticmethod
    def an_order(random: Random) -> Values:
        return {"on": random.random() < 0.7, "brightness": random.randint(1, 100)}

    def state(self) -> Values:
        return {"on": self.is_lit, "brightness": self.brightness}

    def obey(self, order: Values) -> None:
        is_lit = flag(order, "on")
        if "brightness" in order:
            self.brightness = round(min(100, max(1, number(order, "brightness"))))
        self.is_lit = is_lit
