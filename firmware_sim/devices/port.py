"""Where a device's behaviour meets a real protocol client. Behaviour knows no protocol, ports know no behaviour.

A port over the sans-I/O clients of `oriole.link` on a virtual clock is one more class with these methods.
"""

from dataclasses import dataclass
from typing import Protocol


@dataclass(slots=True, frozen=True)
class Delivery:
    """A message as it came in.

    `repeat`: the sender said that it may have been sent before (MQTT's DUP). `stored`: it is what was kept for whoever
    asks, not news (MQTT's RETAIN, a CoAP server's first answer to an observer).
    """

    topic: str
    payload: bytes
    qos: int
    repeat: bool
    stored: bool


class Owner(Protocol):
    """What a port tells its device."""

    def connected(self, resumed: bool) -> None:
        """There is a session. Not `resumed`: the other side knows nothing of this device, which subscribes anew."""

    def disconnected(self, reason: str) -> None:
        """The session's connection is gone; the port tries again by itself unless the device sleeps or is closed."""

    def subscribed(self, topic_filter: str) -> None:
        """From now on, messages to `topic_filter` are due."""

    def delivered(self, delivery: Delivery) -> None:
        """A message came in."""

    def accepted(self, ticket: int) -> None:
        """The other side took responsibility for what was published under `ticket`."""

    def refused(self, ticket: int, reason: str) -> None:
        """The other side said no."""

    def unanswered(self, ticket: int | None, reason: str) -> None:
        """Nobody knows what became of a request; `ticket` where it was a message."""

    def resent(self, tickets: list[int]) -> None:
        """These were sent again, marked as repeats: QoS 1 allows each to arrive once more."""

    def answered(self, topic: str, payload: bytes | None) -> None:
        """The answer to `read`; None where there is no value."""


class Port(Protocol):
    """A client of one protocol. Methods return at once; what becomes of them comes back through `Owner`."""

    latest_only: bool
    """Whether a subscription promises the newest state (CoAP) rather than every message (MQTT, serial)."""

    def open(self, owner: Owner) -> None:
        """Connect, and stay connected. Also how a sleeper wakes."""

    def sleep(self) -> None:
        """Disconnect; the session waits on the other side."""

    async def close(self) -> None:
        """Disconnect for good, session and all."""

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """Ask for messages."""

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int) -> None:
        """Send a message; `accepted`, `refused` or `unanswered` names the `ticket` where the protocol answers."""

    def forget(self, topic: str) -> None:
        """Take back what was published there with `retain`; nobody waits for it."""

    def read(self, topic: str) -> None:
        """Ask for a topic's value, where the protocol can (CoAP)."""
