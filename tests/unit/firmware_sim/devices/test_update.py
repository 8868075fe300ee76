"""An updater, a device and a broker between them: lost and doubled chunks, power cuts, sleepers, those who gave up."""

from dataclasses import dataclass
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.firmware_sim.devices.hands import SECOND, BrokerPort, HandBroker, HandClock

from firmware_sim.devices.device import Device
from firmware_sim.devices.download import FIRST_ANSWER_NS, MAX_TRIES
from firmware_sim.devices.firmware import CHUNK_BYTES, FACTORY_VERSION
from firmware_sim.devices.kinds import KINDS
from firmware_sim.devices.lamp import Lamp
from firmware_sim.devices.stamp import Values
from firmware_sim.devices.traits import Target, Traits
from firmware_sim.devices.updater import Updater
from firmware_sim.devices.watch import Watch
from firmware_sim.report.ledger import Ledger

CHUNKS = 6
SIZE = (CHUNKS - 1) * CHUNK_BYTES + 7
PATIENCE_S = 2 * MAX_TRIES * (FIRST_ANSWER_NS << MAX_TRIES) / SECOND


@dataclass
class House:
    """Who updates, and what is updated; every message takes a nanosecond."""

    clock: HandClock
    broker: HandBroker
    ledger: Ledger
    updater: Device
    device: Device
    port: BrokerPort

    def update(self, version: str = "1.1", size: int = SIZE) -> None:
        self.updater.do("update", {"target": 0, "version": version, "size": size})

    def asked(self) -> list[int]:
        return [values["chunk"] for topic, values, _, _ in self.port.published if topic == "home/it/ask"]

    def abouts(self) -> list[Values]:
        return [values for topic, values, _, _ in self.port.published if topic == "home/it/about"]


def house(kind: type[Device] = Lamp, *, on: bool = True) -> House:
    clock, ledger = HandClock(), Ledger("run")
    broker = HandBroker(clock)
    targets = (Target("home/it", kind),)
    updater = Updater(
        Traits(name="updater", place="office", hears=("home/+/ask",), targets=targets),
        BrokerPort(broker),
        clock,
        ledger,
    )
    port = BrokerPort(broker)
    device = kind(Traits(name="it", place="home"), port, clock, ledger)
    updater.power_on()
    if on:
        device.power_on()
    return House(clock, broker, ledger, updater, device, port)


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.obeys], ids=lambda kind: kind.kind)
def test_every_kind_that_obeys_is_updated_restarts_and_says_so(kind: type[Device]) -> None:
    home = house(kind)
    home.update()
    home.clock.pass_(10)
    assert home.asked() == list(range(CHUNKS))
    assert home.device.firmware == "1.1"
    assert home.ledger.installed == {"1.1": 1}
    assert home.abouts()[-1] == {"kind": kind.kind, "boot": 2, "firmware": "1.1"}
    assert home.device.is_ready


def test_what_is_off_finds_the_offer_when_it_comes() -> None:
    home = house(on=False)
    home.update()
    home.clock.pass_(60)
    home.device.power_on()
    home.clock.pass_(10)
    assert home.abouts()[-1]["firmware"] == "1.1"


@pytest.mark.parametrize("keeps_state", [True, False])
@pytest.mark.parametrize("taken", range(CHUNKS + 1))
def test_a_power_cut_at_every_chunk(taken: int, keeps_state: bool) -> None:
    home = house()

    def cut(topic: str, values: Values) -> int:
        if topic == "home/it/ask" and values["chunk"] == taken and home.device.boots == 1:
            home.clock.at(home.clock.now, lambda: home.device.fail(keeps_state, silently=True))
        return 1

    home.broker.way = cut
    home.update()
    home.clock.pass_(0.5)
    if taken == CHUNKS:
        home.device.fail(keeps_state, silently=True)  # all is there; it had not restarted yet
    assert not home.device.is_on
    home.clock.pass_(20)
    before = home.asked()
    home.device.power_on()
    home.clock.pass_(20)
    assert home.abouts()[-1]["firmware"] == "1.1"
    assert home.ledger.installed == {"1.1": 1}
    after = home.asked()[len(before) :]
    if taken == CHUNKS:
        assert after == [], "it was installed"
        assert home.device.boots == 2, "and needs no restart of its own any more"
    elif keeps_state:
        assert sorted(dict.fromkeys(after)) == list(range(taken, CHUNKS)), "it goes on where it was"
    else:
        assert sorted(dict.fromkeys(after)) == list(range(CHUNKS)), "it starts again"


@pytest.mark.parametrize("leaf", ["ask", "chunk", "firmware"])
def test_everything_twice(leaf: str) -> None:
    home = house()
    home.broker.way = lambda topic, values: 2 if topic.endswith(leaf) else 1
    home.update()
    home.clock.pass_(10)
    assert home.ledger.installed == {"1.1": 1}
    assert home.device.boots == 2
    assert home.asked() == list(range(CHUNKS)), "what comes twice is not asked for twice"


@pytest.mark.parametrize("leaf", ["ask", "chunk"])
def test_what_is_lost_is_asked_for_again(leaf: str) -> None:
    home = house()
    lost: list[int] = []

    def way(topic: str, values: Values) -> int:
        if topic == f"home/it/{leaf}" and values["chunk"] == 2 and len(lost) < 3:
            lost.append(home.clock.now)
            return 0
        return 1

    home.broker.way = way
    home.update()
    home.clock.pass_(40)
    assert home.ledger.installed == {"1.1": 1}
    assert home.asked() == [0, 1, 2, 2, 2, 2, 3, 4, 5]
    pauses_s = [round((later - earlier) / SECOND) for earlier, later in pairwise(lost)]
    assert pauses_s == [5, 10]


