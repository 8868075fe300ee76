"""The receiver's numbers: what is new, what is a repeat, what is missing, and how many more may come."""

import pytest

from oriole.link.serial.inbox import Arrival, Inbox


def greeted(window: int = 4, oldest: int = 1) -> Inbox:
    inbox = Inbox(window)
    inbox.greet(b"boot-1", oldest)
    return inbox


def test_numbers_are_taken_in_order_and_once() -> None:
    inbox = greeted(oldest=10)
    assert [inbox.arrive(number) for number in (10, 11, 10, 13, 12)] == [
        Arrival.NEXT, Arrival.NEXT, Arrival.REPEAT, Arrival.GAP, Arrival.NEXT,
    ]  # fmt: skip
    assert (inbox.received, inbox.acknowledged, inbox.credits) == (12, 9, 4)


def test_more_than_the_credits_is_not_taken() -> None:
    inbox = greeted(window=2)
    assert [inbox.arrive(number) for number in (1, 2, 3)] == [Arrival.NEXT, Arrival.NEXT, Arrival.GAP]
    assert inbox.acknowledge(1)
    assert inbox.arrive(3) is Arrival.NEXT


def test_acknowledged_is_at_most_received_and_never_goes_back() -> None:
    inbox = greeted()
    inbox.arrive(1)
    with pytest.raises(ValueError, match="not received"):
        inbox.acknowledge(2)
    assert inbox.acknowledge(1)
    assert not inbox.acknowledge(1)
    assert not inbox.acknowledge(0)


def test_withheld_credits_come_back_at_once() -> None:
    inbox = greeted(window=2)
    assert not inbox.pause(True)
    inbox.arrive(1)
    inbox.acknowledge(1)
    assert inbox.credits == 1  # those it had
    assert inbox.pause(False)
    assert inbox.credits == 2


def test_a_known_peer_goes_on_and_a_new_one_begins() -> None:
    inbox = greeted()
    inbox.arrive(1)
    assert inbox.greet(b"boot-1", 1)
    assert inbox.arrive(1) is Arrival.REPEAT
    assert not inbox.greet(b"boot-2", 1)
    assert inbox.arrive(1) is Arrival.NEXT


def test_what_the_peer_has_forgotten_is_not_waited_for() -> None:
    inbox = greeted()
    inbox.greet(b"boot-1", 8)
    assert (inbox.received, inbox.acknowledged, inbox.credits) == (7, 7, 4)
    assert inbox.arrive(8) is Arrival.NEXT


def test_what_nobody_took_comes_again() -> None:
    inbox = greeted()
    for number in (1, 2, 3):
        inbox.arrive(number)
    inbox.acknowledge(1)
    inbox.disown(3)
    assert inbox.received == 2
    inbox.disown(1)
    assert inbox.received == 1  # settled stays settled


def test_an_epoch_ends_with_the_peers_memory_or_with_ours() -> None:
    inbox = greeted()
    inbox.arrive(1)
    first = inbox.epoch
    inbox.greet(b"boot-1", 1)
    assert inbox.epoch == first
    inbox.void()
    assert (inbox.received, inbox.epoch > first) == (0, True)
    second = inbox.epoch
    inbox.greet(b"boot-2", 1)
    assert inbox.epoch > second
