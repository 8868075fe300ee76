"""Every kind by itself: what it plans, what it obeys, what it says."""

import json
from itertools import islice, pairwise
from random import Random

import pytest
from unit.firmware_sim.devices.hands import SECOND, Bench, bench

from firmware_sim.devices import poisonous
from firmware_sim.devices.button import Button
from firmware_sim.devices.dashboard import Dashboard
from firmware_sim.devices.device import Device
from firmware_sim.devices.herald import Herald
from firmware_sim.devices.kinds import KINDS
from firmware_sim.devices.lamp import Lamp
from firmware_sim.devices.lock import Lock
from firmware_sim.devices.meter import Meter
from firmware_sim.devices.motion import Motion
from firmware_sim.devices.poisonous import DEPTH, POISONS, Poisonous
from firmware_sim.devices.port import Delivery
from firmware_sim.devices.relay import Relay
from firmware_sim.devices.remote import Remote
from firmware_sim.devices.stamp import Stamp, Values, seal
from firmware_sim.devices.thermostat import Thermostat
from firmware_sim.devices.tracker import Tracker
from firmware_sim.devices.traits import Target, Traits
from firmware_sim.devices.updater import Updater
from firmware_sim.devices.watch import Watch

TARGETS = tuple(Target(f"home/{number}", Thermostat) for number in range(4))
BY_THEMSELVES = [kind for kind in KINDS.values() if kind not in (Updater, Dashboard)]
OBEDIENT = [kind for kind in KINDS.values() if kind.obeys]


def plan(kind: type[Device], seed: int, **traits: object) -> list[tuple[int, str, Values]]:
    whole = Traits(name="it", place="home", every_ns=SECOND, targets=TARGETS, **traits)  # type: ignore[arg-type]
    return list(islice(kind.plan(whole, Random(seed)), 500))


def test_kinds_are_known_by_their_names() -> None:
    assert list(KINDS) == [
        "lamp", "thermostat", "lock", "motion", "button", "meter", "watch", "tracker", "relay", "dashboard",
        "remote", "herald", "updater", "poisonous",
    ]  # fmt: skip


@pytest.mark.parametrize("reads", ["", "home/lamp/state"])
@pytest.mark.parametrize("kind", BY_THEMSELVES, ids=lambda kind: kind.kind)
def test_a_plan_is_endless_in_order_and_follows_from_the_seed(kind: type[Device], reads: str) -> None:
    steps = plan(kind, 1, reads=reads)
    assert len(steps) == 500
    assert all(earlier[0] <= later[0] for earlier, later in pairwise(steps))
    assert steps[0][0] >= 0
    assert steps == plan(kind, 1, reads=reads)
    assert steps != plan(kind, 2, reads=reads)
    assert json.loads(json.dumps(steps)) == [list(step) for step in steps], "a trace can hold it"


@pytest.mark.parametrize("kind", BY_THEMSELVES, ids=lambda kind: kind.kind)
def test_a_plan_keeps_the_beat_in_the_mean(kind: type[Device]) -> None:
    events = 250 if kind is Motion else 500
    assert plan(kind, 1)[-1][0] / SECOND == pytest.approx(events, rel=0.15)


def test_an_updater_does_nothing_by_itself() -> None:
    assert plan(Updater, 1) == []


@pytest.mark.parametrize("kind", BY_THEMSELVES, ids=lambda kind: kind.kind)
def test_a_device_does_what_it_plans(kind: type[Device]) -> None:
    device = bench(kind, every_ns=SECOND, awake_ns=2 * SECOND, targets=TARGETS, announces="news")
    device.connect()
    said = len(device.port.published)
    device.follow(30)
    assert len(device.port.published) >= said + 15


@pytest.mark.parametrize("kind", KINDS.values(), ids=lambda kind: kind.kind)
def test_what_it_cannot_do_is_a_mistake_of_ours(kind: type[Device]) -> None:
    device = bench(kind, targets=TARGETS)
    with pytest.raises(ValueError, match=f"a {kind.kind} cannot dance"):
        device.device.do("dance", {"target": 0, "seed": 0})


@pytest.mark.parametrize("kind", OBEDIENT, ids=lambda kind: kind.kind)
def test_every_kind_understands_its_own_orders(kind: type[Device]) -> None:
    device = bench(kind)
    device.connect()
    random = Random(1)
    for number in range(50):
        device.order(number=number, **kind.an_order(random))
    assert device.ledger.notes["nonsense"] == 0
    assert device.port.published[-1][1]["obeyed"] == ["phone", 49]


