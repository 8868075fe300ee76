"""The promises to the centre: what came from there is acknowledged once it is recorded and has had its effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.message import Message
from oriole.link.mqtt import MessageReceived

if TYPE_CHECKING:
    from edge_node.uplink.uplink import Uplink


class Arrival:
    """A message from the centre: routed here, then acknowledged there."""

    __slots__ = ("event", "message", "order", "uplink")

    def __init__(self, uplink: Uplink, event: MessageReceived, message: Message | None, order: int) -> None:
        self.uplink = uplink
        self.event = event
        self.message = message
        self.order = order

    def kept(self, now: int) -> None:
        """Recorded: route it, unless it is a repeat, and say so."""
        if self.message is not None:
            self.uplink.take(self.message, self.order, now)
        self.uplink.acknowledge(self.event, now)

    def broken(self, now: int) -> None:
        """Not recorded: leave it to the centre, which sends it again on the next connection."""
        if self.message is not None:
            self.uplink.router.let_go(self.message)
        self.uplink.give_up(self.order)


class SnapshotEnd:
    """The mark after the values that the centre has: it counts once they are taken."""

    __slots__ = ("event", "order", "uplink")

    def __init__(self, uplink: Uplink, event: MessageReceived, order: int) -> None:
        self.uplink = uplink
        self.event = event
        self.order = order

    def kept(self, now: int) -> None:
        """All before it is recorded: what it does not mention is gone."""
        self.uplink.end_snapshot(self.event.payload.split(b"\n"), self.order, now)
        self.uplink.acknowledge(self.event, now)

    def broken(self, now: int) -> None:
        """What came before it was not recorded: it comes again."""
        self.uplink.give_up(self.order)
