"""A set of integers that come nearly in order, in as little as two integers: what one got of a million messages."""

from bisect import bisect_right
from collections.abc import Iterable, Iterator


class Numbers:
    """Integers as the bounds of their ranges: `[1, 5, 7, 9]` is 1, 2, 3, 4, 7, 8."""

    __slots__ = ("bounds",)

    def __init__(self, bounds: Iterable[int] = ()) -> None:
        self.bounds = list(bounds)
        """Rising; an even count. The first of each two belongs to the set, the second does not."""

    def add(self, number: int) -> bool:
        """Put `number` in; False: it was there already."""
        bounds = self.bounds
        if bounds and bounds[-1] == number:
            bounds[-1] = number + 1
            return True
        at = bisect_right(bounds, number)
        if at % 2:
            return False
        meets_left = at > 0 and bounds[at - 1] == number
        meets_right = at < len(bounds) and bounds[at] == number + 1
        if meets_left and meets_right:
            del bounds[at - 1 : at + 1]
        elif meets_left:
            bounds[at - 1] = number + 1
        elif meets_right:
            bounds[at] = number
        else:
            bounds[at:at] = number, number + 1
        return True

    def __contains__(self, number: int) -> bool:
        return bisect_right(self.bounds, number) % 2 == 1

    def __len__(self) -> int:
        return sum(self.bounds[1::2]) - sum(self.bounds[::2])

    def missing(self, first: int, end: int) -> Iterator[int]:
        """What is not there, from `first` to before `end`."""
        at = first
        for start, stop in zip(self.bounds[::2], self.bounds[1::2], strict=True):
            yield from range(at, min(start, end))
            at = max(at, stop)
        yield from range(at, end)

    def unbroken_from(self, first: int) -> int:
        """The first number from `first` on that is not there."""
        at = bisect_right(self.bounds, first)
        return self.bounds[at] if at % 2 else first
