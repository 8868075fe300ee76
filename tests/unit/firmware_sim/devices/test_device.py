"""Behaviour without protocols: a port and a clock that the test holds. The same seam carries a virtual-time run."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from firmware_sim.devices.device import Device, Target, Traits
from firmware_sim.devices.herald import Herald
from firmware_sim.devices.kinds import KINDS
from firmware_sim.devices.lamp import Lamp
from firmware_sim.devices.port import Delivery, Owner
from firmware_sim.devices.relay import Relay
from firmware_sim.devices.remote import Remote
from firmware_sim.devices.stamp import Stamp, Values, seal, unseal
from firmware_sim.devices.thermostat import Thermostat
from firmware_sim.devices.watch import Watch
from firmware_sim.report.ledger import Ledger

SECOND = 1_000_000_000


class HandClock:
    """Time passes when the test says so."""

    def __init__(self) -> None:
        self.now = 0
        self._actions: list[tuple[int, int, Callable[[], None]]] = []

    def now_ns(self) -> int:
        return self.now

    def at(self, when_ns: int, action: Callable[[], None]) -> None:
        heapq.heappush(self._actions, (when_ns, len(self._actions), action))

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
    subscribed: list[tuple[str, int]] = field(default_factory=list)
    reads: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def open(self, owner: Owner) -> None:
        self.log.append("open")

    def sleep(self) -> None:
        self.log.append("sleep")

    async def close(self) -> None:
        self.log.append("close")

    def subscribe(self, topic_filter: str, qos: int) -> None:
        self.subscribed.append((topic_filter, qos))

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int) -> None:
        values, stamp = unseal(payload)
        assert stamp is not None
        self.published.append((topic, values, stamp.number, retain))

    def forget(self, topic: str) -> None:
        self.log.append(f"forget {topic}")

    def read(self, topic: str) -> None:
        self.reads.append(topic)


@dataclass
class Bench:
    """One device on the test bench."""

    device: Device
    port: HandPort
    clock: HandClock
    ledger: Ledger

    def order(self, number: int = 1, **values: object) -> None:
        topic = f"{self.device.traits.topic}/set"
        payload = seal(values, Stamp("run", "phone", number, self.clock.now))
        self.device.delivered(Delivery(topic, payload, 1, repeat=False, stored=False))


def bench(kind: type[Device], **traits: object) -> Bench:
    port, clock, ledger = HandPort(), HandClock(), Ledger("run")
    device = kind(Traits(name="it", place="home", **traits), port, clock, ledger)  # type: ignore[arg-type]
    return Bench(device, port, clock, ledger)


def test_a_device_announces_itself_once_and_subscribes_where_it_was_forgotten() -> None:
    lamp = bench(Lamp, hears=("news",))
    lamp.device.connected(resumed=False)
    assert lamp.port.subscribed == [("home/it/set", 1), ("news", 1)]
    assert lamp.port.published == [("home/it/state", {"on": False, "brightness": 100}, 1, True)]
    assert not lamp.device.is_ready
    lamp.device.subscribed("home/it/set")
    lamp.device.subscribed("news")
    assert lamp.device.is_ready
    lamp.device.disconnected("gone")
    assert not lamp.device.is_ready
    lamp.device.connected(resumed=True)
    assert lamp.device.is_ready
    assert (len(lamp.port.subscribed), len(lamp.port.published)) == (2, 1)
    lamp.device.connected(resumed=False)
    assert len(lamp.port.subscribed) == 4


def test_an_order_is_obeyed_and_confirmed_by_name() -> None:
    lamp = bench(Lamp)
    lamp.device.connected(resumed=False)
    lamp.order(number=5, on=True, brightness=30)
    topic, values, number, retain = lamp.port.published[-1]
    assert (topic, number, retain) == ("home/it/state", 2, True)
    assert values == {"on": True, "brightness": 30, "obeyed": ["phone", 5]}


@pytest.mark.parametrize("order", [b'{"on": true}', seal({"on": True}, Stamp("the run before", "phone", 2, 0))])
def test_an_order_from_elsewhere_is_obeyed_and_told(order: bytes) -> None:
    """By hand, or retained by another run: nobody here waits for a confirmation."""
    lamp = bench(Lamp)
    lamp.device.connected(resumed=False)
    lamp.device.delivered(Delivery("home/it/set", order, 1, repeat=False, stored=True))
    assert lamp.port.published[-1][1] == {"on": True, "brightness": 100}


def test_an_order_left_by_another_run_is_obeyed_and_confirms_nothing() -> None:
    thermostat = bench(Thermostat)
    payload = seal({"celsius": 21}, Stamp("the one before", "phone", 1, 0))
    thermostat.device.delivered(Delivery("home/it/set", payload, 1, repeat=False, stored=True))
    assert thermostat.port.published[-1][1] == {"set_point": 21.0, "heating": True}


@pytest.mark.parametrize(
    ("kind", "nonsense", "why"),
    [
        (Lamp, {"brightness": 3}, "'on' is missing"),
        (Lamp, {"on": True, "brightness": "bright"}, "`brightness` is 'bright', no number"),
        (Thermostat, {"celsius": 70}, "70.0 degrees is no temperature for a room"),
        (Thermostat, {"celsius": None}, "`celsius` is None, no number"),
        (Watch, {"buzz": "loudly"}, "cannot buzz for 'loudly'"),
        (Relay, {}, "'closed' is missing"),
    ],
)
def test_nonsense_is_counted_explained_and_not_confirmed(kind: type[Device], nonsense: Values, why: str) -> None:
    device = bench(kind)
    device.device.connected(resumed=False)
    said = len(device.port.published)
    device.order(**nonsense)
    assert device.ledger.notes["nonsense"] == 1
    assert f"is no order that a {kind.kind} understands ({why}" in device.ledger.last_notes["nonsense"]
    assert len(device.port.published) == said


def test_what_is_no_order_at_all_is_shown_beside_one() -> None:
    lamp = bench(Lamp)
    lamp.device.connected(resumed=False)
    lamp.device.delivered(Delivery("home/it/set", b"rubbish \xff" + b"." * 1000, 1, repeat=False, stored=False))
    words = lamp.ledger.last_notes["nonsense"]
    assert words.startswith("it: `rubbish \N{REPLACEMENT CHARACTER}...")
    assert '; one is {"on":' in words
    assert len(words) < 250


def test_a_device_knows_its_trouble_until_it_is_over() -> None:
    lamp = bench(Lamp)
    lamp.device.disconnected("nobody there")
    assert lamp.device.trouble == "nobody there"
    lamp.device.connected(resumed=False)
    assert lamp.device.trouble == ""


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.obeys], ids=lambda kind: kind.kind)
def test_every_kind_understands_its_own_orders(kind: type[Device]) -> None:
    device = bench(kind)
    device.device.connected(resumed=False)
    for number in range(50):
        device.order(number=number, **kind.an_order(device.device.random))
    assert device.ledger.notes["nonsense"] == 0
    assert device.port.published[-1][1]["obeyed"] == ["phone", 49]


def test_the_beat_is_even_and_ends_when_quiet() -> None:
    relay = bench(Relay, every_s=2.0)
    relay.device.connected(resumed=False)
    relay.device.run()
    relay.clock.pass_(20)
    readings = [number for topic, _, number, _ in relay.port.published if topic.endswith("/reading")]
    assert readings == list(range(1, 12)), "one when it announced itself, then one each two seconds"
    relay.device.quiet()
    said = len(relay.port.published)
    relay.clock.pass_(20)
    assert len(relay.port.published) == said


@pytest.mark.parametrize("kind", [Thermostat, Remote])
def test_one_seed_is_one_life(kind: type[Device]) -> None:
    targets = tuple(Target(f"home/{number}/set", Thermostat) for number in range(4))

    def life(seed: int) -> list[tuple[str, Values, int, bool]]:
        device = bench(kind, every_s=1.0, seed=seed, targets=targets)
        device.device.connected(resumed=False)
        device.device.run()
        device.clock.pass_(30)
        return device.port.published

    assert life(1) == life(1)
    assert life(1) != life(2)


def test_a_thermostat_asks_and_the_answer_is_timed() -> None:
    thermostat = bench(Thermostat, every_s=1.0, reads="home/lamp/state", way="edge")
    thermostat.device.connected(resumed=False)
    thermostat.device.run()
    while not thermostat.port.reads:
        thermostat.clock.pass_(0.01)
    asked_ns = thermostat.clock.now
    thermostat.clock.pass_(0.02)
    thermostat.device.answered("home/lamp/state", b"{}")
    ((way, at_ns, took_ns, found),) = thermostat.ledger.answers
    assert (way, at_ns, found) == ("edge", asked_ns + SECOND // 50, True)
    assert SECOND // 50 <= took_ns <= SECOND // 50 + SECOND // 100


def test_a_watch_sleeps_between_beats_and_wakes_for_good_in_the_end() -> None:
    watch = bench(Watch, every_s=10.0, awake_s=1.0)
    watch.device.open()
    watch.device.connected(resumed=False)
    watch.device.run()
    watch.clock.pass_(30)
    assert watch.port.log == ["open"] + 3 * ["open", "sleep"]
    watch.device.quiet()
    watch.clock.pass_(30)
    assert watch.port.log[-1] == "open"


def test_what_was_sent_while_it_slept_is_marked() -> None:
    watch = bench(Watch)
    watch.device.connected(resumed=False)
    watch.device.subscribed("home/it/set")
    payload = seal({"buzz": "call"}, Stamp("run", "phone", 1, 5))
    watch.ledger._tickets["phone", "home/it/set", 1] = 0
    watch.clock.now = 100
    watch.device.connected(resumed=True)
    watch.device.delivered(Delivery("home/it/set", payload, 1, repeat=False, stored=False))
    (copies,) = watch.ledger.copies.values()
    assert copies.was_away


def test_offline_qos_0_is_not_sent_and_qos_1_waits() -> None:
    for qos, count in ((0, 0), (1, 1)):
        lamp = bench(Lamp, qos=qos)
        lamp.device.report_state()
        assert len(lamp.ledger.messages) == count


def test_a_remote_commands_and_knows_its_confirmations() -> None:
    remote = bench(Remote, every_s=1.0, targets=(Target("home/room/set", Thermostat),))
    remote.device.connected(resumed=False)
    remote.device.run()
    remote.clock.pass_(1)
    ((topic, values, number, retain),) = remote.port.published
    assert (topic, number, retain) == ("home/room/set", 1, True), "a set-point is a state"
    assert 16 <= values["celsius"] <= 24

    def confirm(name: str, number: int, run: str = "run") -> None:
        payload = seal({"obeyed": [name, number]}, Stamp(run, "room", 1, 0))
        remote.device.delivered(Delivery("home/room/state", payload, 1, repeat=False, stored=False))

    confirm("somebody else", 1)
    confirm("it", 1, run="the one before")
    assert remote.ledger.confirmed_ns == {}
    confirm("it", 1)
    remote.clock.pass_(1)
    confirm("it", 1)
    assert remote.ledger.confirmed_ns == {("it", "home/room/set", 1): SECOND}, "the first one counts"


def test_a_herald_speaks_to_its_topic() -> None:
    herald = bench(Herald, every_s=1.0, announces="news")
    herald.device.connected(resumed=False)
    herald.device.run()
    herald.clock.pass_(3)
    assert [(topic, number) for topic, _, number, _ in herald.port.published] == [("news", n) for n in (1, 2, 3)]
