"""What one read from a client promised, to be kept once the journal has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from broker.core.message import Message
from broker.mqtt import subscribing
from broker.mqtt.pieces import PUBREC
from oriole.wire.mqtt import ProtocolError, ReasonCode

if TYPE_CHECKING:
    from broker.mqtt.connection import Connection
    from broker.mqtt.session import Session


class Acknowledgements:
    """QoS 2 messages to route and acknowledgement packets to send, in order.

    Attributes:
        packets: acknowledgements, one or several in a piece.
        count: how many acknowledgements they are.
        received: QoS 2 messages with their packet identifiers.
        late: filters that get what was published before them, after their SUBACK, and up to which place in the order.
    """

    __slots__ = ("connection", "count", "late", "packets", "received", "session")

    def __init__(self, connection: Connection, session: Session) -> None:
        self.connection = connection
        self.session = session
        self.packets: list[bytes] = []
        self.count = 0
        self.received: list[tuple[int, Message]] = []
        self.late: list[tuple[bytes, int]] = []

    def add(self, kind: bytes, identifiers: Sequence[bytes]) -> None:
        """Acknowledge packets, if there are any, by four-byte packets that begin with `kind`."""
        if not identifiers:
            return
        self.packets.append(kind + kind.join(identifiers))
        self.count += len(identifiers)

    def answer(self, packet: bytes) -> None:
        """Acknowledge one packet by `packet`."""
        self.packets.append(packet)
        self.count += 1

    def receive(self, messages: Sequence[Message], identifiers: Sequence[bytes]) -> None:
        """Take over QoS 2 messages: to be recorded, routed, and acknowledged by PUBREC."""
        router = self.session.router
        publisher = self.session.number if self.session.recorded else 0
        numbers = [identifier[0] << 8 | identifier[1] for identifier in identifiers]
        router.take_over(messages, publisher, numbers)
        self.received += zip(numbers, messages, strict=True)
        for message in messages:
            router.backlog.add(message)
        self.add(PUBREC, identifiers)

    def kept(self, now: int) -> None:
        """Route what came by QoS 2, then acknowledge, if the client is still there."""
        if self.received:
            self._route(now)
        connection = self.connection
        if connection.session is self.session:
            connection.channel.send(b"".join(self.packets))
            connection.settle_unkept(self.count)
            if self.late:
                subscribing.deliver_late(self.session, self.late, now)

    def _route(self, now: int) -> None:
        router = self.session.router
        for _, message in self.received:
            router.backlog.remove(message)
        router.publish_all([message for _, message in self.received], now)

    def broken(self, now: int) -> None:
        """Nothing was promised: forget the QoS 2 identifiers, so that repeats are new, and close."""
        received = self.session.received
        for identifier, message in self.received:
            self.session.router.backlog.remove(message)
            self.session.router.let_go(message)
            if received is not None:
                received.pop(identifier, None)
        if self.connection.session is self.session:
            self.connection.fail(ProtocolError("the journal failed", ReasonCode.UNSPECIFIED_ERROR), now)
