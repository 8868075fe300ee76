"""The order of notifications: 24-bit numbers that wrap around (RFC 7641 §3.4, §4.4)."""

from __future__ import annotations

MODULUS = 1 << 24
HALF = 1 << 23
FRESH_AFTER_MS = 128_000
"""A notification that comes this much later is newer, whatever its number."""
TICK_MS = 16
"""Clock behind the numbers: it goes half way round in 37 hours, and stays ahead of 62 notifications a second."""


class ObserveNumbers:
    """Numbers for notifications that go out.

    They follow the clock, and go up by one where notifications are faster than it. So an observer that registers again,
    even after a restart of the server, does not see them begin anew. Up to 32,768 a second for ever are in order.
    """

    __slots__ = ("_last",)

    def __init__(self) -> None:
        self._last = 0

    def following(self, now: int) -> int:
        """The number of the next notification, 0 to 2**24 - 1."""
        self._last = max(self._last + 1, now // TICK_MS)
        return self._last % MODULUS


class Freshness:
    """Judges notifications that come in: UDP may change their order."""

    __slots__ = ("_at", "_number")

    def __init__(self) -> None:
        self._number: int | None = None
        self._at = 0

    def accepts(self, number: int, now: int) -> bool:
        """Whether the notification `number` is newer than the newest so far; it then becomes that."""
        last = self._number
        fresh = last is None or 0 < (number - last) % MODULUS < HALF or now > self._at + FRESH_AFTER_MS
        if fresh:
            self._number = number
            self._at = now
        return fresh
