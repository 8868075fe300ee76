"""What core delivers to.

A sink is a recipient: an MQTT session, a CoAP observer, a serial device, the uplink. A form is a way of putting a
message into bytes (or frames) that a number of sinks share: core groups the recipients of a topic by form, so that a
message is encoded once per form, however many take it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from broker.core.message import Message


class Publisher(Protocol):
    """Somebody whom messages come from."""

    @property
    def label(self) -> str:
        """What accounts call it: what it is and its name, such as `client:lamp-1`; the same as long as it lives."""


class Sink(Publisher, Protocol):
    """A recipient of messages. Compared by identity; protocols add what they need."""

    full: bool
    """No room for another QoS 1 or 2 message: the publisher is refused or slowed before it gets an acknowledgement.
    Set through `Router.set_full`, which counts, so that nobody looks while nothing is full."""
    persistent: bool
    """What it is owed must survive a restart: messages for it are recorded before they are acknowledged."""
    remote: bool
    """It leads to another node: its subscriptions are no interest of this node's own devices."""

    def has_room_for(self, message: Message) -> bool:
        """Whether, full as it is, it has room for this message after all."""


class Form(Protocol):
    """One encoding and those who take it. Immutable; equal forms make one group, by `__eq__` and `__hash__`."""

    takes: int
    """Bit set of the packet formats (`1 << version`) whose plain QoS 0 PUBLISH bytes these sinks take unchanged."""

    def merge(self, other: Any) -> Any:
        """The form of a sink that matched twice: the better of both promises, delivered once [MQTT-3.3.4-2]."""

    def recipients(self, message: Message, sinks: Sequence[Any]) -> Sequence[Any]:
        """Those of `sinks` that `message` is for; not, for example, a publisher that asked not to hear itself."""

    def deliver(self, message: Message, sinks: Sequence[Any], now: int) -> None:
        """Hand `message` to its recipients among `sinks`; each such pair is settled exactly once, now or later."""

    def deliver_all(self, messages: Sequence[Message], sinks: Sequence[Any], now: int) -> None:
        """The same for messages on one topic that came together, none of them retained."""

    def forward(self, packets: bytes, count: int, sinks: Sequence[Any], now: int) -> None:
        """Hand on `count` whole QoS 0 PUBLISH packets of a format in `takes`, as they came."""


class OneByOne:
    """A form that gains nothing from messages that come together."""

    __slots__ = ()

    def recipients(self, message: Message, sinks: Sequence[Any]) -> Sequence[Any]:
        """See `Form`."""
        return sinks

    def deliver(self, message: Message, sinks: Sequence[Any], now: int) -> None:
        """See `Form`."""
        raise NotImplementedError

    def deliver_all(self, messages: Sequence[Message], sinks: Sequence[Any], now: int) -> None:
        """See `Form`."""
        for message in messages:
            self.deliver(message, sinks, now)