def test_an_updater_that_is_gone_is_not_asked_for_ever() -> None:
    home = house()
    home.broker.way = lambda topic, values: not topic.endswith("chunk")
    home.update()
    home.clock.pass_(PATIENCE_S)
    assert home.asked() == [0] * MAX_TRIES
    home.broker.way = lambda topic, values: 1
    home.device.roam()
    home.device.disconnected("went over")
    home.device.connected(resumed=True)
    home.clock.pass_(10)
    assert home.ledger.installed == {"1.1": 1}, "a new connection is a new chance"


def test_an_offer_again_is_a_new_chance() -> None:
    home = house()
    home.broker.way = lambda topic, values: not topic.endswith("chunk")
    home.update()
    home.clock.pass_(PATIENCE_S)
    home.broker.way = lambda topic, values: 1
    home.update()
    home.clock.pass_(10)
    assert home.ledger.installed == {"1.1": 1}


def test_a_corrupt_chunk_costs_a_second_round() -> None:
    home = house()
    spoil = msgspec.json.decode(b'{"version": "1.1", "chunk": 3, "data": ""}')
    spoil["data"] = "A" * 4 * (CHUNK_BYTES // 3) + "AAA="

    def way(topic: str, values: Values) -> int:
        if topic == "home/it/ask" and values["chunk"] == 3 and not home.ledger.notes["corrupt"]:
            home.updater.send("home/it/chunk", spoil, "firmware")
        return 1

    home.broker.way = way
    home.update()
    home.clock.pass_(10)
    assert home.ledger.notes["corrupt"] == 1
    assert home.ledger.installed == {"1.1": 1}
    assert home.asked().count(5) == 2


def test_a_new_offer_in_the_middle_wins() -> None:
    home = house()

    def way(topic: str, values: Values) -> int:
        if topic == "home/it/ask" and values["version"] == "1.1" and values["chunk"] == 3:
            home.update("1.2", 2 * SIZE)
        return 1

    home.broker.way = way
    home.update()
    home.clock.pass_(10)
    assert home.ledger.installed == {"1.2": 1}
    assert home.abouts()[-1]["firmware"] == "1.2"
    assert home.device.boots == 2


def test_a_watch_stays_awake_until_it_has_all() -> None:
    home = house(Watch)
    home.clock.pass_(5)
    assert home.port.log[-1] == "sleep"
    home.update()
    home.clock.pass_(5)
    assert home.asked() == [], "asleep"
    lost: list[int] = []

    def way(topic: str, values: Values) -> int:
        if topic == "home/it/chunk" and not lost:
            lost.append(values["chunk"])
            return 0
        return 1

    home.broker.way = way
    home.device.do("wake", {"steps": 0})
    home.clock.pass_(20)
    assert home.abouts()[-1]["firmware"] == "1.1"
    assert home.port.log[-1] == "sleep"


def test_quiet_it_asks_no_more() -> None:
    home = house()

    def way(topic: str, values: Values) -> int:
        if topic == "home/it/ask" and values["chunk"] == 2:
            home.device.quiet()
        return 1

    home.broker.way = way
    home.update()
    home.clock.pass_(PATIENCE_S)
    assert home.asked() == [0, 1, 2]
    assert home.device.firmware == FACTORY_VERSION


@pytest.mark.parametrize("values", [{}, {"version": 1}, {"version": "1.1", "chunk": -1, "data": "?"}])
@pytest.mark.parametrize("leaf", ["firmware", "chunk"])
def test_nonsense_about_firmware_is_counted(leaf: str, values: Values) -> None:
    home = house()
    home.updater.send(f"home/it/{leaf}", values, "firmware")
    home.clock.pass_(1)
    assert home.ledger.notes["nonsense"] == 1
    assert home.asked() == []


def test_an_updater_answers_its_own_targets_and_no_nonsense() -> None:
    home = house()
    ask = {"version": "1.1", "size": SIZE, "chunk_bytes": CHUNK_BYTES, "chunk": 0}
    home.device.send("home/other/ask", ask, "firmware")
    home.device.publish("ask", {**ask, "size": -1}, of="firmware")
    home.clock.pass_(1)
    assert not [message for message in home.ledger.messages if message.topic.endswith("chunk")]
    assert home.ledger.notes["nonsense"] == 1


@settings(deadline=None)
@given(st.lists(st.sampled_from([0, 1, 2]), max_size=60), st.lists(st.tuples(st.integers(1, 30), st.booleans())))
def test_whatever_is_lost_doubled_or_cut_it_is_updated_in_the_end(
    fates: list[int], cuts: list[tuple[int, bool]]
) -> None:
    """Losses come to an end; so do power cuts, after each of which it is on again."""
    home = house()
    home.broker.way = lambda topic, values: fates.pop() if fates and topic.startswith("home/it/") else 1
    home.update()
    for seconds, keeps_state in cuts:
        home.clock.pass_(seconds)
        home.device.fail(keeps_state, silently=True)
        home.device.power_on()
    fates.clear()
    home.update()
    home.clock.pass_(PATIENCE_S)
    assert home.device.firmware == "1.1"
    assert home.ledger.installed["1.1"] == 1
    assert home.abouts()[-1]["firmware"] == "1.1"
