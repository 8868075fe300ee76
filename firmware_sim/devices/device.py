"""What all simulated devices have in common: a name, a port, topics, a beat, and a ledger that sees every message.

A kind of device is a small subclass that says what it is (`state`), what it measures (`reading`) and how it obeys
(`obey`). It reports on change and on time, and confirms every order by the state that names it.

    {place}/{name}/set       orders to it
    {place}/{name}/state     what it is, retained; with `obeyed` it confirms an order
    {place}/{name}/reading   what it measures, retained
"""

from collections import Counter
from dataclasses import dataclass
from random import Random
from typing import ClassVar

from msgspec import json

from firmware_sim.report.ledger import Ledger, Message

from .clock import SECOND_NS, Clock
from .port import Delivery, Port
from .stamp import Stamp, Values, seal, unseal

MIN_BEAT_S = 0.001  # a beat of nothing would never let anything else happen
MAX_SHOWN = 80  # characters of what somebody else sent


@dataclass(slots=True, frozen=True)
class Target:
    """A device that somebody commands: the topic of its orders, and its kind, which knows what it understands."""

    topic: str
    kind: type["Device"]


@dataclass(slots=True, frozen=True)
class Traits:
    """What makes one device of a kind different from the next."""

    name: str
    place: str
    way: str = "edge"
    """How it is connected, as the report calls it."""
    seed: int = 0
    every_s: float = 10.0
    """Its beat: how often it reports, commands or announces."""
    qos: int = 1
    hears: tuple[str, ...] = ()
    """Topic filters that it listens to besides its orders."""
    targets: tuple[Target, ...] = ()
    """Whom it commands (remote)."""
    announces: str = ""
    """The topic that it speaks to (herald)."""
    reads: str = ""
    """A topic whose value it asks for on its beat (thermostat)."""
    awake_s: float = 1.0
    """How long it stays awake at a time (watch)."""

    @property
    def topic(self) -> str:
        return f"{self.place}/{self.name}"


