"""What has arrived already, and who holds an epoch."""

from __future__ import annotations

import pytest

from oriole.link.uplink import Mark, Marks

E, C = "epoch", "normal"


def mark(number: int, epoch: str = E, traffic_class: str = C, life: str = "") -> Mark:
    return Mark(epoch, traffic_class, number, life)


def test_all_up_to_the_mark_were_taken() -> None:
    marks = Marks()
    assert marks.highest(E, C) == 0
    marks.take(mark(3))
    assert marks.highest(E, C) == 3
    assert marks.highest("other", C) == 0
    assert marks.highest(E, "alarm") == 0


def test_what_is_known_of_an_epoch_is_told_by_class() -> None:
    marks = Marks()
    marks.take(mark(3))
    marks.take(mark(9, traffic_class="alarm"))
    marks.take(mark(1, "other"))
    assert {known.traffic_class: known.sequence for known in marks.of(E)} == {C: 3, "alarm": 9}
    assert sorted(known.sequence for known in marks) == [1, 3, 9]
    assert list(marks.of("never heard of")) == []


def test_what_was_withdrawn_may_come_again() -> None:
    marks = Marks()
    for number in (1, 2, 3):
        marks.take(mark(number))
    marks.withdraw(mark(1))
    assert marks.highest(E, C) == 1


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_of_several_that_are_withdrawn_the_first_counts(order: tuple[int, ...]) -> None:
    marks = Marks()
    for number in (1, 2, 3):
        marks.take(mark(number))
    for number in order:
        marks.withdraw(mark(number))
    assert marks.highest(E, C) == 0


def test_what_was_never_taken_cannot_be_withdrawn() -> None:
    marks = Marks()
    marks.withdraw(mark(5))
    assert marks.highest(E, C) == 0
    assert list(marks) == []


def test_the_epoch_that_was_silent_longest_is_forgotten() -> None:
    marks = Marks(capacity=2)
    marks.take(mark(1, "a"))
    marks.take(mark(1, "b"))
    marks.take(mark(2, "a", "alarm"))
    marks.take(mark(1, "c"))
    assert marks.highest("a", C) == 1
    assert marks.highest("a", "alarm") == 2
    assert marks.highest("b", C) == 0
    assert marks.highest("c", C) == 1


class TestHolders:
    """Each life names those before it; of two that go on from one past the second is known."""

    def test_an_epoch_without_messages_is_free(self) -> None:
        assert not Marks().is_held_by_another(E, ["life 1"])

    def test_the_same_life_and_one_that_names_it_hold_it(self) -> None:
        marks = Marks()
        marks.take(mark(1, life="life 1"))
        assert not marks.is_held_by_another(E, ["life 1"])
        assert not marks.is_held_by_another(E, ["life 3", "life 1", "life 2"])

    def test_a_life_that_went_on_from_elsewhere_does_not(self) -> None:
        marks = Marks()
        marks.take(mark(1, life="life 1"))
        marks.take(mark(2, life="life 2"))
        assert marks.is_held_by_another(E, ["life 3", "life 1"])
        assert marks.is_held_by_another(E, ["life 3"])
        assert not marks.is_held_by_another("another", ["life 3"])

    def test_it_is_the_newest_message_of_any_class_that_tells(self) -> None:
        marks = Marks()
        marks.take(mark(1, life="life 1"))
        marks.take(mark(1, traffic_class="alarm", life="life 2"))
        assert marks.life_of(E) == "life 2"
        marks.take(mark(2, life="life 3"))
        assert marks.life_of(E) == "life 3"
        assert not marks.is_held_by_another(E, ["life 4", "life 3"])
        assert marks.is_held_by_another(E, ["life 4", "life 2"])

    def test_where_nothing_was_said_of_lives_nobody_is_another(self) -> None:
        marks = Marks()
        marks.take(mark(1))
        assert marks.life_of(E) == marks.life_of("never heard of") == ""
        assert not marks.is_held_by_another(E, ["life 1"])
