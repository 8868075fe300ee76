"""Options: their numbers, what each may hold, and their bytes (RFC 7252 §3.1, §5.4, §5.10).

Options travel as a list of `(number, value)` pairs. The number alone tells how to treat an option that nobody knows:
odd is critical, bit 1 is unsafe to forward, and `11100` in the low five bits means it is no part of the cache key.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, IntEnum

from oriole.wire.coap.codes import Code
from oriole.wire.coap.errors import CoapError, Remedy

Options = list[tuple[int, bytes]]
"""Options in the order of their numbers, as `decode_options` gives them."""

PAYLOAD_MARKER = 0xFF
MAX_OPTION_NUMBER = 0xFFFF
MAX_OPTION_BYTES = 14 + 255 + 0xFFFF
"""What the length of an option can express (RFC 7252 §3.1)."""


class Option(IntEnum):
    """Option numbers, with the source where it is not RFC 7252."""

    IF_MATCH = 1
    URI_HOST = 3
    ETAG = 4
    IF_NONE_MATCH = 5
    OBSERVE = 6  # RFC 7641
    URI_PORT = 7
    LOCATION_PATH = 8
    OSCORE = 9  # RFC 8613
    URI_PATH = 11
    CONTENT_FORMAT = 12
    MAX_AGE = 14
    URI_QUERY = 15
    HOP_LIMIT = 16  # RFC 8768
    ACCEPT = 17
    Q_BLOCK1 = 19  # RFC 9177
    LOCATION_QUERY = 20
    EDHOC = 21  # RFC 9668
    BLOCK2 = 23  # RFC 7959
    BLOCK1 = 27  # RFC 7959
    SIZE2 = 28  # RFC 7959
    Q_BLOCK2 = 31  # RFC 9177
    PROXY_URI = 35
    PROXY_SCHEME = 39
    SIZE1 = 60
    ECHO = 252  # RFC 9175
    NO_RESPONSE = 258  # RFC 7967
    REQUEST_TAG = 292  # RFC 9175


class Format(Enum):
    """How the value of an option is to be read (RFC 7252 §3.2)."""

    EMPTY = "empty"
    OPAQUE = "opaque"
    UINT = "uint"
    STRING = "string"


@dataclass(frozen=True, slots=True)
class Definition:
    """What an option may hold: its format, its length in bytes, and whether it may come more than once."""

    format: Format
    min_bytes: int
    max_bytes: int
    repeatable: bool = False


DEFINITIONS: dict[int, Definition] = {
    Option.IF_MATCH: Definition(Format.OPAQUE, 0, 8, True),
    Option.URI_HOST: Definition(Format.STRING, 1, 255),
    Option.ETAG: Definition(Format.OPAQUE, 1, 8, True),
    Option.IF_NONE_MATCH: Definition(Format.EMPTY, 0, 0),
    Option.OBSERVE: Definition(Format.UINT, 0, 3),
    Option.URI_PORT: Definition(Format.UINT, 0, 2),
    Option.LOCATION_PATH: Definition(Format.STRING, 0, 255, True),
    Option.OSCORE: Definition(Format.OPAQUE, 0, 255),
    Option.URI_PATH: Definition(Format.STRING, 0, 255, True),
    Option.CONTENT_FORMAT: Definition(Format.UINT, 0, 2),
    Option.MAX_AGE: Definition(Format.UINT, 0, 4),
    Option.URI_QUERY: Definition(Format.STRING, 0, 255, True),
    Option.HOP_LIMIT: Definition(Format.UINT, 1, 1),
    Option.ACCEPT: Definition(Format.UINT, 0, 2),
    Option.Q_BLOCK1: Definition(Format.UINT, 0, 3),
    Option.LOCATION_QUERY: Definition(Format.STRING, 0, 255, True),
    Option.EDHOC: Definition(Format.EMPTY, 0, 0),
    Option.BLOCK2: Definition(Format.UINT, 0, 3),
    Option.BLOCK1: Definition(Format.UINT, 0, 3),
    Option.SIZE2: Definition(Format.UINT, 0, 4),
    Option.Q_BLOCK2: Definition(Format.UINT, 0, 3, True),
    Option.PROXY_URI: Definition(Format.STRING, 1, 1034),
    Option.PROXY_SCHEME: Definition(Format.STRING, 1, 255),
    Option.SIZE1: Definition(Format.UINT, 0, 4),
    Option.ECHO: Definition(Format.OPAQUE, 1, 40),
    Option.NO_RESPONSE: Definition(Format.UINT, 0, 1),
    Option.REQUEST_TAG: Definition(Format.OPAQUE, 0, 8, True),
}


def is_critical(number: int) -> bool:
    """Whether a message must not be used by someone who does not know the option (RFC 7252 §5.4.1)."""
    return bool(number & 1)


def is_unsafe(number: int) -> bool:
    """Whether a proxy that does not know the option must not forward it (RFC 7252 §5.4.2)."""
    return bool(number & 2)


def is_no_cache_key(number: int) -> bool:
    """Whether the option, safe to forward, is no part of the cache key (RFC 7252 §5.4.6)."""
    return number & 0x1E == 0x1C


def encode_uint(value: int) -> bytes:
    """A number in as few bytes as possible, most significant first; 0 is no byte at all (RFC 7252 §3.2)."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode_uint(value: bytes) -> int:
    """The number in `value`; leading zeros are accepted, as RFC 7252 §3.2 asks."""
    return int.from_bytes(value, "big")


