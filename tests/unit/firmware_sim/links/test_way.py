"""One direction and its deadline: packets find their receiver, and who asked to be called is called once."""

from random import Random
from typing import Any

from firmware_sim.links.model import DirectionModel
from firmware_sim.links.pipe import MILLISECOND_NS as MS
from firmware_sim.links.way import Way


class Sleeper:
    def __init__(self) -> None:
        self.armed_ns: int | None = None
        self.woken: list[int] = []

    def tick(self, now_ns: int) -> None:
        self.woken.append(now_ns)


def new_way(**keys: Any) -> Way:
    return Way(DirectionModel(**keys), Random(1))


def test_a_packet_finds_its_receiver() -> None:
    way, received = new_way(delay_ms=5), []
    way.send(lambda what, at_ns: received.append((what, at_ns)), "a", 100, 0)
    assert way.deadline() == 5 * MS
    way.advance(7 * MS)
    assert received == [("a", 5 * MS)], "with the time at which it should have come"
    assert way.deadline() is None


def test_the_last_word_counts() -> None:
    way, early, late = new_way(), Sleeper(), Sleeper()
    way.arm(early, 5 * MS)
    way.arm(early, 3 * MS)
    way.arm(late, 4 * MS)
    way.arm(late, 6 * MS)
    assert way.deadline() == 3 * MS
    for now in range(10):
        way.advance(now * MS)
    assert (early.woken, late.woken) == ([3 * MS], [6 * MS])
    assert early.armed_ns is None
    assert way.deadline() is None


def test_the_deadline_is_the_first_of_packets_and_sleepers() -> None:
    way, sleeper = new_way(delay_ms=5), Sleeper()
    way.arm(sleeper, 7 * MS)
    way.send(lambda what, at_ns: None, None, 100, 0)
    assert way.deadline() == 5 * MS
    way.advance(5 * MS)
    assert way.deadline() == 7 * MS
