"""Block1 and Block2: which slice of a body a message carries (RFC 7959 §2.2)."""

from __future__ import annotations

from dataclasses import dataclass

from oriole.wire.coap.codes import Code
from oriole.wire.coap.errors import CoapError, Remedy
from oriole.wire.coap.options import decode_uint, encode_uint

MAX_EXPONENT = 6
MAX_BLOCK_BYTES = 16 << MAX_EXPONENT
"""1024 bytes, the largest block."""


@dataclass(frozen=True, slots=True)
class Block:
    """One slice of a body.

    Attributes:
        number: position of the slice, counted in slices of this size.
        more: whether slices follow.
        exponent: the size is `16 << exponent` bytes; 0 to 6.
    """

    number: int
    more: bool
    exponent: int

    @property
    def size(self) -> int:
        """Bytes of a full slice."""
        return 16 << self.exponent

    @property
    def offset(self) -> int:
        """Where the slice begins in the body, in bytes."""
        return self.number << (self.exponent + 4)

    def encode(self) -> bytes:
        """The option's value."""
        return encode_uint(self.number << 4 | self.more << 3 | self.exponent)

    @classmethod
    def decode(cls, value: bytes) -> Block:
        """Read the option's value, of at most three bytes.

        Raises:
            CoapError: to be answered with 4.00, for the size 7, which is reserved (RFC 7959 §2.2).
        """
        bits = decode_uint(value)
        if bits & 7 > MAX_EXPONENT:
            raise CoapError(Remedy.ANSWER, "block size 7 is reserved", Code.BAD_REQUEST)
        return cls(bits >> 4, bool(bits & 8), bits & 7)
