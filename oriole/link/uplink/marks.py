"""What has arrived already: the receiver's half of the exactly-once effect, and of the order.

A sender numbers its messages within (epoch, class) and resends, in order, what was not acknowledged. So one high-water
mark per pair is enough to know a repeat. A message that is refused for lack of room comes again later, under a new
number; what the sender had on the way behind it must not overtake it. Those are the numbers that follow the refused
one without a gap: the sender leaves one number out when it begins anew.
"""

from collections.abc import Iterator


class Marks:
    """High-water marks by (epoch, class).

    Args:
        capacity: most pairs remembered; the one that was silent longest is forgotten first.
    """

    __slots__ = ("_capacity", "_marks")

    def __init__(self, capacity: int = 10_000) -> None:
        self._marks: dict[tuple[str, str], tuple[int, int]] = {}
        """The highest number taken, and the last one refused since then or 0."""
        self._capacity = capacity

    def is_repeat(self, epoch: str, traffic_class: str, sequence: int) -> bool:
        """Whether this message, or one sent after it, was taken before."""
        return sequence <= self._get(epoch, traffic_class)[0]

    def take(self, epoch: str, traffic_class: str, sequence: int) -> None:
        """This message is ours now."""
        self._set(epoch, traffic_class, max(sequence, self._get(epoch, traffic_class)[0]), 0)

    def overtakes(self, epoch: str, traffic_class: str, sequence: int) -> bool:
        """Whether this message was sent before its sender knew that one ahead of it was refused."""
        refused = self._get(epoch, traffic_class)[1]
        return refused > 0 and sequence <= refused + 1

    def refuse(self, epoch: str, traffic_class: str, sequence: int) -> None:
        """A new message finds no room: neither does what follows it, until its sender begins anew."""
        taken, refused = self._get(epoch, traffic_class)
        self._set(epoch, traffic_class, taken, max(sequence, refused))

    def withdraw(self, epoch: str, traffic_class: str, sequence: int) -> None:
        """The message with this number was not taken after all: its repeat is new."""
        taken, refused = self._get(epoch, traffic_class)
        if taken >= sequence:
            self._set(epoch, traffic_class, sequence - 1, refused)

    def highest(self) -> Iterator[tuple[str, str, int]]:
        """Of each (epoch, class), the highest number taken."""
        for (epoch, traffic_class), (taken, _) in self._marks.items():
            yield epoch, traffic_class, taken

    def _get(self, epoch: str, traffic_class: str) -> tuple[int, int]:
        return self._marks.get((epoch, traffic_class), (0, 0))

    def _set(self, epoch: str, traffic_class: str, taken: int, refused: int) -> None:
        self._marks.pop((epoch, traffic_class), None)
        self._marks[epoch, traffic_class] = taken, refused
        if len(self._marks) > self._capacity:
            del self._marks[next(iter(self._marks))]
