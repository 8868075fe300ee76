"""Where a device's behaviour meets a protocol client. Behaviour knows no protocol, ports know no behaviour.

There are three sets of ports: over real clients on real sockets (`firmware_sim.ports`), and over the sans-I/O clients
of `oriole.link` in bulk (`firmware_sim.bulk`) and in virtual time (`firmware_sim.virtual`).
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


class Meter(Protocol):
    """What a radio spends: told of everything that goes over it. `firmware_sim.energy.Radio` is one."""

    def connected(self, now_ns: int) -> None:
        """A session was set up."""

    def woke(self, now_ns: int) -> None:
        """The device is awake, and wants to be connected."""

    def slept(self, now_ns: int) -> None:
        """The device sleeps, or has no power."""

    def sent(self, size_bytes: int, now_ns: int) -> None:
        """So many bytes left, with those of the protocol."""

    def received(self, size_bytes: int, now_ns: int) -> None:
        """So many bytes came."""


@dataclass(slots=True, frozen=True)
class Will:
    """What the broker says, retained, when the device is gone without a word."""

    topic: str
    payload: bytes


@dataclass(slots=True, frozen=True)
class Access:
    """What a port is told of its device. `name` and `run` make the client identifier, `{name}-{run}`."""

    name: str
    run: str
    kind: str
    mqtt_version: int = 5
    """5, or 4 for MQTT 3.1.1."""
    session_s: int = 3600
    keep_alive_s: int = 30
    """MQTT's keep-alive; on CoAP, after so long an observation is asked for again. 0 for never."""
    will: Will | None = None
    meter: Meter | None = None

    @property
    def client_id(self) -> str:
        """What the other side knows it as, where the protocol has such a name; no two runs share one."""
        return f"{self.name}-{self.run}"


class Port(Protocol):
    """A client of one protocol. Methods return at once; what becomes of them comes back through `Owner`."""

    latest_only: bool
    """Whether a subscription promises the newest state (CoAP) rather than every message (MQTT, serial)."""

    def open(self, owner: Owner) -> None:
        """Connect, and stay connected. Also how a sleeper wakes."""

    def sleep(self) -> None:
        """Disconnect in order; the session waits on the other side."""

    def fail(self, keeps_state: bool, silently: bool) -> None:
        """The device is gone without a word, until `open`. Without its state it knows of no session afterwards.

        `silently`: with its power, so that nothing even closes its connection, where the carrier can do that.
        """

    def stall(self, stalled: bool) -> None:
        """Read nothing of what comes until told otherwise."""

    def roam(self) -> None:
        """Leave without a word, and connect to the next of its addresses."""

    async def close(self) -> None:
        """Disconnect for good, session and all."""

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """Ask for messages."""

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int, lifetime_s: int = 0) -> None:
        """Send a message; `accepted`, `refused` or `unanswered` names the `ticket` where the protocol answers.

        After `lifetime_s` it is worth nothing, where the protocol can say so; 0 for never.
        """

    def forget(self, topic: str) -> None:
        """Take back what was published there with `retain`; nobody waits for it."""

    def read(self, topic: str) -> None:
        """Ask for a topic's value, where the protocol can (CoAP)."""
