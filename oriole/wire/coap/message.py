"""A CoAP message over UDP: four bytes, a token, options, a payload (RFC 7252 §3).

A datagram is a head (type, token length, code, message ID), the token, and a tail: options and payload. The tail
depends on neither the peer nor the exchange, so it is what servers keep ready-made.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from oriole.wire.coap.codes import Code, Type, dotted
from oriole.wire.coap.errors import CoapError, Remedy
from oriole.wire.coap.options import Option, Options, decode_options, decode_uint, encode_options

VERSION = 1
MAX_TOKEN_BYTES = 8


@dataclass(slots=True)
class Message:
    """One message.

    Attributes:
        type: confirmable, non-confirmable, acknowledgement or reset.
        code: method or response code, or 0 for the empty message; `Code` where it is one that we name.
        message_id: 16 bits that match acknowledgements and find duplicates.
        token: 0 to 8 bytes that match a response with its request.
        options: pairs of number and value. A decoded message has them in the order of their numbers.
        payload: may be empty.
    """

    type: int
    code: int
    message_id: int
    token: bytes = b""
    options: Options = field(default_factory=list)
    payload: bytes = b""

    def encode(self) -> bytes:
        """The datagram.

        Raises:
            ValueError: something that cannot be expressed: a token over 8 bytes, an option too long, an empty message
                with more than its head.
        """
        if len(self.token) > MAX_TOKEN_BYTES:
            raise ValueError(f"a token of {len(self.token)} bytes; it has at most {MAX_TOKEN_BYTES}")
        if self.code == Code.EMPTY and (self.token or self.options or self.payload):
            raise ValueError("an empty message has neither token, options nor payload")
        head = bytes((VERSION << 6 | self.type << 4 | len(self.token), self.code)) + self.message_id.to_bytes(2, "big")
        return head + self.token + encode_tail(self.options, self.payload)

    def option(self, number: int) -> bytes | None:
        """The value of an option, the first one if there are more; None without it."""
        for candidate, value in self.options:
            if candidate == number:
                return value
        return None

    def values(self, number: int) -> list[bytes]:
        """All values of a repeatable option, in order."""
        return [value for candidate, value in self.options if candidate == number]

    def uint(self, number: int) -> int | None:
        """The value of an option that holds a number; None without it."""
        value = self.option(number)
        return None if value is None else decode_uint(value)

    @property
    def observe(self) -> int | None:
        """Observe: 0 registers and 1 deregisters in a request, an order in a notification (RFC 7641 §2)."""
        return self.uint(Option.OBSERVE)

    def __str__(self) -> str:
        size = f" {len(self.payload)} bytes" if self.payload else ""
        return f"{Type(self.type).name} {dotted(self.code)} #{self.message_id} [{self.token.hex()}]{size}"


def encode_tail(options: Iterable[tuple[int, bytes]], payload: bytes = b"") -> bytes:
    """What follows the token: options, and the payload behind its marker."""
    encoded = encode_options(options)
    return encoded + b"\xff" + payload if payload else encoded


def decode(datagram: bytes) -> Message:
    """Read a datagram. Options are split, not judged: `recognised` does that.

    Raises:
        CoapError: with the remedy that RFC 7252 §4.2 and §4.3 ask for: a Reset for a confirmable message that is
            malformed, silence for everything else.
    """
    if len(datagram) < 4:
        raise CoapError(Remedy.IGNORE, f"{len(datagram)} bytes are no CoAP message")
    first, code = datagram[0], datagram[1]
    if first >> 6 != VERSION:
        raise CoapError(Remedy.IGNORE, f"CoAP version {first >> 6}")
    type = first >> 4 & 3
    token_length = first & 15
    start = 4 + token_length
    if token_length > MAX_TOKEN_BYTES:
        raise _malformed(type, f"token length {token_length} is reserved")
    if start > len(datagram):
        raise _malformed(type, "message ends inside the token")
    if code == Code.EMPTY:
        if len(datagram) > 4:
            raise _malformed(type, "empty message with more than its head")
    elif type == Type.RESET:
        raise _malformed(type, f"Reset with code {dotted(code)}")
    elif code >> 5 in (1, 6, 7):
        raise _malformed(type, f"code {dotted(code)} is of a reserved class")
    try:
        options, payload = decode_options(datagram, start)
    except ValueError as error:
        raise _malformed(type, str(error)) from None
    message_id = datagram[2] << 8 | datagram[3]
    return Message(type, code, message_id, datagram[4:start], options, datagram[payload:])


def _malformed(type: int, diagnostic: str) -> CoapError:
    return CoapError(Remedy.RESET if type == Type.CONFIRMABLE else Remedy.IGNORE, diagnostic)
