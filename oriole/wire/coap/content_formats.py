"""Content-Formats: media types as numbers (RFC 7252 §12.3 and the IANA registry that grew from it).

MQTT says `application/json` where CoAP says 50. Only formats without a content coding are listed: a compressed body
has no media type that would say so. What is not listed crosses without its type.
"""

from __future__ import annotations

MEDIA_TYPES: dict[int, str] = {
    0: "text/plain; charset=utf-8",
    16: 'application/cose; cose-type="cose-encrypt0"',
    17: 'application/cose; cose-type="cose-mac0"',
    18: 'application/cose; cose-type="cose-sign1"',
    19: "application/ace+cbor",
    21: "image/gif",
    22: "image/jpeg",
    23: "image/png",
    40: "application/link-format",
    41: "application/xml",
    42: "application/octet-stream",
    47: "application/exi",
    50: "application/json",
    51: "application/json-patch+json",
    52: "application/merge-patch+json",
    60: "application/cbor",
    61: "application/cwt",
    62: "application/multipart-core",
    63: "application/cbor-seq",
    96: 'application/cose; cose-type="cose-encrypt"',
    97: 'application/cose; cose-type="cose-mac"',
    98: 'application/cose; cose-type="cose-sign"',
    101: "application/cose-key",
    102: "application/cose-key-set",
    110: "application/senml+json",
    111: "application/sensml+json",
    112: "application/senml+cbor",
    113: "application/sensml+cbor",
    310: "application/senml+xml",
    320: "application/senml-etch+json",
    322: "application/senml-etch+cbor",
    10000: "application/vnd.ocf+cbor",
    11542: "application/vnd.oma.lwm2m+tlv",
    11543: "application/vnd.oma.lwm2m+json",
    11544: "application/vnd.oma.lwm2m+cbor",
    20000: "text/css",
    30000: "image/svg+xml",
}
"""Number to media type."""


def _canonical(media_type: str) -> str:
    return media_type.replace(" ", "").replace('"', "").lower()


_NUMBERS = {_canonical(media_type): number for number, media_type in MEDIA_TYPES.items()} | {"text/plain": 0}


def media_type_of(content_format: int) -> str | None:
    """The media type that a number stands for; None for one we do not know."""
    return MEDIA_TYPES.get(content_format)


def content_format_of(media_type: str) -> int | None:
    """The number for a media type, whatever its spacing, case and quotes; None without one."""
    return _NUMBERS.get(_canonical(media_type))
