"""What has arrived already."""

from oriole.link.uplink import Marks

E, C = "epoch", "normal"


def test_a_number_is_taken_once() -> None:
    marks = Marks()
    assert not marks.is_repeat(E, C, 1)
    marks.take(E, C, 1)
    assert marks.is_repeat(E, C, 1)
    assert not marks.is_repeat(E, C, 2)
    assert not marks.is_repeat("other", C, 1)
    assert not marks.is_repeat(E, "alarm", 1)


def test_a_number_below_the_mark_is_a_repeat_too() -> None:
    marks = Marks()
    marks.take(E, C, 5)
    marks.take(E, C, 3)
    assert marks.is_repeat(E, C, 5)


def test_what_was_withdrawn_may_come_again() -> None:
    marks = Marks()
    for number in (1, 2, 3):
        marks.take(E, C, number)
    marks.withdraw(E, C, 2)
    marks.withdraw(E, C, 3)
    assert marks.is_repeat(E, C, 1)
    assert not marks.is_repeat(E, C, 2)


def test_nothing_overtakes_what_was_refused() -> None:
    marks = Marks()
    marks.take(E, C, 1)
    assert not marks.overtakes(E, C, 2)
    marks.refuse(E, C, 2)
    assert marks.overtakes(E, C, 2)
    assert marks.overtakes(E, C, 3)
    marks.refuse(E, C, 3)
    assert marks.overtakes(E, C, 2), "the connection broke, and everything comes again"
    assert marks.overtakes(E, C, 4)
    assert not marks.overtakes(E, C, 5), "the sender begins anew"
    marks.take(E, C, 5)
    assert not marks.overtakes(E, C, 6)


def test_the_pair_that_was_silent_longest_is_forgotten() -> None:
    marks = Marks(capacity=2)
    marks.take("a", C, 1)
    marks.refuse("b", C, 1)
    marks.take("a", C, 2)
    marks.take("c", C, 1)
    assert marks.is_repeat("a", C, 2)
    assert not marks.overtakes("b", C, 1)
