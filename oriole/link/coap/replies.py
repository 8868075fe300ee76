"""What was answered to which message, so that a duplicate gets the same answer and no second effect (RFC 7252 §4.5).

A message is known by peer and message ID for EXCHANGE_LIFETIME. Entries all live equally long, so insertion order is
the order of expiry and no timer is needed. Memory is bounded: beyond the limits the oldest is forgotten early, and a
duplicate of it would be taken for new, which harms no idempotent request.
"""

from __future__ import annotations

from collections.abc import Hashable

Key = tuple[Hashable, int]
"""The peer's address and the message ID."""

OVERHEAD_BYTES = 300
"""What CPython spends on an entry beside the reply: key, address, list and their places in the table."""


class _Entry:
    __slots__ = ("expires", "reply")

    def __init__(self, expires: int, reply: bytes) -> None:
        self.expires = expires
        self.reply = reply


class Replies:
    """Received messages and the datagrams that answered them.

    Args:
        lifetime_ms: how long an entry is good for.
        max_count, max_bytes: limits; the newest entry is always held.
    """

    __slots__ = ("_entries", "_lifetime_ms", "_max_bytes", "_max_count", "bytes")

    def __init__(self, lifetime_ms: int, max_count: int, max_bytes: int) -> None:
        self._entries: dict[Key, _Entry] = {}
        self._lifetime_ms = lifetime_ms
        self._max_count = max_count
        self._max_bytes = max_bytes
        self.bytes = 0
        """Held now, bookkeeping included."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Key, now: int) -> bytes | None:
        """The reply to a message received before; b"" while there is none, or none is due; None for a new message."""
        entry = self._entries.get(key)
        return entry.reply if entry is not None and entry.expires > now else None

    def begin(self, key: Key, now: int) -> None:
        """Note a new message, without a reply so far."""
        entries = self._entries
        stale = entries.pop(key, None)
        if stale is not None:
            self.bytes -= len(stale.reply) + OVERHEAD_BYTES
        entries[key] = _Entry(now + self._lifetime_ms, b"")
        self.bytes += OVERHEAD_BYTES
        self._shrink(now)

    def finish(self, key: Key, reply: bytes, now: int) -> None:
        """Remember `reply` for the duplicates of a message; one that was forgotten meanwhile stays forgotten."""
        entry = self._entries.get(key)
        if entry is not None:
            self.bytes += len(reply) - len(entry.reply)
            entry.reply = reply
            self._shrink(now)

    def _shrink(self, now: int) -> None:
        entries = self._entries
        while len(entries) > 1:
            key = next(iter(entries))
            oldest = entries[key]
            if oldest.expires > now and len(entries) <= self._max_count and self.bytes <= self._max_bytes:
                return
            del entries[key]
            self.bytes -= len(oldest.reply) + OVERHEAD_BYTES
