"""A lamp on MQTT."""

from random import Random

from .device import Device
from .stamp import Values, number


class Lamp(Device):
    """On or off, and how bright."""

    kind = "lamp"
    is_on = False
    brightness = 100

    @staticmethod
    def an_order(random: Random) -> Values:
        return {"on": random.random() < 0.7, "brightness": random.randint(1, 100)}

    def state(self) -> Values:
        return {"on": self.is_on, "brightness": self.brightness}

    def obey(self, order: Values) -> None:
        is_on = bool(order["on"])
        if "brightness" in order:
            self.brightness = int(min(100, max(1, number(order, "brightness"))))
        self.is_on = is_on