class Device:
    """The life of a device: `open`, `run`, `quiet`, `close`. Every random choice comes from its seed."""

    kind: ClassVar[str]
    speaks: ClassVar[tuple[str, ...]] = ("mqtt",)
    """Schemes of the addresses that it can use."""
    obeys: ClassVar[bool] = True
    """Whether it takes orders."""
    order_is_state: ClassVar[bool] = False
    """Whether an order says how things shall be (kept, and only the newest counts) rather than what to do now."""

    def __init__(self, traits: Traits, port: Port, clock: Clock, ledger: Ledger) -> None:
        self.traits = traits
        self.random = Random(f"{traits.seed}/{traits.name}")
        self._port = port
        self._clock = clock
        self._ledger = ledger
        self._numbers: Counter[str] = Counter()
        self._unconfirmed = dict.fromkeys((f"{traits.topic}/set", *traits.hears) if self.obeys else traits.hears)
        self._filters = tuple(self._unconfirmed)
        self._connected_since_ns: int | None = None
        self._has_booted = False
        self.trouble = ""
        """Why it is not connected, or what was not answered last, in words; empty when all is well."""
        self._is_running = False
        self._asked_ns = 0
        self._retained: dict[str, None] = {}

    # ---- What a kind says about itself

    @staticmethod
    def an_order(random: Random) -> Values:
        """An order that this kind understands, for whoever commands it."""
        return {}

    def state(self) -> Values | None:
        """What the device is; None: it has no state."""
        return None

    def reading(self) -> Values | None:
        """What the device measures; None: nothing."""
        return None

    def obey(self, order: Values) -> None:
        """Do as told. KeyError (a missing key), TypeError and ValueError mean that the order is nonsense: ignored."""

    def heard(self, topic: str, values: Values) -> None:
        """Something came in that is no order."""

    def beat(self) -> None:
        """What it does every `every_s`: say what it measures, or else what it is; half-way to the next beat, ask."""
        if not self.report_reading():
            self.report_state()
        if self.traits.reads:
            self._clock.at(self._clock.now_ns() + round(self.traits.every_s / 2 * SECOND_NS), self._ask)

    # ---- Its life

    @property
    def is_ready(self) -> bool:
        """Connected, and everything that it listens to is confirmed."""
        return self._connected_since_ns is not None and not self._unconfirmed

    def open(self) -> None:
        """Switch it on."""
        self._port.open(self)

    def run(self) -> None:
        """Begin the beat, at a moment of its own."""
        self._is_running = True
        self._again(self._clock.now_ns() + round(self.random.random() * self.traits.every_s * SECOND_NS))

    def quiet(self) -> None:
        """Say nothing more by itself; still listen, obey and confirm."""
        self._is_running = False

    async def close(self) -> None:
        """Switch it off and leave nothing behind: no session, and no retained message in somebody's broker."""
        self._is_running = False
        for topic in self._retained if self._connected_since_ns is not None else ():
            self._port.forget(topic)
        await self._port.close()

    def report_state(self, **extra: object) -> None:
        """Say what it is, where the kind has a state."""
        if (state := self.state()) is not None:
            self.publish(f"{self.traits.topic}/state", {**state, **extra}, retain=True)

    def report_reading(self) -> bool:
        """Say what it measures; False where the kind measures nothing."""
        if (reading := self.reading()) is None:
            return False
        self.publish(f"{self.traits.topic}/reading", reading, retain=True)
        return True

    def publish(self, topic: str, values: Values, retain: bool = False) -> None:
        """Send `values` with the next number on `topic`. Offline, QoS 0 does not wait: then nothing was sent."""
        traits = self.traits
        if self._connected_since_ns is None and traits.qos == 0:
            return
        self._numbers[topic] += 1
        at_ns = self._clock.now_ns()
        payload = seal(values, Stamp(self._ledger.run, traits.name, self._numbers[topic], at_ns))
        message = Message(
            publisher=traits.name,
            topic=topic,
            number=self._numbers[topic],
            at_ns=at_ns,
            qos=traits.qos,
            is_state=retain,
            is_order=topic.endswith("/set"),
            size=len(payload) + len(topic.encode()),
            way=traits.way,
        )
        if retain:
            self._retained[topic] = None
        self._port.publish(topic, payload, traits.qos, retain, self._ledger.sent(message))

    def _again(self, when_ns: int) -> None:
        def act() -> None:
            if self._is_running:
                self.beat()
                self._again(when_ns + round(self.traits.every_s * SECOND_NS))

        self._clock.at(when_ns, act)

    def _ask(self) -> None:
        if self._is_running:
            self._asked_ns = self._clock.now_ns()
            self._port.read(self.traits.reads)

    # ---- What its port tells it: see `Owner`

    def connected(self, resumed: bool) -> None:
        """Subscribe where the other side forgot; announce itself once."""
        self._connected_since_ns = self._clock.now_ns()
        self.trouble = ""
        self._ledger.note("connected", self.traits.name)
        if not resumed:
            for topic_filter in self._filters:
                self._port.subscribe(topic_filter, self.traits.qos)
        if not self._has_booted:
            self._has_booted = True
            self.report_state()
            self.report_reading()

    def disconnected(self, reason: str) -> None:
        """Note it; the port comes back by itself."""
        self._connected_since_ns = None
        self.trouble = reason
        self._ledger.note("disconnected", f"{self.traits.name}: {reason}")

    def subscribed(self, topic_filter: str) -> None:
        """From now on the messages are due."""
        if topic_filter in self._unconfirmed:
            del self._unconfirmed[topic_filter]
            traits = self.traits
            self._ledger.listens(traits.name, topic_filter, traits.qos, traits.way, self._port.latest_only)

    def delivered(self, delivery: Delivery) -> None:
        """Account for it, then obey it or hear it."""
        values, stamp = unseal(delivery.payload)
        now_ns = self._clock.now_ns()
        traits = self.traits
        is_ours = stamp is not None and stamp.run == self._ledger.run  # what another run retained is nobody's answer
        was_away = stamp is not None and (self._connected_since_ns is None or stamp.at_ns < self._connected_since_ns)
        self._ledger.received(traits.name, traits.way, delivery, stamp, now_ns, was_away)
        if delivery.topic != f"{traits.topic}/set":
            if is_ours:
                self.heard(delivery.topic, values)
            return
        try:
            self.obey(values)
        except (KeyError, TypeError, ValueError) as error:
            self._ledger.note("nonsense", f"{traits.name}: {self._why_nonsense(delivery.payload, error)}")
            return
        confirmation = {"obeyed": [stamp.publisher, stamp.number]} if stamp is not None and is_ours else {}
        self.report_state(**confirmation)

    def _why_nonsense(self, payload: bytes, error: Exception) -> str:
        """What is wrong with an order, and what one looks like."""
        text = payload.decode(errors="replace")
        shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        example = json.encode(self.an_order(Random(0))).decode()
        return f"`{shown}` is no order that a {self.kind} understands ({why}); one is {example}"

    def accepted(self, ticket: int) -> None:
        self._ledger.accepted(ticket, self._clock.now_ns())

    def refused(self, ticket: int, reason: str) -> None:
        self._ledger.refused(ticket, reason)

    def unanswered(self, ticket: int | None, reason: str) -> None:
        self.trouble = reason
        self._ledger.note("unanswered", f"{self.traits.name}: {reason}")

    def resent(self, tickets: list[int]) -> None:
        self._ledger.resent(tickets)

    def answered(self, topic: str, payload: bytes | None) -> None:
        now_ns = self._clock.now_ns()
        self._ledger.answered(self.traits.way, now_ns, now_ns - self._asked_ns, payload is not None)
