"""What an edge subscribes to at the centre: the union of what is wanted here, without what a wider filter covers.

So one copy of a message comes down, however many local subscribers want it and however their filters overlap.
"""

from __future__ import annotations

from collections.abc import Iterable

from broker.core.filters import is_wild
from broker.core.topics import TopicTree


def covers(wide: bytes, narrow: bytes) -> bool:
    """Whether every topic that `narrow` matches is matched by `wide` too."""
    if wide == narrow:
        return True
    if wide == b"+/#":  # matches all that `#` matches
        wide = b"#"
    wide_levels, narrow_levels = wide.split(b"/"), narrow.split(b"/")
    if wide_levels[0] in (b"+", b"#") and narrow.startswith(b"$"):
        return False
    for depth, level in enumerate(wide_levels):
        if level == b"#":
            return True
        if depth == len(narrow_levels):
            return False
        if narrow_levels[depth] == b"#" or level not in (b"+", narrow_levels[depth]):
            return False
    return len(wide_levels) == len(narrow_levels)


class Interests:
    """Filters wanted here, filters asked for at the centre, and the changes that lead from one to the other."""

    __slots__ = ("_exact", "_reasons", "_wild", "asked", "changes")

    def __init__(self) -> None:
        self._reasons: dict[bytes, int] = {}
        self._exact: TopicTree[bool] = TopicTree()
        self._wild: dict[bytes, None] = {}
        self.asked: dict[bytes, None] = {}
        """What the centre has been asked for, changes included."""
        self.changes: dict[bytes, bool] = {}
        """Filter to whether to subscribe (else unsubscribe); whoever carries them out empties it."""

    def add(self, filter: bytes) -> None:
        """One more reason to want `filter`."""
        count = self._reasons.get(filter, 0)
        self._reasons[filter] = count + 1
        if count:
            return
        if is_wild(filter):
            self._wild[filter] = None
        else:
            self._exact.set(filter, True)
        self._ask(filter)

    def remove(self, filter: bytes) -> bool:
        """One reason less; True if nobody wants `filter` itself any more."""
        count = self._reasons.get(filter, 0)
        if count > 1:
            self._reasons[filter] = count - 1
        if count != 1:
            return False
        del self._reasons[filter]
        self._wild.pop(filter, None)
        self._exact.pop(filter)
        if filter in self.asked:
            self._change(filter, False)
            if is_wild(filter):
                for other in [*self._wild, *list(self._exact.matching(filter))]:
                    if covers(filter, other):
                        self._ask(other)
        return True

    def wants(self, topic: bytes) -> bool:
        """Whether anything asked for matches `topic`."""
        return topic in self.asked or self._covered(topic)

    def restart(self) -> None:
        """The centre has forgotten us: ask for everything again."""
        self.changes = dict.fromkeys(self.asked, True)

    def repeat(self, filters: Iterable[bytes]) -> None:
        """Nobody knows whether the centre has heard of these changes: carry them out again, as they stand now."""
        for filter in filters:
            self.changes[filter] = filter in self.asked

    def _covered(self, filter: bytes) -> bool:
        return any(wild != filter and wild in self.asked and covers(wild, filter) for wild in self._wild)

    def _ask(self, filter: bytes) -> None:
        """Have `filter` covered, and nothing asked for that it covers."""
        if filter in self.asked or self._covered(filter):
            return
        self._change(filter, True)
        if is_wild(filter):
            for other in [other for other in self.asked if other != filter and covers(filter, other)]:
                self._change(other, False)

    def _change(self, filter: bytes, subscribe: bool) -> None:
        if subscribe:
            self.asked[filter] = None
        else:
            self.asked.pop(filter, None)
        if self.changes.get(filter, subscribe) != subscribe:
            del self.changes[filter]
        else:
            self.changes[filter] = subscribe
