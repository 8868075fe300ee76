"""The ledger against a slow witness: every message received once, again, late, or not at all."""

from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.load.ledger import Ledger, Tally


def test_in_order() -> None:
    ledger = Ledger(tally := Tally())
    ledger.receive(7, 0, 10)
    ledger.receive(8, 0, 1)
    ledger.receive(7, 10, 1)
    assert tally == Tally(received=12)


def test_a_gap_that_is_filled_later_is_reordered() -> None:
    ledger = Ledger(tally := Tally())
    ledger.receive(0, 3, 1)
    ledger.receive(0, 0, 3)
    assert tally == Tally(received=4, reordered=3)


def test_a_repeat_is_doubled_even_after_it_came_late() -> None:
    ledger = Ledger(tally := Tally())
    ledger.receive(0, 1, 1)
    ledger.receive(0, 0, 1)
    ledger.receive(0, 0, 2)
    assert tally == Tally(received=2, reordered=1, doubled=2)


def test_what_was_entered_elsewhere_is_expected_no_more() -> None:
    ledger = Ledger(tally := Tally())
    ledger.expect(0, 100)
    ledger.receive(0, 99, 1)
    ledger.receive(0, 100, 1)
    assert tally == Tally(received=1, doubled=1)


@settings(deadline=None)  # a busy machine is no failure
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12), st.integers(1, 4))))
def test_agrees_with_a_witness_that_remembers_every_message(runs: list[tuple[int, int, int]]) -> None:
    ledger = Ledger(tally := Tally())
    seen: list[tuple[int, int]] = []
    witness = Tally()
    for publisher, first, count in runs:
        ledger.receive(publisher, first, count)
        for sequence in range(first, first + count):
            if (publisher, sequence) in seen:
                witness.doubled += 1
                continue
            witness.received += 1
            witness.reordered += any(other == publisher and later > sequence for other, later in seen)
            seen.append((publisher, sequence))
    assert tally == witness
