"""Message types, method codes and response codes (RFC 7252 §3, §12.1).

A code is class and detail in one byte, written `2.05`. The ones we name are enumerated; a peer may use others, so
messages carry a plain integer.
"""

from __future__ import annotations

from enum import IntEnum


class Type(IntEnum):
    """The two bits that say how a message wants to be treated (RFC 7252 §3)."""

    CONFIRMABLE = 0
    NON_CONFIRMABLE = 1
    ACKNOWLEDGEMENT = 2
    RESET = 3


class Code(IntEnum):
    """Methods and response codes of RFC 7252, with the later ones and where they come from."""

    EMPTY = 0x00

    GET = 0x01
    POST = 0x02
    PUT = 0x03
    DELETE = 0x04
    FETCH = 0x05  # RFC 8132
    PATCH = 0x06  # RFC 8132
    IPATCH = 0x07  # RFC 8132

    CREATED = 0x41
    DELETED = 0x42
    VALID = 0x43
    CHANGED = 0x44
    CONTENT = 0x45
    CONTINUE = 0x5F  # RFC 7959

    BAD_REQUEST = 0x80
    UNAUTHORIZED = 0x81
    BAD_OPTION = 0x82
    FORBIDDEN = 0x83
    NOT_FOUND = 0x84
    METHOD_NOT_ALLOWED = 0x85
    NOT_ACCEPTABLE = 0x86
    REQUEST_ENTITY_INCOMPLETE = 0x88  # RFC 7959
    CONFLICT = 0x89  # RFC 8132
    PRECONDITION_FAILED = 0x8C
    REQUEST_ENTITY_TOO_LARGE = 0x8D
    UNSUPPORTED_CONTENT_FORMAT = 0x8F
    UNPROCESSABLE_ENTITY = 0x96  # RFC 8132
    TOO_MANY_REQUESTS = 0x9D  # RFC 8516

    INTERNAL_SERVER_ERROR = 0xA0
    NOT_IMPLEMENTED = 0xA1
    BAD_GATEWAY = 0xA2
    SERVICE_UNAVAILABLE = 0xA3
    GATEWAY_TIMEOUT = 0xA4
    PROXYING_NOT_SUPPORTED = 0xA5
    HOP_LIMIT_REACHED = 0xA8  # RFC 8768


def dotted(code: int) -> str:
    """A code as people write it: `0x45` is `2.05`."""
    return f"{code >> 5}.{code & 31:02}"


def is_request(code: int) -> bool:
    """Whether `code` is a method: class 0, and not the empty message."""
    return 0 < code < 0x20


def is_response(code: int) -> bool:
    """Whether `code` is a response: success (2), client error (4) or server error (5)."""
    return code >> 5 in (2, 4, 5)
