"""Pushes that asked to be held: what a device that comes late gets beside retained state.

A push asks for it by a lifetime (Message Expiry Interval) or a collapse key. Everything else is an event that is over
when it is over: a lock that wakes does not get yesterday's "unlock".
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from broker.core.message import Message
from broker.core.router import Router
from broker.core.sink import OneByOne
from broker.core.topics import TopicTree
from oriole.wire.mqtt import V5

MOST_PER_TOPIC = 16
"""Held pushes of one topic; the oldest goes first. A device that comes late wants the latest, not a history."""


class _HeldForm(OneByOne):
    """The cache's form. A plain MQTT 5 packet says neither lifetime nor key, so it may pass by as it is; a 3.1.1 packet
    may hold a push's envelope and is looked at.
    """

    __slots__ = ()
    takes = 1 << V5

    def merge(self, other: _HeldForm) -> _HeldForm:
        """There is one subscription."""
        return self

    def recipients(self, message: Message, sinks: Sequence[Any]) -> Sequence[Any]:
        """Nobody: those who come late are."""
        return ()

    def deliver(self, message: Message, sinks: Sequence[Any], now: int) -> None:
        """Hold what asks for it."""
        for cache in sinks:
            cache.hold(message, now)

    def forward(self, packets: bytes, count: int, sinks: Sequence[Any], now: int) -> None:
        """Nothing in these packets asks to be held."""


class HeldPushes:
    """Held pushes by topic, newest last.

    Args:
        router: whose messages it sees and whose new subscriptions it answers.
        max_bytes: most bytes of `Message.size` held; the topic that was held longest goes first.
    """

    label = "held"
    full = False
    persistent = False
    remote = True

    __slots__ = (
        "_held", "_max_bytes", "answers", "bytes",
    )  # fmt: skip

    def __init__(self, router: Router, max_bytes: int = 4 << 20) -> None:
        self._held: TopicTree[list[Message]] = TopicTree()
        self._max_bytes = max_bytes
        self.bytes = 0
        self.answers = 0
        """Pushes given to late comers."""
        router.memories.append(self)
        router.subscribe(b"#", self, _HeldForm(), 0)

    def hold(self, message: Message, now: int) -> None:
        """Keep `message` if it asks for it; a push with the same collapse key is replaced."""
        key = message.header.collapse_key if message.header is not None else None
        if message.retain or not (message.expires_at or key is not None):
            return
        held = [
            other
            for other in self._take(message.topic)
            if (not other.expires_at or other.expires_at > now) and (key is None or _key(other) != key)
        ]
        if message.payload:
            held.append(message)
        held = held[-MOST_PER_TOPIC:]
        if held:
            self._held.set(message.topic, held)
            self.bytes += sum(other.size for other in held)
        while self.bytes > self._max_bytes:
            self._take(next(iter(self._held.values)))

    def has_room_for(self, message: Message) -> bool:
        """See `Sink`: it is never full."""
        return True

    def matching(self, filter: bytes, now: int) -> Iterator[Message]:
        """The pushes for a new subscription to `filter`."""
        for topic in list(self._held.matching(filter)):
            for message in list(self._held.values.get(topic, ())):
                if not message.expires_at or message.expires_at > now:
                    self.answers += 1
                    yield message

    def _take(self, topic: bytes) -> list[Message]:
        held = self._held.pop(topic) or []
        self.bytes -= sum(message.size for message in held)
        return held


def _key(message: Message) -> str | None:
    return message.header.collapse_key if message.header is not None else None
