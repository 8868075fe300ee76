"""What the ledger writes down besides messages: gaps, ends, what is awaited; and nothing after the end."""

import pytest

from firmware_sim.devices.port import Delivery
from firmware_sim.devices.stamp import Stamp
from firmware_sim.report.ledger import CLOSED, Ledger, Message

TOPIC = "fleet/home/lamp-1/state"


def message(number: int = 1, topic: str = TOPIC) -> Message:
    return Message("lamp-1", topic, number, number * 10, 1, True, "state", b"{}", "edge")


def arrive(ledger: Ledger, number: int = 1, name: str = "phone-1", topic: str = TOPIC) -> None:
    delivery = Delivery(topic, b"{}", 1, repeat=False, stored=False)
    ledger.received(name, "centre", delivery, Stamp("run", "lamp-1", number, number * 10), number * 10 + 5, False)


@pytest.fixture
def ledger() -> Ledger:
    ledger = Ledger("run")
    ledger.listens("phone-1", TOPIC, 1, "centre", latest_only=False, now_ns=0)
    return ledger


def test_a_gap_lasts_from_the_last_connection_until_all_is_confirmed_again(ledger: Ledger) -> None:
    ledger.listens("phone-1", "fleet/news", 1, "centre", latest_only=False, now_ns=0)
    ledger.disconnected("phone-1", "reset", 50)
    ledger.forgotten("phone-1", 70)
    ledger.listens("phone-1", TOPIC, 1, "centre", latest_only=False, now_ns=80)
    assert [(gap.from_ns, gap.until_ns) for gap in ledger.gaps["phone-1"]] == [(50, None)]
    ledger.forgotten("phone-1", 85)
    ledger.listens("phone-1", TOPIC, 1, "centre", latest_only=False, now_ns=90)
    ledger.listens("phone-1", "fleet/news", 1, "centre", latest_only=False, now_ns=95)
    assert [(gap.from_ns, gap.until_ns) for gap in ledger.gaps["phone-1"]] == [(50, 95)], "forgotten twice, one gap"


def test_the_first_time_is_no_gap(ledger: Ledger) -> None:
    ledger.forgotten("new-1", 5)
    ledger.listens("new-1", TOPIC, 1, "centre", latest_only=False, now_ns=9)
    assert not ledger.gaps["new-1"]
    ticket = ledger.sent(message())
    assert ledger.messages[ticket].due["new-1"].since_ns == 9


def test_an_end_of_its_own_is_no_failure(ledger: Ledger) -> None:
    ledger.left("phone-1", 5)
    ledger.disconnected("phone-1", "reset", 7)
    assert (ledger.ends["phone-1"], ledger.failures["phone-1"]) == ([5, 7], [7])
    assert ledger.last_notes["disconnected"] == "phone-1: reset"


def test_what_is_awaited(ledger: Ledger) -> None:
    ledger.listens("watch-1", "fleet/#", 1, "centre", latest_only=False, now_ns=0)
    for number in (1, 2):
        ledger.sent(message(number))
    assert ledger.awaited == 4
    arrive(ledger, 1)
    arrive(ledger, 1)
    assert ledger.awaited == 3
    ledger.refused(1, "quota")
    ledger.refused(1, "quota again")
    assert ledger.awaited == 1
    arrive(ledger, 2)
    assert ledger.awaited == 1, "refused, and there all the same"
    arrive(ledger, 1, "watch-1")
    assert ledger.awaited == 0


def test_a_subscription_counts_from_when_it_is_confirmed_also_for_topics_that_were_used(ledger: Ledger) -> None:
    assert list(ledger.messages[ledger.sent(message(1))].due) == ["phone-1"]
    ledger.listens("watch-1", "fleet/+/lamp-1/state", 1, "centre", latest_only=False, now_ns=0)
    ledger.listens("clock-1", TOPIC, 1, "centre", latest_only=False, now_ns=0)
    assert list(ledger.messages[ledger.sent(message(2))].due) == ["phone-1", "clock-1", "watch-1"]
    assert list(ledger.messages[0].due) == ["phone-1"]


def test_after_the_end_nothing_counts(ledger: Ledger) -> None:
    ticket = ledger.sent(message(1))
    ledger.close(50)
    assert ledger.sent(message(2)) == CLOSED
    ledger.accepted(CLOSED, 5)
    ledger.refused(ticket, "no")
    ledger.unanswered(ticket, "no")
    ledger.resent([ticket])
    arrive(ledger)
    assert len(ledger.messages) == 1
    first = ledger.messages[0]
    assert (first.accepted_ns, first.refused, first.unanswered, first.was_resent) == (None, "", "", False)
    assert (ledger.received_total, ledger.awaited) == (0, 1)


def test_only_the_first_confirmation_of_an_order_counts(ledger: Ledger) -> None:
    ledger.confirmed("phone-1", "fleet/home/lamp-1/set", 1, 50)
    ledger.confirmed("phone-1", "fleet/home/lamp-1/set", 1, 60)
    assert ledger.confirmed_ns == {("phone-1", "fleet/home/lamp-1/set", 1): 50}


def test_how_many_were_awaited_is_known_afterwards(ledger: Ledger) -> None:
    ledger.listens("wall-1", TOPIC, 1, "edge", latest_only=False, now_ns=0)
    for number in (1, 2, 3):
        ledger.sent(message(number))  # at 10, 20, 30
    arrive(ledger, 1)  # at 15
    arrive(ledger, 2)  # at 25
    arrive(ledger, 2, "wall-1")
    ledger.refused(2, "no")
    assert ledger.awaited_at([0, 10, 14, 15, 20, 25, 99]) == [0, 2, 2, 1, 3, 1, 1]
    assert ledger.awaited_at([]) == []
    assert Ledger("run").awaited_at([5]) == [0]
