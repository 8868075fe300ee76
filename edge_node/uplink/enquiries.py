"""What was asked of the centre and is not answered: changes of subscriptions, and the snapshots that follow them.

A connection can end between SUBSCRIBE and SUBACK. Then nobody knows whether the centre has heard of it, and it is asked
again; a snapshot that began before that still counts from its first beginning, since its end may be on its way.
"""

from __future__ import annotations

from collections.abc import Sequence


class Enquiries:
    """Unanswered packets by packet identifier, and snapshots without an end by filter."""

    __slots__ = ("_snapshots", "_unanswered")

    def __init__(self) -> None:
        self._unanswered: dict[int, Sequence[bytes]] = {}
        self._snapshots: dict[bytes, int] = {}

    @property
    def awaiting_snapshot(self) -> bool:
        """What comes down may be what was retained before it was asked for."""
        return bool(self._snapshots)

    def subscribe(self, packet_identifier: int, filters: Sequence[bytes], event: int) -> None:
        """A SUBSCRIBE for `filters` leaves; a snapshot of each follows, begun at `event`."""
        self._unanswered[packet_identifier] = filters
        for filter in filters:
            self._snapshots.setdefault(filter, event)

    def unsubscribe(self, packet_identifier: int, filters: Sequence[bytes]) -> None:
        """An UNSUBSCRIBE for `filters` leaves. The end of a snapshot of theirs may still be on its way."""
        self._unanswered[packet_identifier] = filters

    def answered(self, packet_identifier: int) -> Sequence[bytes]:
        """SUBACK or UNSUBACK has come; for which filters."""
        return self._unanswered.pop(packet_identifier, ())

    def ended(self, filter: bytes) -> int | None:
        """The snapshot of `filter` has ended, or will never come; the event at which it began."""
        return self._snapshots.pop(filter, None)

    def lost(self) -> list[bytes]:
        """The connection is gone: the filters of whose changes nobody knows whether they were heard."""
        filters = [filter for filters in self._unanswered.values() for filter in filters]
        self._unanswered.clear()
        return filters

    def restart(self) -> None:
        """The centre has forgotten us: no answer and no snapshot will come."""
        self._unanswered.clear()
        self._snapshots.clear()
