"""The uplink's form: messages for the centre go up one by one, as values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.core.message import Message
from broker.core.sink import OneByOne

if TYPE_CHECKING:
    from edge_node.uplink.uplink import Uplink


class UplinkForm(OneByOne):
    """Messages for the uplink: one by one, as values."""

    __slots__ = ()
    takes = 0

    def merge(self, other: UplinkForm) -> UplinkForm:
        """There is one subscription."""
        return self

    def recipients(self, message: Message, sinks: Sequence[Uplink]) -> Sequence[Uplink]:
        """Nobody, where the message came from there."""
        return [uplink for uplink in sinks if message.origin is not uplink]

    def deliver(self, message: Message, sinks: Sequence[Uplink], now: int) -> None:
        """Send a message up."""
        for uplink in self.recipients(message, sinks):
            uplink.send(message, now)

    def forward(self, packets: bytes, count: int, sinks: Sequence[Uplink], now: int) -> None:
        """Never called: it takes no packets as they are."""
