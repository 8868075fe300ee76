"""How each (message, recipient) ended. Every pair ends exactly once.

Counters cost a QoS 0 message one addition per group of recipients. Where somebody keeps a book (docs/settlements.md),
what is taken, what is refused and each end is entered there as well, one by one.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from broker.core.message import Message
    from broker.core.routes import Route
    from broker.core.sink import Sink


class Outcome(StrEnum):
    """The ends of a delivery."""

    ACKNOWLEDGED = "acknowledged"
    SENT = "sent"
    EXPIRED = "expired"
    COLLAPSED = "collapsed"
    DROPPED = "dropped"


class Reason(StrEnum):
    """Why a delivery was dropped, or a message refused."""

    OFFLINE = "offline"
    """QoS 0, and the recipient is not connected."""
    SLOW_READER = "slow reader"
    """QoS 0, and the recipient has not read for too long."""
    QUEUE_FULL = "queue full"
    TOO_LARGE = "too large for the recipient"
    SESSION_ENDED = "session ended"
    REJECTED = "rejected by the recipient"
    NOT_PERMITTED = "not permitted"
    UNREADABLE = "cannot be read from the disk any more"
    LINK_DOWN = "link down"
    LOOP = "came back to a node it had passed"
    REPEAT = "repeat"
    """Another node sent it again, and it was taken the first time."""
    SUPERSEDED = "superseded"
    """A retained value that is no newer than the one that stands here."""


class Book(Protocol):
    """Who takes down what becomes of every message."""

    def accepted(self, message: Message, recipients: Sequence[Sink], now: int) -> None:
        """`message` was taken, and is owed to `recipients`."""

    def refused(self, message: Message, reason: Reason, now: int) -> None:
        """`message` was not taken: nobody here is owed it."""

    def ended(self, message: Message, sink: Sink | None, outcome: Outcome, reason: Reason | None, now: int) -> None:
        """What `sink` was owed has ended; without a sink, what the store of retained values was."""

    def turned(self) -> None:
        """What was entered so far may be written: nothing that it led to has left the node."""


class Settlement:
    """The node's account of messages and deliveries. A method for each end; it counts, and enters it in the book.

    Attributes:
        sent: QoS 0 deliveries handed to the recipient's channel: as far as MQTT's QoS 0 goes.
        acknowledged: QoS 1 and 2 deliveries that the recipient confirmed.
        expired, collapsed: deliveries that time or a newer message made worthless.
        dropped: deliveries that ended without their message, by reason.
        refused: messages that were not taken, by reason.
        book: takes it all down one by one, where set; from before the first client, or it misses what passes as bytes.
    """

    __slots__ = ("acknowledged", "book", "collapsed", "dropped", "expired", "refused", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.expired = 0
        self.collapsed = 0
        self.dropped: dict[Reason, int] = {}
        self.refused: dict[Reason, int] = {}
        self.book: Book | None = None

    # A message

    def accept(self, message: Message, route: Route, now: int) -> None:
        """It was taken, and goes to those on `route`."""
        if self.book is not None:
            self.book.accepted(message, route.recipients(message), now)

    def refuse(self, message: Message, reason: Reason, now: int) -> None:
        """It was turned away before an acknowledgement, or was known already."""
        self.refused[reason] = self.refused.get(reason, 0) + 1
        if self.book is not None:
            self.book.refused(message, reason, now)

    # A delivery

    def send(self, message: Message, sinks: Sequence[Sink], now: int) -> None:
        """It is in the channels of its recipients, and none of them will say that it arrived."""
        self.sent += len(sinks)
        if self.book is not None:
            for sink in sinks:
                self.book.ended(message, sink, Outcome.SENT, None, now)

    def acknowledge(self, message: Message, sink: Sink, now: int) -> None:
        """The recipient has it."""
        self.acknowledged += 1
        self._end(message, sink, Outcome.ACKNOWLEDGED, None, now)

    def expire(self, message: Message, sink: Sink, now: int) -> None:
        """Time made it worthless."""
        self.expired += 1
        self._end(message, sink, Outcome.EXPIRED, None, now)

    def collapse(self, message: Message, sink: Sink, now: int) -> None:
        """A newer message made it worthless."""
        self.collapsed += 1
        self._end(message, sink, Outcome.COLLAPSED, None, now)

    def drop(self, message: Message, sink: Sink | None, reason: Reason, now: int) -> None:
        """The recipient does not get it; without a recipient: it could not be kept as its topic's retained value."""
        self.drop_unseen(reason, 1)
        self._end(message, sink, Outcome.DROPPED, reason, now)

    def drop_unseen(self, reason: Reason, count: int) -> None:
        """`count` messages that pass as bytes do not reach a recipient; nobody keeps a book."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def _end(self, message: Message, sink: Sink | None, outcome: Outcome, reason: Reason | None, now: int) -> None:
        if self.book is not None:
            self.book.ended(message, sink, outcome, reason, now)

    def counts(self) -> dict[str, int]:
        """Every counter by a name such as `dropped: offline`."""
        counts = {name: getattr(self, name) for name in ("sent", "acknowledged", "expired", "collapsed")}
        counts |= {f"dropped: {reason}": count for reason, count in self.dropped.items()}
        return counts | {f"refused: {reason}": count for reason, count in self.refused.items()}
