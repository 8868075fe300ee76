"""The books of bulk devices, told what devices would tell: each message ends once, and each fault is found."""

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.bulk.closing import Rows, rows_of
from firmware_sim.bulk.ledger import BulkLedger
from firmware_sim.bulk.result import ReceivedRow
from firmware_sim.devices.port import Delivery
from firmware_sim.devices.stamp import Stamp
from firmware_sim.report.ledger import Message

TOPIC = "f/meter-1/reading"


class World:
    """A ledger with a meter and a desk, and who tells it what happens."""

    def __init__(self, qos: int = 1, is_state: bool = False) -> None:
        self.ledger = BulkLedger("run", ["meter-1", "desk-1"], {"phone": "home"})
        self.qos = qos
        self.is_state = is_state
        self.number = 0
        self.tickets: dict[int, int] = {}

    def listen(self, name: str = "desk-1", topic_filter: str = "f/+/reading") -> None:
        self.ledger.listens(name, topic_filter, 1, "desk", False, 0)

    def send(self, accept: bool = True, topic: str = TOPIC, of: str = "reading") -> int:
        self.number += 1
        message = Message("meter-1", topic, self.number, 1000, self.qos, self.is_state, of, b"", "meters")
        self.tickets[self.number] = self.ledger.sent(message)
        if accept and self.qos:
            self.accept(self.number)
        return self.number

    def accept(self, number: int) -> None:
        self.ledger.accepted(self.tickets[number], 0)

    def get(
        self, number: int, *, dup: bool = False, stored: bool = False, run: str = "run", publisher: str = "meter-1"
    ) -> None:
        delivery = Delivery(TOPIC, b"", 1, dup, stored)
        self.ledger.received("desk-1", "desk", delivery, Stamp(run, publisher, number, 1000), 3000, False)

    def rows(self) -> Rows:
        rows = rows_of(self.ledger)
        due = sum(row.due for row in rows.subscribers)
        ends = sum(row.delivered + sum(row.missing.values()) for row in rows.subscribers)
        assert due == ends == self.ledger.due_total
        copies = sum(r.delivered + r.undue + r.repeated + r.stored + r.doubled for r in rows.subscribers)
        copies += sum(sum(r.numbers[1::2]) - sum(r.numbers[::2]) + len(r.doubled) for r in rows.outside)
        assert copies + self.ledger.foreign == self.ledger.received_total
        return rows

    def desk(self) -> ReceivedRow:
        (row,) = self.rows().subscribers
        return row


@pytest.fixture
def world() -> Iterator[World]:
    world = World()
    world.listen()
    yield world
    world.rows()


def test_what_arrived_is_delivered(world: World) -> None:
    for _ in range(5):
        world.get(world.send())
    row = world.desk()
    assert (row.due, row.delivered, row.missing) == (5, 5, {})
    (sent,) = world.rows().publishers
    assert (sent.sent, sent.accepted, sent.unsettled) == (5, 5, [])
    assert world.ledger.awaited == 0
    assert world.ledger.passages["meters", "desk", "reading"].max_ns == 2000


def test_what_is_missing_is_named(world: World) -> None:
    for number in [world.send() for _ in range(9)]:
        if number not in (4, 5, 8):
            world.get(number)
    rows = world.rows()
    (missing,) = rows.missing
    assert (missing.subscriber, missing.publisher, missing.topic) == ("desk-1", "meter-1", TOPIC)
    assert (missing.why, missing.numbers) == ("lost", [4, 6, 8, 9])
    assert world.ledger.awaited == 3


def test_copies_are_told_apart(world: World) -> None:
    world.get(world.send())
    world.get(1)
    world.get(1, dup=True)
    world.get(1, stored=True)
    row = world.desk()
    assert (row.delivered, row.doubled, row.repeated, row.stored) == (1, 1, 1, 1)


def test_a_copy_of_what_was_sent_twice_is_a_repeat(world: World) -> None:
    number = world.send(accept=False)
    world.ledger.resent([world.tickets[number]])
    world.get(number)
    world.get(number)
    world.accept(number)
    assert world.desk().repeated == 1


def test_order(world: World) -> None:
    for _ in range(4):
        world.send()
    for number in (1, 3, 2, 4):
        world.get(number)
    row = world.desk()
    assert (row.delivered, row.out_of_order) == (4, 1)


