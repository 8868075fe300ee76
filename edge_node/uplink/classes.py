"""Which class a message belongs to on the uplink: by its topic, so that the order within a topic stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from oriole.wire.topics import matches

CLASSES: Final = ("alarm", "normal", "bulk")
"""In the order in which they go up."""
ALARM, NORMAL, BULK = range(3)
MOST_KNOWN: Final = 10_000
"""Topics whose class is remembered."""


class Classes:
    """Topics and their classes: what is for `alarms` is an alarm, what else is for `bulk` is bulk, the rest is normal.

    Args:
        alarms, bulk: topic filters.
    """

    __slots__ = ("_filters", "_known")

    def __init__(self, alarms: Sequence[str] = (), bulk: Sequence[str] = ()) -> None:
        self._filters = [*((filter, ALARM) for filter in alarms), *((filter, BULK) for filter in bulk)]
        self._known: dict[bytes, int] = {}

    def of(self, topic: bytes) -> int:
        """The class of a topic: its index in `CLASSES`."""
        if not self._filters:
            return NORMAL
        known = self._known.get(topic)
        if known is None:
            name = topic.decode()
            known = next((number for filter, number in self._filters if matches(filter, name)), NORMAL)
            if len(self._known) >= MOST_KNOWN:
                del self._known[next(iter(self._known))]
            self._known[topic] = known
        return known
