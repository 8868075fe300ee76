"""What a device says: every message with an identity, in the ledger before it leaves."""

from collections import Counter

from firmware_sim.report.ledger import Message

from .clock import Clock
from .port import Port
from .scribe import Scribe
from .stamp import Stamp, Values, seal
from .traits import Traits

CLASSES = ("order", "state", "reading", "alarm", "news", "firmware", "about", "poison")
"""Classes of messages, by which a run is judged. A device that says something new needs a new one."""


class Voice:
    """One device's. Its numbers are the harness's: they outlive whatever the device itself forgets."""

    __slots__ = ("_clock", "_ledger", "_numbers", "_port", "_retained", "_traits")

    def __init__(self, traits: Traits, port: Port, clock: Clock, ledger: Scribe) -> None:
        self._traits = traits
        self._port = port
        self._clock = clock
        self._ledger = ledger
        self._numbers: Counter[str] = Counter()
        self._retained: dict[str, None] = {}

    def say(self, topic: str, values: Values, of: str, qos: int, retain: bool, lifetime_s: int) -> None:
        """Send `values` with the next number on `topic`."""
        if of not in CLASSES:
            raise ValueError(f"no class of messages `{of}`; there are {', '.join(CLASSES)}")
        traits = self._traits
        self._numbers[topic] += 1
        number, at_ns = self._numbers[topic], self._clock.now_ns()
        if traits.padding:
            values = {**values, "padding": "x" * traits.padding}
        payload = seal(values, Stamp(self._ledger.run, traits.name, number, at_ns))
        message = Message(
            publisher=traits.name,
            topic=topic,
            number=number,
            at_ns=at_ns,
            qos=qos,
            is_state=retain,
            of=of,
            payload=payload,
            way=traits.way,
            lifetime_s=lifetime_s,
        )
        if retain:
            self._retained[topic] = None
        self._port.publish(topic, payload, qos, retain, self._ledger.sent(message), lifetime_s)

    def take_back(self) -> None:
        """Leave nothing that was retained in somebody's broker."""
        for topic in self._retained:
            self._port.forget(topic)
