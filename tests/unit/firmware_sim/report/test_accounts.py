"""The books: each way a message can end, and the sums over any sequence of events."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.devices.port import Delivery
from firmware_sim.devices.stamp import Stamp
from firmware_sim.report.accounts import Accounts, close_books
from firmware_sim.report.ledger import Ledger, Message

MS = 1_000_000
TOPIC = "fleet/home/lamp/state"


@dataclass
class Scene:
    """A publisher, a subscriber and a ledger that hears from both."""

    ledger: Ledger
    number: int = 0

    def send(self, at_ns: int = 0, qos: int = 1, state: bool = False, topic: str = TOPIC) -> int:
        self.number += 1
        return self.ledger.sent(Message("lamp-1", topic, self.number, at_ns, qos, state, "state", b"{}", "edge"))

    def arrive(
        self,
        ticket: int,
        name: str = "phone",
        now_ns: int = MS,
        repeat: bool = False,
        stored: bool = False,
        away: bool = False,
    ) -> None:
        message = self.ledger.messages[ticket]
        stamp = Stamp(self.ledger.run, message.publisher, message.number, message.at_ns)
        delivery = Delivery(message.topic, b"", message.qos, repeat, stored)
        self.ledger.received(name, "centre", delivery, stamp, now_ns, away)

    def books(self) -> Accounts:
        accounts = close_books(self.ledger, late_ms=1000)
        assert accounts.adds_up
        return accounts


@pytest.fixture
def scene() -> Scene:
    ledger = Ledger("run")
    ledger.listens("phone", "fleet/#", 1, "centre", latest_only=False, now_ns=0)
    return Scene(ledger)


def test_delivered_late_and_after_sleep(scene: Scene) -> None:
    scene.arrive(scene.send())
    scene.arrive(scene.send(at_ns=0), now_ns=1001 * MS)
    scene.arrive(scene.send(at_ns=0), now_ns=9000 * MS, away=True)
    total = scene.books().total
    assert (total.due, total.delivered, total.late, total.after_sleep) == (3, 3, 1, 1)
    assert len(scene.ledger.ways["edge", "centre"].samples) == 2, "sleep is no latency"


def test_lost_by_the_lower_qos(scene: Scene) -> None:
    scene.ledger.listens("careless", "fleet/home/#", 0, "centre", latest_only=False, now_ns=0)
    scene.send(qos=2)
    scene.send(qos=0)
    accounts = scene.books()
    assert (accounts.total.lost, accounts.total.lost_qos0) == (1, 3)
    assert not accounts.is_clean
    assert accounts.faults == ["lost: no. 1 of lamp-1 on fleet/home/lamp/state, QoS 2, to phone"]


def test_qos_0_losses_alone_are_clean(scene: Scene) -> None:
    scene.send(qos=0)
    assert scene.books().is_clean


def test_a_second_copy_is_doubled(scene: Scene) -> None:
    ticket = scene.send()
    scene.arrive(ticket)
    scene.arrive(ticket)
    accounts = scene.books()
    assert (accounts.total.delivered, accounts.total.doubled) == (1, 1)
    assert not accounts.is_clean


@pytest.mark.parametrize(("sent", "granted", "doubled"), [(1, 1, 0), (2, 1, 0), (1, 2, 0), (2, 2, 1)])
def test_a_marked_repeat_is_a_double_only_where_both_ends_have_qos_2(sent: int, granted: int, doubled: int) -> None:
    scene = Scene(Ledger("run"))
    scene.ledger.listens("phone", "fleet/#", granted, "centre", latest_only=False, now_ns=0)
    ticket = scene.send(qos=sent)
    scene.arrive(ticket)
    scene.arrive(ticket, repeat=True)
    total = scene.books().total
    assert (total.doubled, total.repeated) == (doubled, 1 - doubled)


@pytest.mark.parametrize(("asked_ns", "doubled"), [(60_000 * MS, 0), (5_000 * MS, 2), (200_000 * MS, 2)])
def test_a_state_handed_out_again_to_one_who_did_not_ask_is_a_double(scene: Scene, asked_ns: int, doubled: int) -> None:
    ticket = scene.send(at_ns=10_000 * MS, state=True)
    scene.arrive(ticket, now_ns=10_000 * MS)
    scene.ledger.listens("phone", "fleet/#", 1, "centre", latest_only=False, now_ns=asked_ns)
    scene.arrive(ticket, now_ns=61_000 * MS, stored=True)
    scene.arrive(ticket, now_ns=61_000 * MS, stored=True)
    accounts = scene.books()
    assert (accounts.total.doubled, accounts.stored) == (doubled, 2 - doubled)


@pytest.mark.parametrize(("qos", "doubled"), [(1, 0), (2, 1)])
def test_what_the_publisher_sent_again_may_come_again_only_with_qos_1(scene: Scene, qos: int, doubled: int) -> None:
    ticket = scene.send(qos=qos)
    scene.ledger.resent([ticket])
    scene.arrive(ticket)
    scene.arrive(ticket)
    assert scene.books().total.doubled == doubled


def test_a_newer_state_replaces_an_event_does_not(scene: Scene) -> None:
    scene.send(at_ns=1, state=True)
    scene.send(at_ns=2, state=False)
    scene.arrive(scene.send(at_ns=3, state=True))
    total = scene.books().total
    assert (total.delivered, total.replaced, total.lost) == (1, 1, 1)


def test_the_newest_state_cannot_be_replaced(scene: Scene) -> None:
    scene.arrive(scene.send(at_ns=1, state=True))
    scene.send(at_ns=2, state=True)
    assert scene.books().total.lost == 1


def test_an_observer_is_promised_states_only() -> None:
    scene = Scene(Ledger("run"))
    scene.ledger.listens("thermostat", TOPIC, 1, "centre", latest_only=True, now_ns=0)
    scene.send(at_ns=1)
    newest = scene.send(at_ns=2)
    scene.arrive(newest, "thermostat")
    scene.arrive(newest, "thermostat")
    accounts = scene.books()
    assert (accounts.total.replaced, accounts.total.doubled, accounts.stored) == (1, 0, 1)


def test_refused_is_nobodys_loss_unless_it_arrives(scene: Scene) -> None:
    scene.ledger.refused(scene.send(), "quota")
    arrived = scene.send()
    scene.ledger.refused(arrived, "quota")
    scene.arrive(arrived)
    total = scene.books().total
    assert (total.refused, total.delivered, total.lost) == (1, 1, 0)


def test_what_was_sent_before_the_subscription_is_not_due(scene: Scene) -> None:
    early = scene.send()
    scene.ledger.listens("late comer", "fleet/#", 1, "edge", latest_only=False, now_ns=0)
    scene.arrive(early)
    scene.arrive(early, "late comer", stored=True)
    accounts = scene.books()
    assert (accounts.total.due, accounts.total.delivered, accounts.received) == (1, 1, 2)


def test_strangers_are_counted_apart(scene: Scene) -> None:
    delivery = Delivery(TOPIC, b"", 1, repeat=False, stored=False)
    scene.ledger.received("phone", "centre", delivery, None, 0, False)
    scene.ledger.received("phone", "centre", delivery, Stamp("yesterday", "lamp", 1, 0), 0, False)
    scene.ledger.received("phone", "centre", delivery, Stamp("run", "nobody", 1, 0), 0, False)
    assert scene.books().foreign == 3


def test_order_per_publisher_and_topic(scene: Scene) -> None:
    first, second, third = scene.send(), scene.send(), scene.send()
    for ticket in (first, third, second):
        scene.arrive(ticket)
    assert scene.books().out_of_order == 1


def test_two_filters_of_one_subscriber_make_one_due(scene: Scene) -> None:
    for name, first, second in (("phone", 0, 0), ("watch", 0, 1), ("clock", 1, 0)):
        scene.ledger.listens(name, TOPIC, first, "centre", latest_only=False, now_ns=0)
        scene.ledger.listens(name, "fleet/#", second, "centre", latest_only=False, now_ns=0)
    scene.send(qos=2)
    assert scene.books().total.lost == 3, "and the higher QoS counts"


FATES = st.lists(
    st.tuples(
        st.integers(0, 2),  # QoS
        st.booleans(),  # state
        st.lists(st.sampled_from(["copy", "repeat", "stored"]), max_size=3),
        st.booleans(),  # refused
    ),
    max_size=30,
)


@given(FATES)
def test_the_books_add_up_whatever_happens(fates: list[tuple[int, bool, list[str], bool]]) -> None:
    scene = Scene(Ledger("run"))
    scene.ledger.listens("phone", "fleet/#", 2, "centre", latest_only=False, now_ns=0)
    scene.ledger.listens("watch", "fleet/home/+/state", 0, "edge", latest_only=True, now_ns=0)
    copies = 0
    for at_ns, (qos, state, arrivals, refused) in enumerate(fates):
        ticket = scene.send(at_ns, qos, state)
        if refused:
            scene.ledger.refused(ticket, "no")
        for arrival in arrivals:
            scene.arrive(ticket, repeat=arrival == "repeat", stored=arrival == "stored")
            copies += 1
    accounts = scene.books()
    assert accounts.received == copies
    assert accounts.total.due == 2 * len(fates)
    assert accounts.total.delivered == sum(bool(arrivals) for _, _, arrivals, _ in fates)
    assert accounts.total.doubled == sum(
        arrivals[1:].count("copy") + (qos == 2) * arrivals[1:].count("repeat") for qos, _, arrivals, _ in fates
    )
