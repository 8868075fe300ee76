"""A request that came in, until it is answered: at once, or later and separately (RFC 7252 §5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oriole.link.coap.transmission import Peer
from oriole.wire.coap import CoapError, Code, Message, Option, Type, encode_tail

if TYPE_CHECKING:
    from collections.abc import Hashable

    from oriole.link.coap.endpoint import Endpoint

MAX_DIAGNOSTIC_BYTES = 256


class Exchange:
    """The way back to whoever asked. It is answered exactly once, whenever its service is ready.

    Attributes:
        address: who asked.
        token: of the request.
        acknowledged: an empty acknowledgement went out: the answer will be a message of its own.
        answered: `respond` was called.
    """

    __slots__ = (
        "_confirmable",
        "_endpoint",
        "_message_id",
        "_suppressed",
        "acknowledged",
        "address",
        "answered",
        "token",
    )

    def __init__(self, endpoint: Endpoint, request: Message, address: Hashable) -> None:
        self._endpoint = endpoint
        self._confirmable = request.type == Type.CONFIRMABLE
        self._message_id = request.message_id
        self._suppressed = request.uint(Option.NO_RESPONSE) or 0
        self.address = address
        self.token = request.token
        self.acknowledged = False
        self.answered = False

    @property
    def peer(self) -> Peer:
        """Who asked, as the endpoint keeps it."""
        return self._endpoint.peer(self.address)

    def respond(self, code: int, tail: bytes, now: int) -> None:
        """Answer with `code` and with options and payload as `encode_tail` gives them.

        Carried by the acknowledgement where that is still due; confirmable where the request was and it is not. An
        answer of a class that the client does not want (RFC 7967) is not sent, its acknowledgement is.
        """
        if self.answered:
            raise RuntimeError("an exchange was answered twice")
        self.answered = True
        wanted = not self._suppressed >> (code >> 5) - 1 & 1
        endpoint = self._endpoint
        endpoint.pending -= 1
        if not self._confirmable:
            if wanted:
                endpoint.send(Type.NON_CONFIRMABLE, code, self.token, tail, self.address)
        elif not self.acknowledged:
            if wanted:
                head = bytes((0x40 | Type.ACKNOWLEDGEMENT << 4 | len(self.token), code))
                self._reply(head + self._message_id.to_bytes(2) + self.token + tail, now)
            else:
                self.acknowledge(now)
        elif wanted:
            endpoint.send_confirmable(code, self.token, tail, self.address, now)

    def refuse(self, error: CoapError, now: int) -> None:
        """Answer with the code of `error` and what was wrong in words (RFC 7252 §5.5.2)."""
        self.respond(error.code, encode_tail((), error.diagnostic.encode()[:MAX_DIAGNOSTIC_BYTES]), now)

    def acknowledge(self, now: int) -> None:
        """Tell a client that waits that its request arrived; the answer follows."""
        if self._confirmable and not self.acknowledged:
            self.acknowledged = True
            head = bytes((0x40 | Type.ACKNOWLEDGEMENT << 4, Code.EMPTY))
            self._reply(head + self._message_id.to_bytes(2), now)

    def _reply(self, datagram: bytes, now: int) -> None:
        self._endpoint.reply((self.address, self._message_id), datagram, now)
