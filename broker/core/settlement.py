"""How each (message, recipient) ended. Every pair ends exactly once.

Counters cost a QoS 0 message one addition per group of recipients. Where somebody asks for records (receipts, "why did
I not get this"), `Settlement.record` is called as well.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.core.message import Message
    from broker.core.sink import Sink


class Outcome(StrEnum):
    """The six ends of a delivery."""

    ACKNOWLEDGED = "acknowledged"
    SENT = "sent"
    EXPIRED = "expired"
    COLLAPSED = "collapsed"
    DROPPED = "dropped"
    REFUSED = "refused"


class Reason(StrEnum):
    """Why a delivery was dropped or refused."""

    OFFLINE = "offline"
    """QoS 0, and the recipient is not connected."""
    SLOW_READER = "slow reader"
    """QoS 0, and the recipient has not read for too long."""
    QUEUE_FULL = "queue full"
    TOO_LARGE = "too large for the recipient"
    SESSION_ENDED = "session ended"
    REJECTED = "rejected by the recipient"
    NOT_PERMITTED = "not permitted"
    LINK_DOWN = "link down"
    LOOP = "came back to a node it had passed"


class Settlement:
    """The node's account of deliveries.

    Attributes:
        sent: QoS 0 deliveries handed to the recipient's channel: as far as MQTT's QoS 0 goes.
        acknowledged: QoS 1 and 2 deliveries that the recipient confirmed.
        expired, collapsed: deliveries that time or a newer message made worthless.
        dropped, refused: by reason.
        record: called with (message, sink, outcome, reason, now) for deliveries that end one at a time, where set.
    """

    __slots__ = ("acknowledged", "collapsed", "dropped", "expired", "record", "refused", "sent")

    def __init__(self) -> None:
        self.sent = 0
        self.acknowledged = 0
        self.expired = 0
        self.collapsed = 0
        self.dropped: dict[Reason, int] = {}
        self.refused: dict[Reason, int] = {}
        self.record: Callable[[Message, Sink | None, Outcome, Reason | None, int], None] | None = None

    def drop(self, reason: Reason, count: int = 1) -> None:
        """Count `count` deliveries that ended without their message."""
        self.dropped[reason] = self.dropped.get(reason, 0) + count

    def expire(self, message: Message, sink: Sink, now: int) -> None:
        """A delivery that time made worthless."""
        self.expired += 1
        if self.record is not None:
            self.record(message, sink, Outcome.EXPIRED, None, now)

    def refuse(self, reason: Reason, count: int = 1) -> None:
        """Count `count` publishes that were turned away before an acknowledgement."""
        self.refused[reason] = self.refused.get(reason, 0) + count

    def counts(self) -> dict[str, int]:
        """Every counter by a name such as `dropped: offline`."""
        counts = {name: getattr(self, name) for name in ("sent", "acknowledged", "expired", "collapsed")}
        counts |= {f"dropped: {reason}": count for reason, count in self.dropped.items()}
        return counts | {f"refused: {reason}": count for reason, count in self.refused.items()}
