"""One entry in a list of observers (RFC 7641 §4.1): a client that wants to hear about a resource under one token."""

from __future__ import annotations

from oriole.link.coap.transmission import Failure, Peer
from oriole.wire.coap import Code, Type

RESET_WINDOW = 64
"""How far back a Reset may lie that ends a peer's only observation: what was sent while the Reset was on its way."""


class Observation:
    """Base of what a server keeps per observer. `Endpoint.observe` registers it, `Endpoint.forget` removes it.

    Attributes:
        peer: whom to notify.
        token: of the registration; every notification carries it.
        head: first two bytes of a non-confirmable 2.05 with this token.
        last_message_id: of the latest notification, to recognise a Reset to it.
    """

    __slots__ = ("head", "last_message_id", "peer", "token")

    def __init__(self, peer: Peer, token: bytes) -> None:
        self.peer = peer
        self.token = token
        self.head = bytes((0x40 | Type.NON_CONFIRMABLE << 4 | len(token), Code.CONTENT))
        self.last_message_id = -1

    def acknowledged(self, now: int) -> None:
        """The peer acknowledged a confirmable notification: it is alive and up to date."""

    def renewed(self, now: int) -> tuple[int, bytes] | None:
        """Code and tail of the newest state, if it is newer than the notification about to be sent again."""
        return None

    def failed(self, failure: Failure, now: int) -> None:
        """The peer is gone or wants no more. The endpoint has forgotten the observation (RFC 7641 §4.5)."""

    def was_reset(self, message_id: int) -> bool:
        """Whether a Reset with `message_id` rejects one of our notifications.

        Certain for the latest one. Earlier ones count if the peer has no other observation they could belong to.
        """
        if message_id == self.last_message_id:
            return True
        alone = len(self.peer.observations) == 1 and self.last_message_id >= 0
        return alone and (self.last_message_id - message_id) & 0xFFFF < RESET_WINDOW
