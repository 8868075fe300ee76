"""A board with several relays and a current sensor behind each, on a serial line."""

from random import Random

from .device import Device
from .stamp import Values, flag

RELAYS = 4


class Relay(Device):
    """Closes and opens circuits, and measures what flows. An order that names no relay is about all of them."""

    kind = "relay"
    speaks = ("serial",)

    def reset(self) -> None:
        self.closed = [False] * RELAYS
        self.loads_w = [60.0] * RELAYS

    @staticmethod
    def an_order(random: Random) -> Values:
        return {"relay": random.randrange(RELAYS), "closed": random.random() < 0.5}

    @staticmethod
    def draw(random: Random) -> Values:
        return {"loads": [round(random.gauss(60, 5), 1) for _ in range(RELAYS)]}

    def live(self, values: Values) -> None:
        self.loads_w = values["loads"]

    def state(self) -> Values:
        return {"closed": [*self.closed]}

    def reading(self) -> Values:
        return {"watts": [load if closed else 0.0 for load, closed in zip(self.loads_w, self.closed, strict=True)]}

    def obey(self, order: Values) -> None:
        closed = flag(order, "closed")
        relay = order.get("relay")
        if relay is None:
            self.closed = [closed] * RELAYS
        elif isinstance(relay, int) and not isinstance(relay, bool) and 0 <= relay < RELAYS:
            self.closed[relay] = closed
        else:
            raise ValueError(f"there is no relay {relay!r}, only 0 to {RELAYS - 1}")