@pytest.mark.parametrize("kind", OBEDIENT, ids=lambda kind: kind.kind)
def test_every_kind_survives_poison(kind: type[Device]) -> None:
    device = bench(kind)
    device.connect()
    state = device.device.state()
    said = len(device.port.published)
    poison = bench(Poisonous, targets=(Target("home/it", kind),))
    poison.device.connected(resumed=False)
    for seed in range(20):
        for verb in POISONS:
            poison.device.do(verb, {"target": 0, "seed": seed})
    came = [payload for topic, payload, _, _ in poison.port.payloads if topic == "home/it/set"]
    for payload in came:
        device.device.delivered(Delivery("home/it/set", payload, 1, repeat=False, stored=False))
    assert device.ledger.notes["nonsense"] == len(came) >= 100
    assert device.device.state() == state
    assert len(device.port.published) == said


@pytest.mark.parametrize(
    ("kind", "nonsense", "why"),
    [
        (Lamp, {"brightness": 3}, "'on' is missing"),
        (Lamp, {"on": 1}, "`on` is 1, neither true nor false"),
        (Lamp, {"on": True, "brightness": "bright"}, "`brightness` is 'bright', no number"),
        (Lamp, {"on": True, "brightness": True}, "`brightness` is True, no number"),
        (Thermostat, {"celsius": 70}, "70.0 degrees is no temperature for a room"),
        (Thermostat, {"celsius": None}, "`celsius` is None, no number"),
        (Watch, {"buzz": "loudly"}, "cannot buzz for 'loudly'"),
        (Relay, {}, "'closed' is missing"),
        (Relay, {"closed": True, "relay": 4}, "there is no relay 4, only 0 to 3"),
        (Relay, {"closed": True, "relay": True}, "there is no relay True, only 0 to 3"),
        (Lock, {"action": "open sesame"}, "`action` is 'open sesame', not one of lock, unlock"),
        (Lock, {"action": ["lock"]}, "`action` is ['lock'], not one of lock, unlock"),
        (Meter, {"tariff": 3}, "there is no tariff 3"),
        (Motion, {"armed": "no"}, "`armed` is 'no', neither true nor false"),
        (Tracker, {"lost": None}, "`lost` is None, neither true nor false"),
    ],
)
def test_nonsense_is_counted_explained_and_not_confirmed(kind: type[Device], nonsense: Values, why: str) -> None:
    device = bench(kind)
    device.connect()
    state = device.device.state()
    said = len(device.port.published)
    device.order(**nonsense)
    assert device.ledger.notes["nonsense"] == 1
    assert f"is nothing that a {kind.kind} understands ({why})" in device.ledger.last_notes["nonsense"]
    assert len(device.port.published) == said
    assert device.device.state() == state


def test_a_number_beyond_all_numbers_is_none() -> None:
    lamp = bench(Lamp)
    lamp.device.delivered(
        Delivery("home/it/set", b'{"on": true, "brightness": 1' + b"0" * 400 + b"}", 1, repeat=False, stored=False)
    )
    assert lamp.ledger.notes["nonsense"] == 1


def test_a_lock_locks_and_unlocks() -> None:
    lock = bench(Lock)
    lock.connect()
    lock.order(action="unlock")
    lock.order(action="lock")
    assert [state["locked"] for state in lock.said("state")] == [True, False, True]


def test_a_relay_board_is_told_relay_by_relay_or_all_at_once() -> None:
    board = bench(Relay)
    board.connect()
    before = board.device.state()
    board.order(relay=2, closed=True)
    assert before == {"closed": [False] * 4}, "what was said stays said"
    board.device.do("report", {"loads": [1.0, 2.0, 3.0, 4.0]})
    assert board.said("reading")[-1] == {"watts": [0.0, 0.0, 3.0, 0.0]}
    board.order(closed=True)
    assert board.said("state")[-1]["closed"] == [True] * 4
    assert board.said("state")[-2]["closed"] == [False, False, True, False]


def test_a_meter_counts_at_its_tariff_and_never_down() -> None:
    meter = bench(Meter, every_ns=SECOND)
    meter.connect()
    meter.follow(20)
    meter.order(tariff=2)
    meter.follow(20)
    readings = [values["watt_hours"] for values in meter.said("reading")]
    assert all(one <= two for earlier, later in pairwise(readings) for one, two in zip(earlier, later, strict=True))
    assert readings[0] == [0, 0]
    assert readings[20][1] == 0 < readings[-1][1]


