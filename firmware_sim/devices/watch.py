"""A watch on MQTT that sleeps most of the time and lets its session collect what comes meanwhile."""

from random import Random

from .clock import SECOND_NS
from .device import Device
from .stamp import Values


class Watch(Device):
    """Buzzes when told. On its beat it wakes, reports, stays for `awake_s`, and sleeps again."""

    kind = "watch"
    buzzes = 0
    steps = 0

    @staticmethod
    def an_order(random: Random) -> Values:
        return {"buzz": random.choice(["call", "message", "alarm"])}

    def state(self) -> Values:
        return {"buzzes": self.buzzes, "steps": self.steps}

    def obey(self, order: Values) -> None:
        if order["buzz"] not in ("call", "message", "alarm"):
            raise ValueError(f"cannot buzz for {order['buzz']!r}")
        self.buzzes += 1

    def connected(self, resumed: bool) -> None:
        """Awake: say so, now that somebody listens."""
        super().connected(resumed)
        if self._is_running:
            self.report_state()

    def beat(self) -> None:
        self.steps += self.random.randint(0, 200)
        self._port.open(self)
        self._clock.at(self._clock.now_ns() + round(self.traits.awake_s * SECOND_NS), self._doze)

    def quiet(self) -> None:
        """Awake for good, so that nothing stays uncollected."""
        super().quiet()
        self._port.open(self)

    def _doze(self) -> None:
        if self._is_running:
            self._port.sleep()
