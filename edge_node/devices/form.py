"""How a message reaches serial devices: one form for each quality of service that a subscription may have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from broker.core.message import Message
from broker.core.sink import OneByOne

if TYPE_CHECKING:
    from edge_node.devices.device import SerialDevice


@dataclass(slots=True, unsafe_hash=True)
class SerialForm(OneByOne):
    """Deliver frames, with a number (`qos` 1) or without. Each device has its own numbers, so nothing is shared."""

    qos: int
    takes: int = 0

    def merge(self, other: SerialForm) -> SerialForm:
        """The better of two subscriptions that match one topic."""
        return self if self.qos >= other.qos else other

    def deliver(self, message: Message, sinks: Sequence[SerialDevice], now: int) -> None:
        """Hand `message` to each device; what follows a subscription is no retained value any more [MQTT-3.3.1-9]."""
        for device in sinks:
            device.offer(message, min(message.qos, self.qos), False, now)

    def deliver_all(self, messages: Sequence[Message], sinks: Sequence[SerialDevice], now: int) -> None:
        """The same for messages that came together: a line is too slow to gain from that."""
        for message in messages:
            self.deliver(message, sinks, now)

    def forward(self, packets: bytes, count: int, sinks: Sequence[SerialDevice], now: int) -> None:
        """Never called: `takes` is 0."""
        raise NotImplementedError("a serial device takes no MQTT packets")
