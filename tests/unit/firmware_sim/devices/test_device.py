"""What all devices have in common: boot, announce, obey, sleep, fail, stand still. A port and a clock held by hand."""

import asyncio

import pytest
from unit.firmware_sim.devices.hands import SECOND, bench

from firmware_sim.devices.device import REBOOT_NS
from firmware_sim.devices.lamp import Lamp
from firmware_sim.devices.port import Delivery
from firmware_sim.devices.relay import Relay
from firmware_sim.devices.stamp import Stamp, seal
from firmware_sim.devices.thermostat import Thermostat
from firmware_sim.devices.traits import Traits

FILTERS = ["home/it/set", "home/it/firmware", "home/it/chunk", "news"]


def test_a_device_announces_itself_once_per_boot_and_subscribes_where_it_was_forgotten() -> None:
    lamp = bench(Lamp, hears=("news",))
    lamp.device.connected(resumed=False)
    assert lamp.port.subscribed == [(topic_filter, 1) for topic_filter in FILTERS]
    assert lamp.port.published == [
        ("home/it/about", {"kind": "lamp", "boot": 1, "firmware": "1.0"}, 1, True),
        ("home/it/online", {"online": True}, 1, True),
        ("home/it/state", {"on": False, "brightness": 100}, 1, True),
    ]
    assert not lamp.device.is_ready
    for topic_filter in FILTERS:
        lamp.device.subscribed(topic_filter)
    assert lamp.device.is_ready
    lamp.device.disconnected("gone")
    assert not lamp.device.is_ready
    lamp.device.connected(resumed=True)
    assert lamp.device.is_ready
    assert (len(lamp.port.subscribed), len(lamp.port.published)) == (4, 3)
    lamp.device.connected(resumed=False)
    assert len(lamp.port.subscribed) == 8
    assert not lamp.device.is_ready, "what it had been promised was forgotten"


def test_what_listens_for_no_firmware_asks_for_less() -> None:
    lamp = bench(Lamp, takes_firmware=False)
    lamp.device.connected(resumed=False)
    assert lamp.port.subscribed == [("home/it/set", 1)]


def test_its_will_is_what_it_says_when_it_goes_in_order() -> None:
    lamp = bench(Lamp)
    lamp.connect()
    will = Lamp.will(Traits(name="it", place="home"))
    lamp.device.power_off()
    assert lamp.port.published[-1] == (will.topic, {"online": False}, 2, True)
    assert will.payload == b'{"online":false}'
    assert lamp.port.log == ["open", "sleep"]


def test_an_order_is_obeyed_and_confirmed_by_name() -> None:
    lamp = bench(Lamp)
    lamp.connect()
    lamp.order(number=5, on=True, brightness=30)
    topic, values, number, retain = lamp.port.published[-1]
    assert (topic, number, retain) == ("home/it/state", 2, True)
    assert values == {"on": True, "brightness": 30, "obeyed": ["phone", 5]}


@pytest.mark.parametrize("order", [b'{"on": true}', seal({"on": True}, Stamp("the run before", "phone", 2, 0))])
def test_an_order_from_elsewhere_is_obeyed_and_told(order: bytes) -> None:
    """By hand, or retained by another run: nobody here waits for a confirmation."""
    lamp = bench(Lamp)
    lamp.connect()
    lamp.device.delivered(Delivery("home/it/set", order, 1, repeat=False, stored=True))
    assert lamp.port.published[-1][1] == {"on": True, "brightness": 100}


def test_what_is_no_order_at_all_is_shown_beside_one() -> None:
    lamp = bench(Lamp)
    lamp.connect()
    lamp.device.delivered(Delivery("home/it/set", b"rubbish \xff" + b"." * 1000, 1, repeat=False, stored=False))
    words = lamp.ledger.last_notes["nonsense"]
    assert words.startswith("it: `rubbish \N{REPLACEMENT CHARACTER}...")
    assert '; an order is {"on":' in words
    assert len(words) < 250


def test_a_device_knows_its_trouble_until_it_is_over() -> None:
    lamp = bench(Lamp)
    lamp.device.disconnected("nobody there")
    assert lamp.device.trouble == "nobody there"
    lamp.connect()
    assert lamp.device.trouble == ""