def test_what_was_sent_before_is_not_due() -> None:
    world = World()
    world.send()
    world.get(1, stored=True)  # before the subscription is confirmed, or after it
    world.listen()
    world.send()
    world.get(2)
    row = world.desk()
    assert (row.due, row.delivered, row.undue) == (1, 1, 1)
    assert world.ledger.awaited == 0


def test_what_nobody_sent_is_foreign(world: World) -> None:
    world.send()
    world.get(1, run="another")
    world.get(2)
    world.get(0)
    assert world.ledger.foreign == 3


def test_refused_and_unaccepted_are_no_loss(world: World) -> None:
    world.send(accept=False)
    world.send(accept=False)
    world.ledger.refused(world.tickets[1], "quota exceeded")
    assert world.desk().missing == {"refused": 1, "unaccepted": 1}
    assert world.ledger.awaited == 1
    (sent,) = world.rows().publishers
    assert (sent.accepted, sent.refused, sent.unsettled) == (0, [1, 2], [2, 3])


def test_what_was_refused_and_was_not_due_is_not_missed() -> None:
    world = World()
    number = world.send(accept=False)
    world.listen()
    world.ledger.refused(world.tickets[number], "quota exceeded")
    assert world.ledger.awaited == 0


def test_a_newer_state_replaces() -> None:
    world = World(is_state=True)
    world.listen()
    for _ in range(3):
        world.send()
    world.get(2)
    assert world.desk().missing == {"replaced": 1, "lost": 1}


def test_quality_of_service_0_promises_nothing() -> None:
    world = World(qos=0)
    world.listen()
    world.get(world.send())
    world.send()
    assert world.desk().missing == {"lost_qos0": 1}


def test_what_met_a_lost_session_is_told_from_what_was_lost(world: World) -> None:
    world.send()  # accepted while all was well: lost
    world.send(accept=False)  # under way when the connection ended
    world.ledger.disconnected("desk-1", "the server closed the connection", 0)
    world.accept(2)
    world.send()
    world.ledger.forgotten("desk-1", 0)
    world.send()
    world.listen()
    world.send()  # after it was confirmed again: lost
    assert world.desk().missing == {"lost": 2, "forgotten": 3}


def test_what_met_a_cut_but_no_lost_session_is_lost(world: World) -> None:
    world.ledger.disconnected("desk-1", "cut", 0)
    world.send()
    assert world.desk().missing == {"lost": 1}


def test_overlapping_filters_are_one_listener(world: World) -> None:
    world.listen(topic_filter="f/#")
    world.listen(topic_filter=TOPIC)
    world.get(world.send())
    assert world.desk().due == 1


def test_what_comes_from_elsewhere_is_kept_by_number(world: World) -> None:
    for number in (1, 2, 5, 5):
        world.get(number, publisher="phone-7")
    (row,) = world.rows().outside
    assert (row.subscriber, row.publisher, row.numbers, row.doubled) == ("desk-1", "phone-7", [1, 3, 5, 6], [5])
    assert world.ledger.passages["home", "desk", "reading"].max_ns == 2000


def test_an_order_is_confirmed_once(world: World) -> None:
    world.send(topic="f/lamp-1/set", of="order")
    for _ in range(2):
        world.ledger.confirmed("meter-1", "f/lamp-1/set", 1, 6000)
    assert (world.ledger.orders, world.ledger.confirmed_orders) == (1, 1)
    assert world.ledger.round_trips.max_ns == 5000


def test_after_the_end_nothing_counts(world: World) -> None:
    world.send()
    world.ledger.close()
    world.get(1)
    assert world.desk().missing == {"lost": 1}


@given(st.lists(st.tuples(st.sampled_from(["send", "get", "leave", "forget", "listen"]), st.integers(0, 8))))
def test_the_books_always_add_up(story: list[tuple[str, int]]) -> None:
    world = World()
    for what, number in story:
        match what:
            case "send":
                world.send(accept=number > 1)
            case "get":
                world.get(number, dup=number % 2 == 0)
            case "leave":
                world.ledger.left("desk-1", 0)
            case "forget":
                world.ledger.forgotten("desk-1", 0)
            case "listen":
                world.listen()
    rows = world.rows()
    missing = sum(sum(row.missing.values()) for row in rows.subscribers)
    refused = sum(row.missing.get("refused", 0) for row in rows.subscribers)
    assert world.ledger.awaited == missing - refused
