"""A CoAP endpoint on one socket, joined to the engine: its turn, its clock, and the service behind it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from broker.coap.observers import Notification
from broker.core.channel import Channel
from oriole.link.coap import Endpoint, Exchange, ObserveNumbers
from oriole.wire.coap import Message

if TYPE_CHECKING:
    from broker.coap.service import CoapService


class Port:
    """What a listener talks to. It gives datagrams to `endpoint`, calls `stir`, and takes what is to be sent.

    Attributes:
        endpoint: the message layer.
        engine: whose turn and deadlines it shares.
        form: of the observers that are reached here.
        numbers: order of notifications.
    """

    __slots__ = ("_channel", "_stirred", "endpoint", "engine", "form", "numbers", "service", "wake_at")

    def __init__(self, service: CoapService, channel: Channel, getrandbits: Callable[[int], int]) -> None:
        self.service = service
        self.engine = service.engine
        self.endpoint = Endpoint(self, getrandbits)
        self.form = Notification(self)
        self.numbers = ObserveNumbers()
        self.wake_at = 0
        self._channel = channel
        self._stirred = False

    def stir(self) -> None:
        """Something may have to be sent, or waited for: have the engine's turn and clock see to it."""
        if self.endpoint.outgoing and not self._stirred:
            self._stirred = True
            self.engine.dirty.append(self._channel)
        at = self.endpoint.deadline()
        if at is not None:
            self.engine.deadlines.schedule(self, at)

    def take(self) -> list[tuple[bytes, Hashable]]:
        """Datagrams to send now, and where to."""
        self._stirred = False
        outgoing, self.endpoint.outgoing = self.endpoint.outgoing, []
        return outgoing

    def due(self, now: int) -> int | None:
        """Retransmissions and late acknowledgements."""
        self.endpoint.tick(now)
        self.stir()
        return self.endpoint.deadline()

    def ready(self, tail: bytes, address: Hashable, now: int) -> bytes | None:
        """See `oriole.link.coap.Service`."""
        return self.service.ready(tail, address, now)

    def request(self, message: Message, exchange: Exchange, now: int) -> None:
        """See `oriole.link.coap.Service`."""
        self.service.serve(self, message, exchange, now)