def test_it_reports_on_its_beat_and_what_it_is_when_that_changed() -> None:
    thermostat = bench(Thermostat, every_ns=2 * SECOND)
    thermostat.connect()
    thermostat.follow(20)
    readings = [values["celsius"] for values in thermostat.said("reading")]
    assert len(readings) == 11, "one when it announced itself, then one each two seconds"
    thermostat.order(celsius=16)
    said = len(thermostat.said("state"))
    thermostat.device.celsius = 16.0  # type: ignore[attr-defined]
    thermostat.device.do("report", {"draught": -0.1})
    thermostat.device.do("report", {"draught": 0.0})
    assert [state["heating"] for state in thermostat.said("state")[said:]] == [True], "once: it began to heat"


def test_quiet_it_says_nothing_by_itself_and_still_obeys() -> None:
    relay = bench(Relay)
    relay.connect()
    relay.device.quiet()
    said = len(relay.port.published)
    relay.device.do("report", {"loads": [0] * 4})
    assert len(relay.port.published) == said
    relay.order(closed=True)
    assert len(relay.port.published) == said + 1


def test_a_thermostat_asks_and_the_answer_is_timed() -> None:
    thermostat = bench(Thermostat, reads="home/lamp/state", way="edge")
    thermostat.connect()
    thermostat.clock.now = 5
    thermostat.device.do("ask", {})
    assert thermostat.port.reads == ["home/lamp/state"]
    thermostat.clock.now = 25
    thermostat.device.answered("home/lamp/state", b"{}")
    assert thermostat.ledger.answers == [("edge", 25, 20, True)]


@pytest.mark.parametrize("qos", [0, 1])
def test_offline_qos_0_is_not_sent_and_qos_1_waits(qos: int) -> None:
    lamp = bench(Lamp, qos=qos)
    lamp.device.report_state()
    assert len(lamp.ledger.messages) == qos


def test_an_alarm_is_sent_to_be_acknowledged_whatever_else_is() -> None:
    lamp = bench(Lamp, qos=0)
    lamp.device.publish("fire", {}, of="alarm")
    lamp.device.connected(resumed=True)
    lamp.device.publish("smoke", {}, of="news")
    assert [(message.of, message.qos) for message in lamp.ledger.messages if message.of in ("alarm", "news")] == [
        ("alarm", 1),
        ("news", 0),
    ]


# ---- Off, failed, back


def test_what_is_off_does_nothing_and_announces_itself_when_it_is_back() -> None:
    lamp = bench(Lamp)
    lamp.connect()
    lamp.order(on=True)
    lamp.device.power_off()
    said = len(lamp.port.published)
    lamp.device.do("report", {})
    lamp.device.report_state()
    assert len(lamp.port.published) == said
    lamp.device.power_on()
    lamp.device.power_on()
    lamp.device.connected(resumed=True)
    assert lamp.port.log == ["open", "sleep", "open"]
    assert lamp.said("about")[-1]["boot"] == 2
    assert lamp.said("state")[-1]["on"], "settings outlive a switch"


def test_a_connection_that_comes_after_it_was_switched_off_is_none() -> None:
    lamp = bench(Lamp)
    lamp.device.power_off()
    lamp.device.connected(resumed=False)
    assert not lamp.device.is_connected
    assert lamp.port.subscribed == []


@pytest.mark.parametrize(("keeps_state", "is_lit"), [(True, True), (False, False)])
@pytest.mark.parametrize("silently", [True, False])
def test_it_fails_and_comes_back_with_its_state_or_as_new(keeps_state: bool, is_lit: bool, silently: bool) -> None:
    lamp = bench(Lamp)
    lamp.connect()
    lamp.order(on=True)
    lamp.device.fail(keeps_state, silently)
    assert lamp.port.log[-1] == f"fail{' keeping its state' * keeps_state}{' silently' * silently}"
    assert not lamp.device.is_connected
    lamp.device.power_on()
    lamp.device.connected(resumed=keeps_state)
    assert lamp.said("state")[-1]["on"] is is_lit
    assert [number for topic, _, number, _ in lamp.port.published if topic == "home/it/about"] == [1, 2]


def test_what_is_off_has_nothing_to_lose() -> None:
    lamp = bench(Lamp)
    lamp.connect()
    lamp.order(on=True)
    lamp.device.power_off()
    log = [*lamp.port.log]
    lamp.device.fail(keeps_state=False, silently=True)
    assert lamp.port.log == log
    assert lamp.device.is_lit  # type: ignore[attr-defined]


