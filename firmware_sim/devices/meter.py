"""An electricity meter."""

from random import Random

from .device import Device
from .stamp import Values

TARIFFS = (1, 2)


class Meter(Device):
    """Counts up, never down, at the tariff that it is told."""

    kind = "meter"
    speaks = ("mqtt", "coap", "serial")
    order_is_state = True

    def reset(self) -> None:
        self.tariff = 1
        self.watt_hours = dict.fromkeys(TARIFFS, 0)

    @staticmethod
    def an_order(random: Random) -> Values:
        return {"tariff": random.choice(TARIFFS)}

    @staticmethod
    def draw(random: Random) -> Values:
        return {"watt_hours": random.randint(0, 20)}

    def live(self, values: Values) -> None:
        self.watt_hours[self.tariff] += values["watt_hours"]

    def state(self) -> Values:
        return {"tariff": self.tariff}

    def reading(self) -> Values:
        return {"watt_hours": [*self.watt_hours.values()]}

    def obey(self, order: Values) -> None:
        if order["tariff"] not in TARIFFS or isinstance(order["tariff"], bool):
            raise ValueError(f"there is no tariff {order['tariff']!r}")
        self.tariff = order["tariff"]
