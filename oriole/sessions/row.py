"""What a node says of one session, and what all of them come to."""

from collections.abc import Iterable
from typing import Self

import msgspec


class SessionRow(msgspec.Struct, frozen=True, kw_only=True):
    """One session.

    Attributes:
        client: the client identifier.
        node: what it calls itself, where it is another Oriole node.
        peer: its address; None while it is away.
        away_s: for how many seconds it has been away; None while it is connected.
        ends_in_s: in how many seconds its session ends; None: it is connected, or the session stays for good.
        subscriptions: how many it has.
        queued, queued_bytes: messages that wait to be sent to it.
        in_flight: messages that were sent to it and that it has not confirmed.
        is_full: nothing more is taken for it: publishers are refused or slowed.
    """

    client: str
    node: str | None = None
    peer: str | None = None
    away_s: int | None = None
    ends_in_s: int | None = None
    subscriptions: int
    queued: int
    queued_bytes: int
    in_flight: int
    is_full: bool

    @property
    def is_connected(self) -> bool:
        """Whether its client is there."""
        return self.peer is not None

    @property
    def rank(self) -> tuple[int, int, int, str]:
        """Sorts whoever is most behind before others."""
        return -self.queued, -self.queued_bytes, -self.in_flight, self.client


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """What sessions come to together."""

    sessions: int
    connected: int
    queued: int
    queued_bytes: int
    in_flight: int
    full: int

    @classmethod
    def of(cls, rows: Iterable[SessionRow]) -> Self:
        """Of these."""
        rows = list(rows)
        return cls(
            sessions=len(rows),
            connected=sum(row.is_connected for row in rows),
            queued=sum(row.queued for row in rows),
            queued_bytes=sum(row.queued_bytes for row in rows),
            in_flight=sum(row.in_flight for row in rows),
            full=sum(row.is_full for row in rows),
        )