def test_the_ledger_knows_since_when_nobody_was_there() -> None:
    """From the end of the connection, not from the last attempt to have a new one."""
    lamp = bench(Lamp)
    lamp.connect()
    lamp.clock.now = 10
    lamp.device.disconnected("gone")
    for lamp.clock.now in (20, 30):
        lamp.device.disconnected("still gone")
    lamp.clock.now = 40
    lamp.connect()
    (gap,) = lamp.ledger.gaps["it"]
    assert (gap.from_ns, gap.until_ns) == (10, 40)
    lamp.clock.now = 50
    lamp.device.fail(keeps_state=False, silently=True)
    lamp.clock.now = 60
    lamp.device.power_on()
    lamp.connect()
    assert (lamp.ledger.gaps["it"][1].from_ns, lamp.ledger.notes["disconnected"]) == (50, 3)


def test_a_reboot_takes_a_moment() -> None:
    lamp = bench(Lamp)
    lamp.connect()
    lamp.device.reboot()
    assert not lamp.device.is_on
    lamp.clock.pass_(REBOOT_NS / SECOND)
    assert lamp.device.is_on
    assert lamp.device.boots == 2


@pytest.mark.parametrize("decision", ["power_off", "fail"])
def test_a_reboot_ends_where_somebody_decides_otherwise(decision: str) -> None:
    lamp = bench(Lamp)
    lamp.connect()
    lamp.device.reboot()
    if decision == "fail":
        lamp.device.fail(keeps_state=True, silently=True)
    else:
        lamp.device.power_off()
    lamp.clock.pass_(60)
    assert not lamp.device.is_on


# ---- Standing still


def test_paused_it_does_nothing_and_does_late_what_was_due() -> None:
    lamp = bench(Lamp)
    lamp.connect()
    said = len(lamp.port.published)
    done: list[str] = []
    lamp.device.later(SECOND, lambda: done.append("later"))
    lamp.device.pause(True)
    lamp.device.do("report", {})
    lamp.clock.pass_(5)
    assert (lamp.port.log[-1], len(lamp.port.published), done) == ("stall", said, [])
    lamp.device.pause(False)
    assert (lamp.port.log[-1], len(lamp.port.published), done) == ("read on", said + 1, ["later"])


def test_what_is_killed_while_it_stands_still_does_not_stand_still_when_it_is_back() -> None:
    lamp = bench(Lamp)
    lamp.connect()
    lamp.device.pause(True)
    lamp.device.do("report", {})
    lamp.device.fail(keeps_state=True, silently=False)
    lamp.device.power_on()
    lamp.device.connected(resumed=True)
    said = len(lamp.port.published)
    lamp.device.do("report", {})
    lamp.device.pause(False)
    assert len(lamp.port.published) == said + 1, "the missed step died with it"
    assert lamp.port.log == ["open", "stall", "fail keeping its state", "read on", "open"]


def test_what_has_no_power_cannot_be_paused() -> None:
    lamp = bench(Lamp, on=False)
    lamp.device.pause(True)
    lamp.device.power_on()
    lamp.connect()
    assert lamp.port.log == ["open"]
    lamp.device.do("report", {})
    assert len(lamp.said("state")) == 2


def test_a_slow_reader_that_was_paused_is_slow_again() -> None:
    lamp = bench(Lamp)
    lamp.device.stall(True)
    lamp.device.pause(True)
    lamp.device.pause(False)
    assert lamp.port.log[-1] == "stall"
    lamp.device.stall(False)
    assert lamp.port.log[-1] == "read on"
    lamp.device.do("report", {})
    assert len(lamp.said("state")) == 1


def test_what_was_put_off_dies_with_the_power() -> None:
    lamp = bench(Lamp)
    done: list[str] = []
    lamp.device.later(SECOND, lambda: done.append("later"))
    lamp.device.power_off()
    lamp.device.power_on()
    lamp.clock.pass_(5)
    assert done == []


def test_at_the_end_it_takes_back_what_was_kept_of_it() -> None:
    lamp = bench(Lamp)
    lamp.connect()
    asyncio.run(lamp.device.close())
    assert lamp.port.log == ["open", *(f"forget home/it/{leaf}" for leaf in ("about", "online", "state")), "close"]
