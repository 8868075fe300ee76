"""What new subscriptions get of what was published before: in portions, as fast as the client takes it.

Where a hundred thousand values are kept, a client that subscribes to all of them keeps nobody waiting for it, and never
has so many of them pile up that publishers are held. While it is away, the rest waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from broker.core.message import Message
from broker.core.pressure import LOW_WATER_BYTES
from broker.core.records import CaughtUp
from broker.mqtt import nodes

if TYPE_CHECKING:
    from broker.mqtt.session import Session

PORTION = 1000
"""Messages handed over before others have their turn: a few milliseconds."""
FIRST_PAUSE_MS = 1
LAST_PAUSE_MS = 1000
"""Pauses between portions grow up to this while the client takes nothing."""


class Past:
    """What one session is still to be given, filter by filter.

    A filter that is subscribed again before its turn came is gone through once.
    """

    __slots__ = ("_before", "_filter", "_mark", "_messages", "_pause_ms", "_session", "_waiting", "wake_at")

    def __init__(self, session: Session) -> None:
        self._session = session
        self._waiting: dict[bytes, int] = {}
        self._filter = b""
        self._before = 0  # the place in the order up to which messages were before its filter
        self._messages: Iterator[Message] = iter(())
        self._mark: Message | None = None  # tells a node where the messages end
        self._pause_ms = FIRST_PAUSE_MS
        self.wake_at = 0

    def add(self, filter: bytes, before: int = 0) -> None:
        """A subscription was acknowledged: what its filter matches is to be sent, with RETAIN set [MQTT-3.3.1-8].

        It was made at the place `before` in the order of messages. A push that is held and came later was sent as it
        came; a retained value may be sent twice, and stays the same.
        """
        self._waiting[filter] = before

    @property
    def unfinished(self) -> list[bytes]:
        """Filters that are not gone through to their end; the first of them is begun anew where this is taken up."""
        begun = [] if not self._filter or self._filter in self._waiting else [self._filter]
        return begun + list(self._waiting)

    def go_on(self, now: int) -> None:
        """Hand over the next portion, and see to it that the rest follows."""
        at = self.due(now)
        if at is not None:
            self._session.router.engine.deadlines.schedule(self, at)

    def due(self, now: int) -> int | None:
        """Hand over the next portion. When to go on; None if nothing is left, or the client is away."""
        session = self._session
        if session.connection is None:
            return None
        room = PORTION
        while room and not session.queue and session.channel.size <= LOW_WATER_BYTES:
            message = next(self._messages, None)
            room -= 1
            if message is not None:
                self._deliver(message, now)
            elif not self._next_filter(now):
                session.past = None
                session.router.engine.deadlines.withdraw(self)
                return None
        self._pause_ms = FIRST_PAUSE_MS if room < PORTION else min(2 * self._pause_ms, LAST_PAUSE_MS)
        return now + self._pause_ms

    def _deliver(self, message: Message, now: int) -> None:
        session = self._session
        subscription = session.subscriptions.get(self._filter)
        if subscription is None:  # given up meanwhile
            self._messages = iter(())
            self._mark = None
        elif not message.retain and message.order > self._before:
            return
        elif not message.expires_at or message.expires_at > now:
            session.late_form(subscription).deliver(message, (session,), now)

    def _next_filter(self, now: int) -> bool:
        """End this filter and begin the next; False if there is none."""
        session = self._session
        if self._mark is not None:
            session.encoding.deliver(self._mark, (session,), now)
            self._mark = None
        if session.recorded and self._filter and self._filter not in self._waiting:
            session.router.engine.promises.records.append(CaughtUp(session.number, self._filter))
        self._filter = b""
        if not self._waiting:
            return False
        self._filter = next(iter(self._waiting))
        self._before = self._waiting.pop(self._filter)
        self._messages = session.router.late(self._filter, now)
        if session.node is not None:  # what changes from now on reaches the node as it happens
            self._mark = nodes.snapshot_end(session, [self._filter])
        return True
