"""CBOR (RFC 8949) as Oriole speaks it: plain values, nothing that runs code or costs more than it weighs.

cbor2 does the work. What it would do for a stranger beyond plain values is switched off here, in one place: tags
(dates, big numbers, regular expressions, shared references), indefinite lengths, duplicate keys and deep nesting are
all errors. Importing this module imports cbor2: import it where CBOR is spoken, not where it might be.
"""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final, NoReturn

import cbor2

MAX_DEPTH: Final = 8  # an envelope needs three, a serial frame one


class CborError(ValueError):
    """The bytes are not CBOR of the kind that Oriole takes."""


def encode(value: object) -> bytes:
    """One value in its shortest form, maps in the order given (RFC 8949 §4.1, without the sorting of §4.2.1)."""
    return cbor2.dumps(value)


def encode_sequence(values: list[object] | tuple[object, ...]) -> bytes:
    """The values one behind the other (RFC 8742)."""
    return b"".join(map(cbor2.dumps, values))


def decode(data: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """The one value that `data` is; CborError when it is none, or more than one."""
    value, end = decode_first(data, max_depth)
    if end != len(data):
        raise CborError(f"{len(data) - end} bytes behind the value")
    return value


def decode_first(data: bytes, max_depth: int = MAX_DEPTH) -> tuple[Any, int]:
    """The first value of a sequence, and how many bytes of `data` it is; CborError as `decode_sequence`."""
    stream = BytesIO(data)
    values = _decode(stream, len(data), 1, max_depth)
    if not values:
        raise CborError("no CBOR in an empty string")
    return values[0], stream.tell()


def decode_sequence(data: bytes, max_values: int, max_depth: int = MAX_DEPTH) -> list[Any]:
    """The values of a CBOR sequence (RFC 8742), which must end where `data` ends.

    Raises CborError, and nothing else, for anything that is not at most `max_values` plain values of bounded depth.
    """
    values = _decode(BytesIO(data), len(data), max_values + 1, max_depth)
    if len(values) > max_values:
        raise CborError(f"more than {max_values} CBOR values")
    return values


def _decode(stream: BytesIO, end: int, max_values: int, max_depth: int) -> list[Any]:
    """Up to `max_values` values from a stream of `end` bytes."""
    decoder = cbor2.CBORDecoder(
        stream,
        semantic_decoders=_NO_TAGS,
        max_depth=max_depth,
        allow_indefinite=False,
        allow_duplicate_keys=False,
    )
    values: list[Any] = []
    try:
        while stream.tell() < end and len(values) < max_values:
            values.append(decoder.decode())
    except cbor2.CBORDecodeError as error:
        raise CborError(f"no plain CBOR: {error}") from error
    return values


class _NoTags(dict[int, Any]):
    """The table of tag decoders in which every tag is found, and refused."""

    __slots__ = ()

    def __contains__(self, tag: object) -> bool:
        return True

    def __getitem__(self, tag: int) -> NoReturn:
        raise ValueError(f"tag {tag}: tags are not used here")

    def get(self, tag: int, default: object = None) -> object:
        return self[tag]


_NO_TAGS: Final = _NoTags()
