"""What has arrived already: the receiver's half of the exactly-once effect.

A sender numbers its messages within (epoch, class) and resends, in order, what was not acknowledged. So one high-water
mark per pair is enough to know a repeat.
"""


class Marks:
    """High-water marks by (epoch, class).

    Args:
        capacity: most pairs remembered; the one that was silent longest is forgotten first.
    """

    __slots__ = ("_capacity", "_marks")

    def __init__(self, capacity: int = 10_000) -> None:
        self._marks: dict[tuple[str, str], int] = {}
        self._capacity = capacity

    def is_new(self, epoch: str, traffic_class: str, sequence: int) -> bool:
        """Note the arrival of a message; False if it, or one sent after it, has arrived before."""
        key = (epoch, traffic_class)
        mark = self._marks.pop(key, 0)
        self._marks[key] = max(mark, sequence)
        if len(self._marks) > self._capacity:
            del self._marks[next(iter(self._marks))]
        return sequence > mark

    def withdraw(self, epoch: str, traffic_class: str, sequence: int) -> None:
        """The message with this number was not taken after all: its repeat is new."""
        key = (epoch, traffic_class)
        if self._marks.get(key, 0) >= sequence:
            self._marks[key] = sequence - 1
