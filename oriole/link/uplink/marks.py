"""What has arrived already: the receiver's half of the exactly-once effect.

A sender numbers its messages within (epoch, class) without a gap and sends again, in order, what was not acknowledged.
So one high-water mark per pair is enough to know a repeat. An epoch has one holder at a time: each run of its program,
a life, names those before it, so that of two that go on from the same past the second is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass


@dataclass(slots=True, frozen=True)
class Mark:
    """Of another node's messages of one class, which it numbers within an epoch, all up to `sequence` were taken; the
    last of them was sent in this `life` of it.
    """

    epoch: str
    traffic_class: str
    sequence: int
    life: str = ""


class Marks:
    """High-water marks by (epoch, class), and who holds an epoch.

    Args:
        capacity: most epochs remembered; the one that was silent longest is forgotten first.
    """

    __slots__ = ("_capacity", "_epochs")

    def __init__(self, capacity: int = 10_000) -> None:
        self._epochs: dict[str, dict[str, Mark]] = {}
        self._capacity = capacity

    def __iter__(self) -> Iterator[Mark]:
        """All marks."""
        for marks in self._epochs.values():
            yield from marks.values()

    def highest(self, epoch: str, traffic_class: str) -> int:
        """The number up to which all were taken; 0: none was."""
        mark = self._epochs.get(epoch, {}).get(traffic_class)
        return 0 if mark is None else mark.sequence

    def of(self, epoch: str) -> Iterator[Mark]:
        """What is known of an epoch."""
        yield from self._epochs.get(epoch, {}).values()

    def withdraw(self, mark: Mark) -> None:
        """No more than those up to `mark` were taken after all: what follows is new."""
        if mark.sequence < self.highest(mark.epoch, mark.traffic_class):
            self.take(mark)

    def take(self, mark: Mark) -> None:
        """All up to `mark` are ours now."""
        marks = self._epochs.pop(mark.epoch, {})
        self._epochs[mark.epoch] = marks
        marks.pop(mark.traffic_class, None)
        marks[mark.traffic_class] = mark  # the last one is the newest
        if len(self._epochs) > self._capacity:
            del self._epochs[next(iter(self._epochs))]

    def is_held_by_another(self, epoch: str, lives: Sequence[str]) -> bool:
        """Whether the newest message in this epoch came from somebody who was in none of these lives."""
        newest = self.life_of(epoch)
        return newest != "" and newest not in lives

    def life_of(self, epoch: str) -> str:
        """Whose message is the newest in this epoch; empty where nobody knows."""
        marks = self._epochs.get(epoch)
        return marks[next(reversed(marks))].life if marks else ""
