"""A watch on MQTT that sleeps most of the time and lets its session collect what comes meanwhile."""

from collections.abc import Iterator
from random import Random

from .device import Device
from .moments import Step, beats
from .stamp import Values
from .traits import Traits

CALLS = ("call", "message", "alarm")


class Watch(Device):
    """Buzzes when told. On its beat it wakes, connects, reports, stays for `awake_ns` from then on, and dozes off."""

    kind = "watch"
    _is_asleep = False
    _awake_until_ns = 0

    def reset(self) -> None:
        self.buzzes = 0
        self.steps = 0

    @classmethod
    def plan(cls, traits: Traits, random: Random) -> Iterator[Step]:
        for at_ns in beats(traits, random):
            yield at_ns, "wake", {"steps": random.randint(0, 200)}

    @staticmethod
    def an_order(random: Random) -> Values:
        return {"buzz": random.choice(CALLS)}

    def state(self) -> Values:
        return {"buzzes": self.buzzes, "steps": self.steps}

    def obey(self, order: Values) -> None:
        if order["buzz"] not in CALLS:
            raise ValueError(f"cannot buzz for {order['buzz']!r}")
        self.buzzes += 1

    def act(self, verb: str, values: Values) -> None:
        """Wake, and say how far the steps went as soon as somebody listens."""
        if verb != "wake":
            super().act(verb, values)
            return
        self.steps += values["steps"]
        self._wake()
        if self.is_connected:
            self.report_state()
            self._stay()

    @property
    def is_ready(self) -> bool:
        """It dozes off only when all is confirmed."""
        return self._is_asleep or super().is_ready

    def connected(self, resumed: bool) -> None:
        """Awake: say so, now that somebody listens."""
        has_announced = self._has_announced
        super().connected(resumed)
        if has_announced:
            self.report_state()
        self._stay()

    def subscribed(self, topic_filter: str) -> None:
        super().subscribed(topic_filter)
        self._stay()

    def quiet(self) -> None:
        """Awake for good, so that nothing stays uncollected."""
        super().quiet()
        if self.is_on:
            self._wake()

    def _stop(self) -> None:
        super()._stop()
        self._is_asleep = False

    def _wake(self) -> None:
        self._is_asleep = False
        self._port.open(self)

    def _stay(self) -> None:
        """Stay awake for a while from now on."""
        self._awake_until_ns = self._clock.now_ns() + self.traits.awake_ns
        self.later(self.traits.awake_ns, self._doze)

    def _doze(self) -> None:
        """Sleep, unless there was a reason to stay meanwhile, or is one now: then one of these comes again."""
        if self._download.is_waiting:
            self._stay()
        elif super().is_ready and not self._is_quiet and self._clock.now_ns() >= self._awake_until_ns:
            self._is_asleep = True
            self._port.sleep()
            self._leave()
