"""What several processes have written down is one ledger, as if one had been told everything in order."""

import io
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import msgspec
import pytest

from firmware_sim.devices.port import Delivery
from firmware_sim.devices.scribe import Scribe
from firmware_sim.devices.stamp import Stamp
from firmware_sim.report.journal import Journal, Journals
from firmware_sim.report.ledger import Ledger, Message

TOPIC = "fleet/home/lamp-1/state"


def publisher(scribe: Scribe, at: Iterator[int]) -> Iterator[None]:
    """A lamp that says four things, a step at a time."""
    tickets = []
    for number in range(1, 5):
        at_ns = next(at)
        tickets.append(scribe.sent(Message("lamp-1", TOPIC, number, at_ns, 1, True, "state", b"{}", "edge", 9)))
        yield
    scribe.accepted(tickets[0], next(at))
    scribe.resent([tickets[1]])
    scribe.refused(tickets[2], "no")
    scribe.unanswered(tickets[3], "silence")
    scribe.confirmed("phone-1", "t", 3, next(at))
    scribe.answered("edge", next(at), 5, True)
    scribe.updated("lamp-1", "1.1", next(at))
    scribe.note("nonsense", "what?")
    yield


def subscriber(scribe: Scribe, at: Iterator[int]) -> Iterator[None]:
    """A phone that begins to listen after the first, gets two of them, one of them twice, and leaves."""
    scribe.listens("phone-1", TOPIC, 1, "centre", False, next(at))
    yield
    for number in (2, 3):
        for copy in range(number - 1):
            stamp = Stamp("run", "lamp-1", number, 0)
            scribe.received("phone-1", "centre", Delivery(TOPIC, b"{}", 1, copy > 0, False), stamp, next(at), False)
        yield
    scribe.received("phone-1", "centre", Delivery("else", b"", 1, False, False), None, next(at), False)
    scribe.failed("phone-1", True, next(at))
    scribe.disconnected("phone-1", "gone", next(at))
    scribe.forgotten("phone-1", next(at))
    scribe.left("phone-1", next(at))
    yield


def tell(lamp: Scribe, phone: Scribe, at: Iterator[int]) -> None:
    one, other = publisher(lamp, at), subscriber(phone, at)
    for steps in (one, other, one, one, other, other, one, other, one):
        next(steps)


def books(ledger: Ledger) -> dict[str, object]:
    names = (
        "messages copies ways notes last_notes gaps ends failures installed answers confirmed_ns broken foreign "
        "received_total awaited delivered_bytes out_of_order"
    )
    found = {name: getattr(ledger, name) for name in names.split()}
    found["messages"] = [
        {name: getattr(message, name) for name in message.__slots__ if name != "due"} | {"due": [*message.due]}
        for message in ledger.messages
    ]
    return found


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [tmp_path / "lamp", tmp_path / "phone"]


def test_two_journals_are_one_ledger(paths: list[Path]) -> None:
    told = Ledger("run")
    tell(told, told, count(1))
    clock = count(1)
    with paths[0].open("wb") as lamp, paths[1].open("wb") as phone:
        written = count(1)
        journals = [Journal("run", file, lambda: next(written)) for file in (lamp, phone)]
        tell(*journals, clock)
    read = Ledger("run")
    reading = Journals(read, paths)
    for _ in reading.read(10**9):
        pass
    reading.close()
    assert books(read) == books(told)
    assert len(read.messages) == 4
    assert read.messages[0].due.keys() == set()
    assert read.messages[1].due.keys() == {"phone-1"}
    assert journals[0].sent_total == 4
    assert journals[1].received_total == 4


def test_what_is_still_being_written_is_read_later(paths: list[Path]) -> None:
    whole = io.BytesIO()
    at = count(1)
    tell(*([Journal("run", whole, lambda: next(at))] * 2), count(1))
    data = whole.getvalue()
    ledger = Ledger("run")
    with paths[0].open("wb", buffering=0) as file:
        journals = Journals(ledger, paths[:1])
        for cut in range(0, len(data), 7):
            file.write(data[cut : cut + 7])
            for _ in journals.read(10**9):
                pass
        journals.close()
    told = Ledger("run")
    tell(told, told, count(1))
    assert books(ledger) == books(told)


def test_only_what_was_written_by_then_is_read(paths: list[Path]) -> None:
    ledger = Ledger("run")
    with paths[0].open("wb", buffering=0) as file:
        journal = Journal("run", file, iter(range(10, 100, 10)).__next__)
        for number in range(9):
            journal.note("number", str(number))
        journals = Journals(ledger, paths[:1])
        for until_ns, noted in ((5, 0), (10, 1), (49, 4), (50, 5), (1000, 9)):
            for _ in journals.read(until_ns):
                pass
            assert ledger.notes["number"] == noted
        journals.close()


def test_a_read_that_was_given_up_loses_nothing(paths: list[Path]) -> None:
    told = Ledger("run")
    tell(told, told, count(1))
    with paths[0].open("wb") as lamp, paths[1].open("wb") as phone:
        at = count(1)
        tell(*(Journal("run", file, lambda: next(at)) for file in (lamp, phone)), count(1))
    ledger = Ledger("run")
    journals = Journals(ledger, paths)
    for until_ns in (6, 6, 9, 10**9, 10**9):
        next(journals.read(until_ns), None)  # and no further
    for _ in journals.read(10**9):
        pass
    journals.close()
    assert books(ledger) == books(told)


def test_after_the_end_nothing_is_written() -> None:
    file = io.BytesIO()
    journal = Journal("run", file, lambda: 1)
    journal.note("a", "b")
    size = len(file.getvalue())
    journal.close()
    journal.note("a", "b")
    journal.flush()
    assert len(file.getvalue()) == size
    assert msgspec.msgpack.decode(file.getvalue()[4:]) == [1, "note", "a", "b"]
