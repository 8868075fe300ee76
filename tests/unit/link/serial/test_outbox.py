"""The sender's numbers: what goes now, what goes again, what is done with."""

import pytest

from oriole.link.serial.outbox import Outbox, QueueFull


def holding(*frames: bytes, credit: int = 9) -> Outbox:
    outbox = Outbox(b"boot-1", max_bytes=100)
    outbox.restart(credit)
    for frame in frames:
        outbox.put(frame)
    return outbox


def test_frames_go_once_within_the_credit() -> None:
    outbox = holding(b"1", b"2", b"3", credit=2)
    assert outbox.take() == [b"1", b"2"]
    assert outbox.take() == []
    assert outbox.settle(received=2, acknowledged=1, credit=2) == 1
    assert outbox.take() == [b"3"]


def test_only_what_is_missing_goes_again() -> None:
    outbox = holding(b"1", b"2", b"3")
    outbox.take()
    assert outbox.settle(received=2, acknowledged=0, credit=9) == 0
    assert outbox.rewind()
    assert outbox.take() == [b"3"]
    outbox.settle(received=3, acknowledged=0, credit=9)
    assert not outbox.rewind()


def test_an_acknowledgement_that_crosses_a_repeat_saves_it() -> None:
    outbox = holding(b"1", b"2")
    outbox.take()
    outbox.rewind()
    outbox.settle(received=1, acknowledged=0, credit=9)
    assert outbox.take() == [b"2"]


def test_an_older_word_of_the_peer_changes_nothing() -> None:
    outbox = holding(b"1", b"2", credit=1)
    outbox.settle(received=0, acknowledged=0, credit=2)
    outbox.settle(received=0, acknowledged=0, credit=1)
    assert outbox.take() == [b"1", b"2"]


def test_what_was_never_here_cannot_be_received() -> None:
    outbox = holding(b"1")
    with pytest.raises(ValueError, match="still to come"):
        outbox.settle(received=2, acknowledged=0, credit=9)


def test_bytes_are_bounded_and_come_free_when_settled() -> None:
    outbox = holding(b"x" * 60)
    with pytest.raises(QueueFull):
        outbox.put(b"x" * 60)
    outbox.settle(1, 1, 9)
    assert outbox.put(b"x" * 60) == 2


def test_a_peer_that_is_back_gets_the_rest_and_one_that_forgot_gets_all() -> None:
    outbox = holding(b"1", b"2", b"3", credit=9)
    outbox.take()
    assert outbox.resume(acknowledged=1, credit=1) == 1
    assert outbox.take() == [b"2", b"3"]  # the credit that it gave before still stands
    outbox.restart(credit=1)
    assert outbox.take() == [b"2"]
    assert outbox.oldest == 2
