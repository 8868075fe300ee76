"""What all simulated devices have in common: a name, a port, topics, a plan, and a ledger that sees every message.

What a device does by itself is planned: `plan` names moments and verbs, drawn from the seed and from nothing that
happens, so that two runs plan the same, on whatever clock. What it does in answer to others follows from its state. A
kind is a small subclass that says what it is (`state`), what it measures (`reading`), how chance changes that (`draw`,
`live`) and how it obeys.

    {place}/{name}/set       orders to it
    {place}/{name}/state     what it is, retained; with `obeyed` it confirms an order
    {place}/{name}/reading   what it measures, retained
    {place}/{name}/about     what kind it is and which firmware it runs, retained; said at each boot
    {place}/{name}/online    retained; not to be is its will
    {place}/{name}/firmware  new firmware that it is offered, retained; then `ask` and `chunk`: see `download`
"""

from collections.abc import Callable, Iterator
from functools import partial
from random import Random
from typing import ClassVar

import msgspec

from oriole.wire.topics import matches

from .clock import SECOND_NS, Clock
from .download import Download
from .firmware import Ask, Outcome
from .moments import Step, beats
from .port import Delivery, Port, Will
from .scribe import Scribe
from .stamp import Stamp, Values, unseal
from .traits import Traits
from .voice import Voice

MIN_BEAT_S = 0.001  # a beat of nothing would never let anything else happen
MAX_SHOWN = 80  # characters of what somebody else sent
INSTALL_NS = SECOND_NS  # from the last chunk until the device restarts
REBOOT_NS = 2 * SECOND_NS  # from off to on


