"""What a device that is run by hand reads aloud: a trouble once, until it changes or is over."""

import pytest

from firmware_sim.devices.by_hand import TalkingLedger
from firmware_sim.devices.port import Delivery

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
