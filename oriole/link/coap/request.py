"""A request that we sent, until its response or, if it observes, until somebody forgets it."""

from __future__ import annotations

from typing import Protocol

from oriole.link.coap.observe_order import Freshness
from oriole.link.coap.transmission import Failure
from oriole.wire.coap import Message


class Receiver(Protocol):
    """Who asked."""

    def response(self, message: Message, now: int) -> None:
        """The response, or a notification that is newer than those before."""

    def failed(self, failure: Failure, now: int) -> None:
        """The request did not arrive, or was rejected."""


class Request:
    """What is known of an open request.

    Attributes:
        receiver: who asked.
        token: matches its responses.
        observes: notifications follow the first response.
    """

    __slots__ = ("_freshness", "observes", "receiver", "token")

    def __init__(self, receiver: Receiver, token: bytes, observes: bool) -> None:
        self.receiver = receiver
        self.token = token
        self.observes = observes
        self._freshness = Freshness()

    def received(self, message: Message, now: int) -> bool:
        """Hand on a response unless a newer one came before (RFC 7641 §3.4). True if further ones may follow."""
        number = message.observe
        if number is None or not self.observes:
            self.receiver.response(message, now)
            return False
        if self._freshness.accepts(number, now):
            self.receiver.response(message, now)
        return True

    def acknowledged(self, now: int) -> None:
        """The server has the request; its response is awaited."""

    def failed(self, failure: Failure, now: int) -> None:
        """The server does not have the request."""
        self.receiver.failed(failure, now)
