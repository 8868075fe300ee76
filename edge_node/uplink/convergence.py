"""Which retained value is the newer one when both sides of a link have set it: the centre's order decides.

A value set here is pending until the centre has given it a place. What comes down meanwhile contends: it waits for that
answer, at most a round trip while the link is up, and only the one with the higher place is kept. So both sides end
with the same value, whatever was cut in between.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import Enum

from broker.core.message import Message

MOST_FORGOTTEN = 10_000
"""Topics without a value whose last place is remembered, so that an old value in flight does not come back."""


class Ruling(Enum):
    """What to do with a retained value that came from the centre."""

    KEEP = "newer: keep and deliver it"
    KNOWN = "known already, or older"
    WAIT = "a value set here has no place yet"


class _State:
    __slots__ = ("contender", "order", "pending", "seen")

    def __init__(self) -> None:
        self.order = 0
        self.pending = 0
        self.contender: tuple[int, Message] | None = None
        self.seen = 0


class Convergence:
    """The centre's order of each topic with a retained value."""

    __slots__ = ("_events", "_forgotten", "_states", "outdone")

    def __init__(self) -> None:
        self.outdone: list[Message] = []
        """Values from the centre that waited for an answer and are not kept; whoever settles them empties it."""
        self._states: dict[bytes, _State] = {}
        self._forgotten: dict[bytes, None] = {}
        self._events = 0

    @property
    def contenders(self) -> Iterator[Message]:
        """Values from the centre that wait for an answer."""
        return (state.contender[1] for state in self._states.values() if state.contender is not None)

    def published(self, topic: bytes) -> None:
        """A value was set here and is on its way to the centre."""
        self._state(topic).pending += 1

    def confirmed(self, topic: bytes, order: int) -> Message | None:
        """The centre gave the oldest pending value its place (0: it has none to give, or refused).

        Returns the contender that must be kept now, if it won.
        """
        state = self._state(topic)
        state.pending = max(0, state.pending - 1)
        state.order = max(state.order, order)
        if state.pending or state.contender is None:
            return None
        (place, contender), state.contender = state.contender, None
        if place <= state.order:
            self.outdone.append(contender)
            return None
        state.order = place
        return contender

    def arrived(self, message: Message, order: int) -> Ruling:
        """A retained value came down; `order` is the centre's place for it, 0 from a centre that has no order."""
        state = self._state(message.topic)
        self._events += 1
        state.seen = self._events
        if order and order <= state.order:
            return Ruling.KNOWN
        if state.pending and not order:
            return Ruling.KNOWN  # no order to go by: what is set here goes up behind it, and replaces it there
        if state.pending:
            if state.contender is not None:
                if order <= state.contender[0]:
                    return Ruling.KNOWN
                self.outdone.append(state.contender[1])
            state.contender = (order, message)
            return Ruling.WAIT
        state.order = order
        return Ruling.KEEP

    def order_of(self, topic: bytes) -> int:
        """The place of the topic's value, or of its end; 0: it has none."""
        state = self._states.get(topic)
        return 0 if state is None else state.order

    def places(self) -> Iterator[tuple[bytes, int]]:
        """All places that are known."""
        for topic, state in self._states.items():
            if state.order:
                yield topic, state.order

    def recall(self, places: Mapping[bytes, int]) -> None:
        """Know these places again; values that were set here since are to be `published` after that."""
        for topic, order in places.items():
            self._state(topic).order = order

    def event(self) -> int:
        """A number for now, to tell what arrives after it from what was there before."""
        self._events += 1
        return self._events

    def missing(self, topic: bytes, since: int, order: int) -> bool:
        """Whether a snapshot, begun at event `since`, ended at the centre's `order`, says that `topic` has no value."""
        state = self._state(topic)
        return not state.pending and state.seen < since and state.order <= order

    def forget(self, topic: bytes) -> None:
        """The topic has no value here any more. Its place is remembered for a while."""
        state = self._states.get(topic)
        if state is not None and not state.pending:
            self._forgotten[topic] = None
            if len(self._forgotten) > MOST_FORGOTTEN:
                oldest = next(iter(self._forgotten))
                del self._forgotten[oldest]
                self._states.pop(oldest, None)

    def let_go(self, topic: bytes) -> None:
        """The topic's value is not kept here any more, though the centre has it: what it says next is news."""
        state = self._states.get(topic)
        if state is not None and state.pending:
            state.order = 0
        else:
            self._states.pop(topic, None)

    def restart(self) -> None:
        """The centre numbers from the beginning again: its old places mean nothing."""
        for state in self._states.values():
            state.order = 0
            if state.contender is not None:
                self.outdone.append(state.contender[1])
                state.contender = None

    def _state(self, topic: bytes) -> _State:
        self._forgotten.pop(topic, None)
        state = self._states.get(topic)
        if state is None:
            state = self._states[topic] = _State()
        return state
