"""A device that sends what breaks the careless: brokers, and devices that believe what they are sent.

All of it is within the protocol. What can carry a stamp has one, and is accounted for like any message; what cannot is
in nobody's books, and leaves with QoS 0.
"""

from collections.abc import Iterator
from random import Random

from .device import Device
from .moments import Step, beats
from .stamp import Values
from .traits import Traits

NO_TICKET = -1
HUGE_BYTES = 256 * 1024
DEPTH = 20_000
TOPIC_BYTES = 30_000
LEVELS = 100
"""Of a topic. More, and brokers end the connection: with QoS 1 it would send the same again for ever."""
TOPICS_AT_ONCE = 200

WRONG: tuple[Values, ...] = (
    {"on": "maybe", "brightness": {"a": 1}},
    {"celsius": "1e400"},
    {"closed": [], "relay": -1},
    {"action": None},
    {"buzz": ["call"]},
    {"tariff": 1e30},
    {"armed": 0.5, "lost": {}},
    {},
)
"""Orders that no kind understands."""

POISONS = ("broken", "empty", "binary", "deep", "wrong", "huge", "garbage", "long", "many")


class Poisonous(Device):
    """On each beat one of its poisons, for one of its targets or for everybody."""

    kind = "poisonous"
    obeys = False
    commands = True

    @classmethod
    def plan(cls, traits: Traits, random: Random) -> Iterator[Step]:
        for at_ns in beats(traits, random):
            target = random.randrange(len(traits.targets))
            yield at_ns, random.choice(POISONS), {"target": target, "seed": random.getrandbits(32)}

    def act(self, verb: str, values: Values) -> None:
        """Send it."""
        orders = f"{self.traits.targets[values['target']].topic}/set"
        random = Random(values["seed"])
        match verb:
            case "broken":
                self._throw(orders, b'{"on": tru')
            case "empty":
                self._throw(orders, b"")
            case "binary":
                self._throw(orders, b"\xff\xfe" + random.randbytes(200))
            case "deep":
                self._throw(orders, b'{"on":' * DEPTH + b"1" + b"}" * DEPTH)
            case "wrong":
                self.send(orders, random.choice(WRONG), "poison")
            case "huge":
                self.send(orders, {"on": "x" * HUGE_BYTES}, "poison")
            case "garbage":
                self.publish("garbage", {"\0": random.random(), "": None}, of="poison", retain=True)
            case "long":
                levels = random.choice([1, LEVELS])
                self.publish("/".join(["x" * (TOPIC_BYTES // levels)] * levels), {}, of="poison")
            case "many":
                for number in range(TOPICS_AT_ONCE):
                    self.publish(f"many/{values['seed']}/{number}", {}, of="poison")
            case _:
                super().act(verb, values)

    def _throw(self, topic: str, payload: bytes) -> None:
        if self.is_connected:
            self._port.publish(topic, payload, 0, False, NO_TICKET)

    def refused(self, ticket: int, reason: str) -> None:
        if ticket != NO_TICKET:
            super().refused(ticket, reason)