def test_a_motion_comes_and_goes_as_an_alarm_while_armed() -> None:
    sensor = bench(Motion, every_ns=SECOND, qos=0)
    sensor.connect()
    sensor.follow(30)
    motions = [values["motion"] for values in sensor.said("motion")]
    assert motions == [True, False] * (len(motions) // 2) + [True] * (len(motions) % 2)
    assert {(message.of, message.qos, message.is_state) for message in sensor.ledger.messages[3:]} == {
        ("alarm", 1, False)
    }
    sensor.order(armed=False)
    sensor.device.do("notice", {"motion": True})
    assert len(sensor.said("motion")) == len(motions)


def test_a_press_is_an_alarm_and_not_kept() -> None:
    button = bench(Button, every_ns=SECOND)
    button.connect()
    assert button.port.subscribed == [], "nobody tells a button anything"
    button.follow(10)
    presses = [message for message in button.ledger.messages if message.of == "alarm"]
    assert presses
    assert not any(message.is_state for message in presses)


def test_a_tracker_moves_along_its_planned_path() -> None:
    tracker = bench(Tracker, every_ns=SECOND)
    tracker.connect()
    tracker.follow(20, seed=5)
    places = tracker.said("reading")
    assert places == [values for _, _, values in plan(Tracker, 5)[:20]]
    assert all(0.0005 < abs(one["latitude"] - two["latitude"]) + abs(one["longitude"] - two["longitude"]) < 0.002
               for one, two in pairwise(places))  # fmt: skip


def test_a_remote_commands_and_knows_its_confirmations() -> None:
    remote = bench(Remote, targets=(Target("home/room", Thermostat),), lifetime_s=60)
    remote.connect()
    remote.device.do("order", {"target": 0, "order": {"celsius": 21}})
    topic, values, number, retain = remote.port.published[-1]
    assert (topic, values, number, retain) == ("home/room/set", {"celsius": 21}, 1, True), "a set-point is a state"
    assert remote.port.payloads[-1][3] == 60

    def confirm(name: str, number: object, run: str = "run") -> None:
        payload = seal({"obeyed": [name, number]}, Stamp(run, "room", 1, 0))
        remote.device.delivered(Delivery("home/room/state", payload, 1, repeat=False, stored=False))

    confirm("somebody else", 1)
    confirm("it", 1, run="the one before")
    confirm("it", "one")
    assert remote.ledger.confirmed_ns == {}
    remote.clock.now = 7
    confirm("it", 1)
    remote.clock.now = 8
    confirm("it", 1)
    assert remote.ledger.confirmed_ns == {("it", "home/room/set", 1): 7}, "the first one counts"


@pytest.mark.parametrize(("given_s", "lifetime_s"), [(0, Lock.order_lifetime_s), (3, 3)])
def test_nobody_leaves_an_unlock_for_later(given_s: int, lifetime_s: int) -> None:
    remote = bench(Remote, targets=(Target("home/door", Lock),), lifetime_s=given_s)
    remote.connect()
    remote.device.do("order", {"target": 0, "order": {"action": "unlock"}})
    assert remote.port.published[-1][3] is False
    assert remote.port.payloads[-1][3] == lifetime_s > 0


def test_a_dashboard_hears_and_says_only_that_it_is_there() -> None:
    dashboard = bench(Dashboard, hears=("home/+/state",))
    dashboard.connect()
    assert [topic_filter for topic_filter, _ in dashboard.port.subscribed] == ["home/+/state"]
    assert [topic for topic, *_ in dashboard.port.published] == ["home/it/about", "home/it/online"]


def test_a_class_of_messages_that_nobody_knows_is_a_programming_error() -> None:
    lamp = bench(Lamp)
    lamp.connect()
    with pytest.raises(ValueError, match="no class of messages `stat`; there are order, state"):
        lamp.device.send("home/it/stat", {}, "stat")


def test_a_herald_speaks_to_its_topic() -> None:
    herald = bench(Herald, every_ns=SECOND, announces="news")
    herald.connect()
    herald.follow(3)
    assert [(topic, number) for topic, _, number, _ in herald.port.published[2:]] == [("news", n) for n in (1, 2, 3)]


def poisoned(verb: str, qos: int = 1) -> Bench:
    device = bench(Poisonous, targets=TARGETS, qos=qos)
    device.connect()
    device.port.published.clear()
    device.port.payloads.clear()
    device.device.do(verb, {"target": 2, "seed": 1})
    return device


@pytest.mark.parametrize("verb", ["broken", "empty", "binary", "deep"])
def test_what_cannot_carry_a_stamp_is_in_nobodys_books(verb: str) -> None:
    device = poisoned(verb)
    booked = len(device.ledger.messages)
    ((topic, payload, qos, _),) = device.port.payloads
    assert (topic, qos) == ("home/2/set", 0)
    with pytest.raises((ValueError, RecursionError)):
        json.loads(payload)
    assert len(device.ledger.messages) == booked == 2
    device.device.refused(poisonous.NO_TICKET, "too much")
    assert not any(message.refused for message in device.ledger.messages)
    assert verb != "deep" or payload.count(b"{") == DEPTH


@pytest.mark.parametrize("verb", ["wrong", "huge", "garbage", "long", "many"])
def test_what_can_carry_a_stamp_is_accounted_for(verb: str) -> None:
    device = poisoned(verb)
    assert device.port.published
    assert all(number == 1 for _, _, number, _ in device.port.published)
    assert [message.of for message in device.ledger.messages[2:]] == ["poison"] * len(device.port.published)
    assert all(len(topic.encode()) <= 65_535 for topic, _, _, _ in device.port.published)
    device.device.refused(2, "too much")
    assert device.ledger.messages[2].refused == "too much"
