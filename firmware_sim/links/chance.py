"""Whether a packet is hit by what befalls some: independently of each other, or several in a row.

The Gilbert-Elliott model in its simple form: two states, in one every packet is hit, in the other none. The lengths of
both kinds of run are drawn, so that a packet costs a subtraction and only a run costs a random number.
"""

import math
from random import Random


class Chance:
    """A `share` of all packets is hit, on average `run` in a row.

    Hits that know nothing of each other already come 1 / (1 - share) in a row; a shorter `run` means that.
    """

    __slots__ = ("_begins", "_ends", "_is_hitting", "_left", "_random", "_share")

    def __init__(self, share: float, random: Random, run: float = 1.0) -> None:
        self._random = random
        self._ends = min(1 / run, 1 - share)
        self._begins = share * self._ends / (1 - share) if share < 1 else 1.0
        self._share = share
        self.forget()

    def forget(self) -> None:
        """What comes next knows nothing of what was before: it may fall anywhere into a run, or between runs."""
        self._is_hitting = self._share > 0 and self._random.random() < self._share
        self._left = self._run_length()

    def hit(self) -> bool:
        """Whether the next packet is one of them."""
        if not self._left:
            self._is_hitting = not self._is_hitting
            self._left = self._run_length()
        self._left -= 1
        return self._is_hitting

    def _run_length(self) -> float:
        """How many packets until the state changes: geometric, at least one."""
        change = self._ends if self._is_hitting else self._begins
        if change <= 0:
            return math.inf
        if change >= 1:
            return 1
        return 1 + math.floor(math.log1p(-self._random.random()) / math.log1p(-change))
