"""What a test holds a device by: a clock and a port that do nothing by themselves, and a broker as small as can be."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

from firmware_sim.devices.device import Device
from firmware_sim.devices.port import Delivery, Owner
from firmware_sim.devices.stamp import Stamp, Values, seal, unseal
from firmware_sim.devices.traits import Traits
from firmware_sim.report.ledger import Ledger
from oriole.wire.topics import matches

SECOND = 1_000_000_000


class HandClock:
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0
        self._actions: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def now_ns(self) -> int:
        return self.now

    def at(self, when_ns: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._actions, (when_ns, next(self._order), action))

    def pass_(self, seconds: float) -> None:
        end = self.now + round(seconds * SECOND)
        while self._actions and self._actions[0][0] <= end:
            self.now, _, action = heapq.heappop(self._actions)
            action()
        self.now = end


@dataclass
class HandPort:
    """Writes down what the device asks for."""

    latest_only: bool = False
    published: list[tuple[str, Values, int, bool]] = field(default_factory=list)
    """Topic, values, number (0: without a stamp), retain."""
    payloads: list[tuple[str, bytes, int, int]] = field(default_factory=list)
    """Topic, payload, QoS, lifetime in seconds."""
    subscribed: list[tuple[str, int]] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def open(self, owner: Owner) -> None:
        self.log.append("open")

    def sleep(self) -> None:
        self.log.append("sleep")

    def fail(self, keeps_state: bool, silently: bool) -> None:
        self.log.append(f"fail{' keeping its state' * keeps_state}{' silently' * silently}")

    def stall(self, stalled: bool) -> None:
        self.log.append("stall" if stalled else "read on")

    def roam(self) -> None:
        self.log.append("roam")

    async def close(self) -> None:
        self.log.append("close")

    def subscribe(self, topic_filter: str, qos: int) -> None:
        self.subscribed.append((topic_filter, qos))

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int, lifetime_s: int = 0) -> None:
        values, stamp = unseal(payload)
        self.published.append((topic, values, stamp.number if stamp else 0, retain))
        self.payloads.append((topic, payload, qos, lifetime_s))

    def forget(self, topic: str) -> None:
        self.log.append(f"forget {topic}")

    def read(self, topic: str) -> None:
        self.reads.append(topic)


@dataclass
class Bench:
    """One device on the test bench, switched on."""

    device: Device
    port: HandPort
    clock: HandClock
    ledger: Ledger

    def connect(self, resumed: bool = False) -> None:
        self.device.connected(resumed)
        if not resumed:
            for topic_filter, _ in self.port.subscribed:
                self.device.subscribed(topic_filter)

    def order(self, number: int = 1, **values: object) -> None:
        self.deliver("set", "phone", number, values)

    def deliver(self, leaf: str, publisher: str, number: int, values: Values) -> None:
        payload = seal(values, Stamp("run", publisher, number, self.clock.now))
        self.device.delivered(Delivery(f"home/it/{leaf}", payload, 1, repeat=False, stored=False))

    def follow(self, seconds: float, seed: int = 1) -> None:
        """Do what is planned for so long."""
        end_ns = round(seconds * SECOND)
        for at_ns, verb, values in self.device.plan(self.device.traits, Random(seed)):
            if at_ns > end_ns:
                break
            self.clock.pass_((at_ns - self.clock.now) / SECOND)
            self.device.do(verb, values)
        self.clock.pass_((end_ns - self.clock.now) / SECOND)

    def said(self, leaf: str) -> list[Values]:
        """What it published below its own topic, in order."""
        return [values for topic, values, _, _ in self.port.published if topic == f"home/it/{leaf}"]


def bench(kind: type[Device], *, on: bool = True, **traits: Any) -> Bench:
    port, clock, ledger = HandPort(), HandClock(), Ledger("run")
    device = kind(Traits(name="it", place="home", **traits), port, clock, ledger)
    if on:
        device.power_on()
    return Bench(device, port, clock, ledger)


class HandBroker:
    """Hands on what its ports publish, at once or when the clock goes on. `way` may lose or double a message."""

    def __init__(self, clock: HandClock) -> None:
        self.clock = clock
        self.way: Callable[[str, Values], int] = lambda topic, values: 1
        """How many copies of a message arrive."""
        self.ports: list[BrokerPort] = []
        self.retained: dict[str, bytes] = {}

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        if retain:
            self.retained[topic] = payload
        for _ in range(self.way(topic, unseal(payload)[0])):
            for port in self.ports:
                self.clock.at(self.clock.now + 1, lambda port=port: port.take(topic, payload, qos, False))  # type: ignore[misc]


class BrokerPort(HandPort):
    """A port on a `HandBroker`. Its session outlives its connection, and while it is away everything waits."""

    def __init__(self, broker: HandBroker) -> None:
        super().__init__()
        self._broker = broker
        self._has_session = False
        self._is_open = False
        self._waiting: list[tuple[str, bytes, int, bool]] = []
        self._filters: list[str] = []
        broker.ports.append(self)

    def open(self, owner: Owner) -> None:
        super().open(owner)
        self._owner = owner
        if not self._is_open:
            self._is_open = True
            resumed, self._has_session = self._has_session, True
            owner.connected(resumed)
            waiting, self._waiting = self._waiting, []
            for topic, payload, qos, stored in waiting:
                self.take(topic, payload, qos, stored)

    def sleep(self) -> None:
        super().sleep()
        self._is_open = False

    def fail(self, keeps_state: bool, silently: bool) -> None:
        super().fail(keeps_state, silently)
        self._is_open = False
        if not keeps_state:
            self._has_session = False
            self._filters.clear()
            self._waiting.clear()

    def subscribe(self, topic_filter: str, qos: int) -> None:
        super().subscribe(topic_filter, qos)
        self._filters.append(topic_filter)
        self._owner.subscribed(topic_filter)
        for topic, payload in self._broker.retained.items():
            if matches(topic_filter, topic):
                self._broker.clock.at(
                    self._broker.clock.now + 1,
                    lambda topic=topic, payload=payload: self.take(topic, payload, 1, True),  # type: ignore[misc]
                )

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int, lifetime_s: int = 0) -> None:
        super().publish(topic, payload, qos, retain, ticket, lifetime_s)
        self._broker.publish(topic, payload, qos, retain)

    def take(self, topic: str, payload: bytes, qos: int, stored: bool) -> None:
        if not any(matches(topic_filter, topic) for topic_filter in self._filters):
            return
        if self._is_open:
            self._owner.delivered(Delivery(topic, payload, qos, repeat=False, stored=stored))
        else:
            self._waiting.append((topic, payload, qos, stored))
