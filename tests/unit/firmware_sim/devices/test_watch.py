"""A watch sleeps between beats, and never before it has what it woke for."""

from unit.firmware_sim.devices.hands import SECOND, Bench, bench

from firmware_sim.devices.port import Delivery
from firmware_sim.devices.stamp import Stamp, seal
from firmware_sim.devices.watch import Watch


def awake(**traits: object) -> Bench:
    watch = bench(Watch, every_ns=10 * SECOND, awake_ns=SECOND, **traits)
    watch.connect()
    return watch


def test_it_wakes_connects_reports_stays_and_dozes_off() -> None:
    watch = awake()
    assert watch.device.is_ready
    watch.clock.pass_(2)
    assert watch.port.log == ["open", "sleep"]
    assert watch.device.is_ready, "asleep is how it is meant to be"
    assert not watch.device.is_connected
    watch.device.do("wake", {"steps": 70})
    assert len(watch.said("state")) == 1, "nobody listens yet"
    assert not watch.device.is_ready
    watch.clock.pass_(30)
    assert watch.port.log == ["open", "sleep", "open"], "it stays until it is connected, however long that takes"
    watch.connect(resumed=True)
    assert watch.said("state")[-1] == {"buzzes": 0, "steps": 70}
    watch.clock.pass_(0.9)
    assert watch.port.log[-1] == "open"
    watch.clock.pass_(0.2)
    assert watch.port.log[-1] == "sleep"


def test_it_does_not_sleep_before_its_subscriptions_stand() -> None:
    watch = bench(Watch, awake_ns=SECOND)
    watch.device.connected(resumed=False)
    watch.clock.pass_(10)
    assert watch.port.log == ["open"]
    for topic_filter, _ in watch.port.subscribed:
        watch.device.subscribed(topic_filter)
    watch.clock.pass_(0.9)
    assert watch.port.log == ["open"]
    watch.clock.pass_(0.2)
    assert watch.port.log == ["open", "sleep"]


def test_a_beat_while_it_is_awake_keeps_it_awake() -> None:
    watch = awake()
    watch.clock.pass_(0.5)
    watch.device.do("wake", {"steps": 5})
    assert watch.said("state")[-1]["steps"] == 5
    watch.clock.pass_(0.9)
    assert "sleep" not in watch.port.log
    watch.clock.pass_(0.2)
    assert watch.port.log[-1] == "sleep"


def test_a_connection_lost_while_awake_is_waited_for() -> None:
    watch = awake()
    watch.device.disconnected("gone")
    watch.clock.pass_(20)
    assert watch.port.log == ["open"]
    watch.connect(resumed=True)
    watch.clock.pass_(1)
    assert watch.port.log == ["open", "sleep"]


def test_quiet_it_is_awake_for_good() -> None:
    watch = awake()
    watch.clock.pass_(2)
    watch.device.quiet()
    assert watch.port.log[-1] == "open"
    watch.connect(resumed=True)
    watch.clock.pass_(30)
    assert watch.port.log[-1] == "open"


def test_off_it_is_neither_awake_nor_ready() -> None:
    watch = awake()
    watch.clock.pass_(2)
    watch.device.power_off()
    watch.device.quiet()
    assert not watch.device.is_ready
    assert "open" not in watch.port.log[1:]
    watch.device.power_on()
    watch.connect(resumed=True)
    watch.clock.pass_(2)
    assert watch.port.log[-1] == "open", "it came back to collect what waits"


def test_steps_are_counted_while_nobody_listens_and_lost_with_its_memory() -> None:
    watch = awake()
    for _ in range(3):
        watch.device.do("wake", {"steps": 10})
    watch.device.fail(keeps_state=True, silently=True)
    watch.device.do("wake", {"steps": 10})
    watch.device.power_on()
    watch.connect(resumed=True)
    assert watch.said("state")[-1]["steps"] == 30
    watch.device.fail(keeps_state=False, silently=True)
    watch.device.power_on()
    watch.connect(resumed=False)
    assert watch.said("state")[-1]["steps"] == 0


def test_what_was_sent_while_it_slept_is_marked() -> None:
    watch = awake()
    payload = seal({"buzz": "call"}, Stamp("run", "phone", 1, 5))
    watch.ledger._tickets["phone", "home/it/set", 1] = 0
    watch.clock.now = 100
    watch.device.connected(resumed=True)
    watch.device.delivered(Delivery("home/it/set", payload, 1, repeat=False, stored=False))
    (copies,) = watch.ledger.copies.values()
    assert copies.was_away
    assert watch.said("state")[-1]["buzzes"] == 1
