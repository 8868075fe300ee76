"""Consistent overhead byte stuffing (Cheshire and Baker, 1999): bytes without zeros, at most one more in 254.

A zero byte can then end a frame, and a receiver that lost its place finds it again at the next one.
"""

from __future__ import annotations

from typing import Final

BLOCK: Final = 254  # the most bytes that one code byte can announce


class CobsError(ValueError):
    """The bytes were not made by COBS, or some of them are missing."""


def encode(data: bytes) -> bytes:
    """`data` without its zeros, in the shortest form; the delimiter is the caller's."""
    pieces: list[bytes] = []
    run = b""
    for run in data.split(b"\0"):
        while len(run) >= BLOCK:
            pieces += b"\xff", run[:BLOCK]
            run = run[BLOCK:]
        pieces += bytes((len(run) + 1,)), run
    if not run and len(pieces) > 2 and pieces[-4] == b"\xff":
        del pieces[-2:]  # a full block implies no zero behind it, so at the very end nothing need follow
    return b"".join(pieces)


def decode(data: bytes) -> bytes:
    """What `encode` was given. Raises CobsError for an empty string, a zero, or a block that is cut."""
    end = len(data)
    if not end or 0 in data:
        raise CobsError("empty" if not end else "a zero byte inside")
    decoded = bytearray()
    position = 0
    while True:
        code = data[position]
        block = data[position + 1 : position + code]
        if len(block) != code - 1:
            raise CobsError(f"a block of {code - 1} bytes is cut to {len(block)}")
        decoded += block
        position += code
        if position == end:
            return bytes(decoded)
        if code <= BLOCK:
            decoded.append(0)
