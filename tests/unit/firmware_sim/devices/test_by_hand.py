"""A device that is run by hand: where it can connect, what it does, what it reads aloud."""

import pytest
from unit.firmware_sim.devices.hands import SECOND, bench

from firmware_sim.devices.by_hand import TalkingLedger, WrongAddressError, _follow, address_for
from firmware_sim.devices.lamp import Lamp
from firmware_sim.devices.port import Delivery
from firmware_sim.devices.thermostat import Thermostat
from oriole.urls import Endpoint

OVER = {
    "it connected": lambda ledger: ledger.note("connected", "relay"),
    "it heard something": lambda ledger: ledger.received(
        "relay", "edge", Delivery("a", b"", 1, repeat=False, stored=False), None, 0, was_away=False
    ),
}


@pytest.mark.parametrize("over", OVER.values(), ids=OVER)
def test_a_trouble_is_said_once(capsys: pytest.CaptureFixture[str], over: object) -> None:
    ledger = TalkingLedger("run")

    def said() -> list[str]:
        return [line for line in capsys.readouterr().out.splitlines() if line.startswith("!")]

    for _ in range(3):
        ledger.note("disconnected", "relay: no such file")
        ledger.note("unanswered", "relay: no answer")
    assert said() == ["! disconnected: relay: no such file", "! unanswered: relay: no answer"]
    ledger.note("disconnected", "relay: not allowed")
    assert said() == ["! disconnected: relay: not allowed"]
    assert callable(over)
    over(ledger)
    ledger.note("disconnected", "relay: no such file")
    assert said() == ["! disconnected: relay: no such file"]
    assert ledger.notes["disconnected"] == 5, "counted every time"


def test_a_trouble_that_stays_the_same_is_that_of_the_device(capsys: pytest.CaptureFixture[str]) -> None:
    """It lost its connection, then cannot have a new one: each is said once."""
    lamp = bench(Lamp)
    lamp.device._ledger = TalkingLedger("run")
    lamp.connect()
    for reason in ("gone", "refused", "refused"):
        lamp.device.disconnected(reason)
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("!")]
    assert said == ["! disconnected: it: gone", "! disconnected: it: refused"]


def test_it_does_what_is_planned() -> None:
    lamp = bench(Lamp, every_ns=SECOND)
    lamp.connect()
    _follow(lamp.device, lamp.clock, iter((number * SECOND, "report", {}) for number in range(1, 10)), 0)
    lamp.clock.pass_(3.5)
    assert len(lamp.said("state")) == 4


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("127.0.0.1", "`127.0.0.1` is no URL: write it like coap://127.0.0.1:5683"),
        ("serial:///dev/ttyUSB0", "a thermostat speaks coap:// or mqtt://, not serial://"),
    ],
)
def test_an_address_that_it_cannot_use_is_refused(url: str, words: str) -> None:
    with pytest.raises(WrongAddressError, match=words):
        address_for(Thermostat, url)


def test_an_address_that_it_can_use() -> None:
    address = address_for(Thermostat, "MQTT://127.0.0.1")
    assert isinstance(address, Endpoint)
    assert (address.scheme, address.port) == ("mqtt", 1883)