class Device:
    """The life of a device: `power_on`, what is planned and what comes, `quiet`, `close`."""

    kind: ClassVar[str]
    speaks: ClassVar[tuple[str, ...]] = ("mqtt",)
    """Schemes of the addresses that it can use; the first by default."""
    obeys: ClassVar[bool] = True
    """Whether it takes orders, and new firmware."""
    commands: ClassVar[bool] = False
    """Whether it needs others that it acts on: gives orders to, updates."""
    answers_on: ClassVar[str] = "state"
    """Where those answer, below their topics (what commands)."""
    order_is_state: ClassVar[bool] = False
    """Whether an order says how things shall be (kept, and only the newest counts) rather than what to do now."""
    order_lifetime_s: ClassVar[int] = 0
    """After so long an order must not be obeyed any more; 0 for never."""

    def __init__(self, traits: Traits, port: Port, clock: Clock, ledger: Scribe) -> None:
        self.traits = traits
        self.is_on = False
        self.boots = 0
        self.trouble = ""
        """Why it is not connected, or what was not answered last, in words; empty when all is well."""
        self._port = port
        self._clock = clock
        self._ledger = ledger
        self._voice = Voice(traits, port, clock, ledger)
        self._filters = self.filters(traits)
        self._topics: dict[str, None] = {}
        """Those that it has heard and that it listens to."""
        self._unconfirmed = dict.fromkeys(self._filters)
        self._connected_since_ns: int | None = None
        self._has_announced = False
        self._is_quiet = False
        self._is_paused = False
        self._is_slow = False
        self._is_rebooting = False
        self._missed: list[Callable[[], None]] = []
        self._said_state: Values | None = None
        self._asked_ns = 0
        self._obeyed: Stamp | None = None
        self._download = Download(self._ask_for_chunk, self.later)
        self.reset()

    # ---- What a kind says about itself

    @classmethod
    def filters(cls, traits: Traits) -> tuple[str, ...]:
        """All that such a device listens to."""
        own = ("set", "firmware", "chunk") if traits.takes_firmware else ("set",)
        return (*(f"{traits.topic}/{leaf}" for leaf in own if cls.obeys), *traits.hears)

    @classmethod
    def plan(cls, traits: Traits, random: Random) -> Iterator[Step]:
        """What such a device does by itself, in order and without end: here, it reports on its beat, which begins at
        a moment of its own.
        """
        for at_ns in beats(traits, random):
            yield at_ns, "report", cls.draw(random)
            if traits.reads:
                yield at_ns + traits.every_ns // 2, "ask", {}

    @staticmethod
    def draw(random: Random) -> Values:
        """What chance brings from one report to the next, for `live`."""
        return {}

    @staticmethod
    def an_order(random: Random) -> Values:
        """An order that this kind understands, for whoever commands it."""
        return {}

    def reset(self) -> None:
        """Be as new: forget settings."""

    def state(self) -> Values | None:
        """What the device is; None: it has no state."""
        return None

    def reading(self) -> Values | None:
        """What the device measures; None: nothing."""
        return None

    def live(self, values: Values) -> None:
        """Let happen what was drawn."""

    def obey(self, order: Values) -> None:
        """Do as told. KeyError (a missing key), TypeError and ValueError mean that the order is nonsense: ignored."""

    def heard(self, topic: str, values: Values, stamp: Stamp) -> None:
        """Something of this run came in that is not for it alone."""

    def act(self, verb: str, values: Values) -> None:
        """Do what is planned for now. Kinds add verbs."""
        match verb:
            case "report":
                self.live(values)
                if not self.report_reading() or self.state() != self._said_state:
                    self.report_state()
            case "ask":
                self._asked_ns = self._clock.now_ns()
                self._port.read(self.traits.reads)
            case _:
                raise ValueError(f"a {self.kind} cannot {verb}")

    # ---- Its life

    @property
    def is_ready(self) -> bool:
        """Connected, and everything that it listens to is confirmed."""
        return self.is_connected and not self._unconfirmed

    @property
    def is_connected(self) -> bool:
        """There is a session, and somebody at the other end."""
        return self._connected_since_ns is not None

    @property
    def firmware(self) -> str:
        """The version that it runs."""
        return self._download.flash.version

    @staticmethod
    def will(traits: Traits) -> Will:
        """What the broker says when it is gone without a word. It has no identity: nobody published it."""
        return Will(f"{traits.topic}/online", msgspec.json.encode({"online": False}))

    def power_on(self) -> None:
        """Boot and connect. Without effect on what is on."""
        self._is_rebooting = False
        if not self.is_on:
            self.is_on = True
            self.boots += 1
            self._has_announced = False
            self._port.open(self)

    def power_off(self) -> None:
        """Say goodbye; the session waits."""
        self._is_rebooting = False
        if self.is_on:
            if self.is_connected:
                self.publish("online", {"online": False}, of="about", retain=True)
            self._port.sleep()
            self._stop()

    def fail(self, keeps_state: bool, silently: bool) -> None:
        """Be gone from one moment to the next: killed, or without power (`silently`). What is off loses nothing."""
        self._is_rebooting = False
        if self.is_on:
            self._ledger.failed(self.traits.name, keeps_state, self._clock.now_ns())
            self._port.fail(keeps_state, silently)
            self._stop()
            if not keeps_state:
                self._download.flash.forget()
                self._obeyed = None
                self.reset()

    def reboot(self) -> None:
        """Go off in order and come back a moment later, unless somebody decides otherwise meanwhile."""
        self.power_off()
        self._is_rebooting = True
        self._clock.at(self._clock.now_ns() + REBOOT_NS, self._come_back)

    def _come_back(self) -> None:
        if self._is_rebooting:
            self.power_on()

    def _stop(self) -> None:
        """Nothing goes on in a device without power: what stood still is gone, and what it had missed is missed."""
        self.is_on = False
        self.pause(False)
        self._leave()

    def _leave(self) -> None:
        """There is no connection any more, and it is no trouble."""
        if self.is_connected:
            self._connected_since_ns = None
            self._ledger.left(self.traits.name, self._clock.now_ns())

    def pause(self, paused: bool) -> None:
        """Stand still: read nothing and do nothing. What was due meanwhile is done late, as after SIGCONT."""
        if paused != self._is_paused and (self.is_on or not paused):
            self._is_paused = paused
            self._port.stall(paused or self._is_slow)
            missed, self._missed = self._missed, []
            for action in missed:
                action()

    def stall(self, stalled: bool) -> None:
        """Read nothing, but go on acting: a slow reader."""
        self._is_slow = stalled
        self._port.stall(stalled or self._is_paused)

    def roam(self) -> None:
        """Go over to the next node, or wake up there."""
        self._port.roam()

    def do(self, verb: str, values: Values) -> None:
        """A planned step is due. A device without power does nothing, one that is quiet nothing by itself."""
        if self._is_paused:
            self._missed.append(partial(self.do, verb, values))
        elif self.is_on and not self._is_quiet:
            self.act(verb, values)

    def later(self, delay_ns: int, action: Callable[[], None]) -> None:
        """Do something after a time, unless the device loses its power before."""
        self._clock.at(self._clock.now_ns() + delay_ns, partial(self._due, self.boots, action))

    def _due(self, boot: int, action: Callable[[], None]) -> None:
        if not self.is_on or boot != self.boots:
            return
        if self._is_paused:
            self._missed.append(partial(self._due, boot, action))
        else:
            action()

    def quiet(self) -> None:
        """Say nothing more by itself; still listen, obey and confirm."""
        self._is_quiet = True

    async def close(self) -> None:
        """Leave nothing behind: no session, and no retained message in somebody's broker."""
        self.is_on = False
        if self.is_connected:
            self._voice.take_back()
        await self._port.close()

    # ---- What it says

    def report_state(self, **extra: object) -> None:
        """Say what it is, where the kind has a state."""
        self._said_state = self.state()
        if self._said_state is not None:
            self.publish("state", {**self._said_state, **extra}, retain=True)

    def report_reading(self) -> bool:
        """Say what it measures; False where there is nothing."""
        if (reading := self.reading()) is None:
            return False
        self.publish("reading", reading, retain=True)
        return True

    def announce(self) -> None:
        """Say that it is there, and what it is."""
        self.publish("about", {"kind": self.kind, "boot": self.boots, "firmware": self.firmware}, retain=True)
        self.publish("online", {"online": True}, of="about", retain=True)
        self.report_state()
        self.report_reading()

    def publish(self, leaf: str, values: Values, *, of: str = "", retain: bool = False) -> None:
        """Send `values` below its own topic. `of` is the class of the message: as `leaf` when empty."""
        self.send(f"{self.traits.topic}/{leaf}", values, of or leaf, retain)

    def send(self, topic: str, values: Values, of: str, retain: bool = False, lifetime_s: int = 0) -> None:
        """Send `values` with the next number on `topic`. Offline, QoS 0 does not wait: then nothing was sent.

        An alarm is never sent without asking for an acknowledgement.
        """
        qos = max(1, self.traits.qos) if of == "alarm" else self.traits.qos
        if self.is_on and (qos or self.is_connected):
            self._voice.say(topic, values, of, qos, retain, lifetime_s)

    # ---- What its port tells it: see `Owner`

    def connected(self, resumed: bool) -> None:
        """Subscribe where the other side forgot, or never said that it heard; announce itself once per boot; go on with
        what was under way.
        """
        if not self.is_on:
            return  # it was switched off while its port connected
        self._connected_since_ns = self._clock.now_ns()
        self.trouble = ""
        self._ledger.note("connected", self.traits.name)
        if not resumed:
            self._ledger.forgotten(self.traits.name, self._connected_since_ns)
            self._unconfirmed = dict.fromkeys(self._filters)
        for topic_filter in list(self._unconfirmed):
            self._port.subscribe(topic_filter, self.traits.qos)
        if not self._has_announced:
            self._has_announced = True
            self.announce()
        self._download.go_on()

    def disconnected(self, reason: str) -> None:
        """Note it, or that it failed again; the port comes back by itself."""
        self.trouble = reason
        if self.is_connected:
            self._connected_since_ns = None
            self._ledger.disconnected(self.traits.name, reason, self._clock.now_ns())
        else:
            self._ledger.note("disconnected", f"{self.traits.name}: {reason}")

    def subscribed(self, topic_filter: str) -> None:
        """From now on the messages are due."""
        self._unconfirmed.pop(topic_filter, None)
        traits = self.traits
        self._ledger.listens(
            traits.name, topic_filter, traits.qos, traits.way, self._port.latest_only, self._clock.now_ns()
        )

    def delivered(self, delivery: Delivery) -> None:
        """Account for it, then obey it or hear it."""
        values, stamp = unseal(delivery.payload)
        now_ns = self._clock.now_ns()
        traits = self.traits
        was_away = stamp is not None and (self._connected_since_ns is None or stamp.at_ns < self._connected_since_ns)
        if delivery.topic not in self._topics:
            if any(matches(each, delivery.topic) for each in self._filters):
                self._topics[delivery.topic] = None
            else:
                self._ledger.note("astray", f"{delivery.topic}, to {traits.name}, who never asked for it")
        self._ledger.received(traits.name, traits.way, delivery, stamp, now_ns, was_away)
        if stamp is not None and stamp.run != self._ledger.run:
            stamp = None  # what another run retained is nobody's answer
        try:
            has_obeyed = self._take(delivery.topic, values, stamp)
        except (KeyError, TypeError, ValueError) as error:
            self._ledger.note("nonsense", f"{traits.name}: {self._why_nonsense(delivery.payload, error)}")
            return
        if has_obeyed:
            self._obeyed = stamp
            self.report_state(**({} if stamp is None else {"obeyed": [stamp.publisher, stamp.number]}))

    def _take(self, topic: str, values: Values, stamp: Stamp | None) -> bool:
        """Orders come from anybody, everything else from this run. Whether it was an order, and is obeyed now."""
        match topic.removeprefix(f"{self.traits.topic}/"):
            case "set" if self.order_is_state and stamp is not None and stamp == self._obeyed:
                return False  # it asked again how things shall be, and they are
            case "set":
                self.obey(values)
                return True
            case "firmware" if stamp is not None:
                self._download.offered(values)
            case "chunk" if stamp is not None:
                self._chunk(values)
            case _ if stamp is not None:
                self.heard(topic, values, stamp)
        return False

    def _why_nonsense(self, payload: bytes, error: Exception) -> str:
        """What is wrong with what came, and what an order looks like."""
        text = payload.decode(errors="replace")
        shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
        why = f"{error} is missing" if isinstance(error, KeyError) else str(error)
        example = msgspec.json.encode(self.an_order(Random(0))).decode()
        return f"`{shown}` is nothing that a {self.kind} understands ({why}); an order is {example}"

    def accepted(self, ticket: int) -> None:
        self._ledger.accepted(ticket, self._clock.now_ns())

    def refused(self, ticket: int, reason: str) -> None:
        self._ledger.refused(ticket, reason)

    def unanswered(self, ticket: int | None, reason: str) -> None:
        self.trouble = reason
        if ticket is not None:
            self._ledger.unanswered(ticket, reason)
        self._ledger.note("unanswered", f"{self.traits.name}: {reason}")

    def resent(self, tickets: list[int]) -> None:
        self._ledger.resent(tickets)

    def answered(self, topic: str, payload: bytes | None) -> None:
        now_ns = self._clock.now_ns()
        self._ledger.answered(self.traits.way, now_ns, now_ns - self._asked_ns, payload is not None)

    # ---- New firmware

    def _ask_for_chunk(self, ask: Ask) -> bool:
        """Whether it could: not without a connection, and not when it is to be quiet."""
        if not self.is_connected or self._is_quiet:
            return False
        self.publish("ask", msgspec.structs.asdict(ask), of="firmware")
        return True

    def _chunk(self, values: Values) -> None:
        """What is installed runs after a restart."""
        match self._download.came(values):
            case Outcome.INSTALLED:
                self._ledger.updated(self.traits.name, self.firmware, self._clock.now_ns())
                self.later(INSTALL_NS, self.reboot)
            case Outcome.CORRUPT:
                self._ledger.note("corrupt", f"{self.traits.name}: firmware that was not what had been offered")
