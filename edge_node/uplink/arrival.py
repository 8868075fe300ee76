"""The promises to the centre: what came from there is acknowledged once it is recorded and has had its effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.message import Message
from oriole.link.mqtt import MessageReceived

if TYPE_CHECKING:
    from edge_node.uplink.down import Downstream


class Arrival:
    """A message from the centre: routed here, then acknowledged there."""

    __slots__ = ("down", "event", "message", "order")

    def __init__(self, down: Downstream, event: MessageReceived, message: Message | None, order: int) -> None:
        self.down = down
        self.event = event
        self.message = message
        self.order = order

    def kept(self, now: int) -> None:
        """Recorded: route it, unless it is a repeat, and say so."""
        if self.message is not None:
            self.down.take(self.message, self.order, now)
        self.down.acknowledge(self.event, now)

    def broken(self, now: int) -> None:
        """Not recorded: leave it to the centre, which sends it again on the next connection."""
        if self.message is not None:
            self.down.router.let_go(self.message)
        self.down.give_up(self.order)


class SnapshotEnd:
    """The mark after the values that the centre has: it counts once they are taken."""

    __slots__ = ("down", "event", "order")

    def __init__(self, down: Downstream, event: MessageReceived, order: int) -> None:
        self.down = down
        self.event = event
        self.order = order

    def kept(self, now: int) -> None:
        """All before it is recorded: what it does not mention is gone."""
        life, *filters = self.event.payload.split(b"\n")
        self.down.end_snapshot(life.decode(errors="replace"), filters, self.order, now)
        self.down.acknowledge(self.event, now)

    def broken(self, now: int) -> None:
        """What came before it was not recorded: it comes again."""
        self.down.give_up(self.order)
