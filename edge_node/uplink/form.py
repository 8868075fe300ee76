"""The uplink's form: messages for the centre go up as values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.core.message import Message

if TYPE_CHECKING:
    from edge_node.uplink.uplink import Uplink


class UplinkForm:
    """Messages for the uplink, as values."""

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

    def deliver_all(self, messages: Sequence[Message], sinks: Sequence[Uplink], now: int) -> None:
        """The same for messages on one topic that came together."""
        for uplink in self.recipients(messages[0], sinks):
            uplink.send_all(messages, now)

    def forward(self, packets: bytes, count: int, sinks: Sequence[Uplink], now: int) -> None:
        """Never called: it takes no packets as they are."""