def recognised(options: Iterable[tuple[int, bytes]], known: frozenset[int]) -> Options:
    """The options that someone who understands `known` goes by (RFC 7252 §5.4.1, §5.4.3, §5.4.5).

    A value of a length that the option cannot have, and the repeat of one that may come once, count as not recognised.
    What is not recognised is left out where it is elective.

    Raises:
        CoapError: to be answered with 4.02, for an option that is critical and not recognised.
    """
    taken: Options = []
    previous = -1
    for number, value in options:
        definition = DEFINITIONS.get(number)
        if number not in known or definition is None:
            problem = "is not understood here"
        elif not definition.min_bytes <= len(value) <= definition.max_bytes:
            problem = f"cannot be {len(value)} bytes long"
        elif number == previous and not definition.repeatable:
            problem = "may come only once"
        else:
            taken.append((number, value))
            previous = number
            continue
        if is_critical(number):
            raise CoapError(Remedy.ANSWER, f"option {_name(number)} {problem}", Code.BAD_OPTION)
    return taken


def encode_options(options: Iterable[tuple[int, bytes]]) -> bytes:
    """The bytes of options, sorted by number; those of one number keep their order (RFC 7252 §3.1).

    Raises:
        ValueError: a number above 65535 or a value too long to be expressed.
    """
    out = bytearray()
    previous = 0
    for number, value in sorted(options, key=_number):
        if number > MAX_OPTION_NUMBER or len(value) > MAX_OPTION_BYTES:
            raise ValueError(f"option {_name(number)} with {len(value)} bytes cannot be encoded")
        delta, delta_tail = _nibble(number - previous)
        length, length_tail = _nibble(len(value))
        out.append(delta << 4 | length)
        out += delta_tail
        out += length_tail
        out += value
        previous = number
    return bytes(out)


def decode_options(data: bytes, position: int) -> tuple[Options, int]:
    """The options that begin at `position`, and where the payload begins (`len(data)` without one).

    Raises:
        ValueError: the format is broken (RFC 7252 §3.1); the message says how.
    """
    options: Options = []
    end = len(data)
    number = 0
    while position < end:
        first = data[position]
        position += 1
        if first == PAYLOAD_MARKER:
            if position == end:
                raise ValueError("payload marker without a payload")
            return options, position
        delta = first >> 4
        length = first & 15
        if delta > 12:
            delta, position = _extended(data, position, delta)
        if length > 12:
            length, position = _extended(data, position, length)
        number += delta
        if number > MAX_OPTION_NUMBER:
            raise ValueError(f"option number {number} is above {MAX_OPTION_NUMBER}")
        following = position + length
        if following > end:
            raise ValueError(f"option {_name(number)} ends after the message")
        options.append((number, data[position:following]))
        position = following
    return options, end


def _number(option: tuple[int, bytes]) -> int:
    return option[0]


def _name(number: int) -> str:
    return Option(number).name.replace("_", "-").title() if number in DEFINITIONS else str(number)


def _nibble(value: int) -> tuple[int, bytes]:
    """The four bits and the extension of a delta or a length."""
    if value < 13:
        return value, b""
    if value < 269:
        return 13, bytes((value - 13,))
    return 14, (value - 269).to_bytes(2, "big")


def _extended(data: bytes, position: int, nibble: int) -> tuple[int, int]:
    """The value of a delta or length whose nibble is above 12, and where its extension ends."""
    if nibble == 15:
        raise ValueError("option delta or length 15 is reserved")
    following = position + nibble - 12
    if following > len(data):
        raise ValueError("message ends inside an option's head")
    extension = int.from_bytes(data[position:following], "big")
    return extension + (13 if nibble == 13 else 269), following
