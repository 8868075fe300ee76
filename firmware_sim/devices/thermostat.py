"""A thermostat: observes its set-point, puts its readings."""

from random import Random

from .device import Device
from .stamp import Values, number


class Thermostat(Device):
    """The room warms or cools towards the set-point, with a draught now and then."""

    kind = "thermostat"
    speaks = ("coap", "mqtt")
    order_is_state = True

    def reset(self) -> None:
        self.celsius = 19.0
        self.set_point = 20.0

    @staticmethod
    def an_order(random: Random) -> Values:
        return {"celsius": random.randint(32, 48) / 2}

    @staticmethod
    def draw(random: Random) -> Values:
        return {"draught": round(random.uniform(-0.2, 0.2), 2)}

    def live(self, values: Values) -> None:
        self.celsius += 0.2 * (self.set_point - self.celsius) + values["draught"]

    def state(self) -> Values:
        return {"set_point": self.set_point, "heating": self.celsius < self.set_point}

    def reading(self) -> Values:
        return {"celsius": round(self.celsius, 2)}

    def obey(self, order: Values) -> None:
        celsius = number(order, "celsius")
        if not 5 <= celsius <= 35:
            raise ValueError(f"{celsius} degrees is no temperature for a room")
        self.set_point = celsius
