"""The push envelope: what a push says about itself, apart from what it says.

`[header, body]` in CBOR. The header is in clear: routing, collapsing and expiry read it and nothing else. The body is
a byte string: a plain CBOR map (`Content`), or a COSE object that is passed on untouched. docs/push-envelope.md is the
format, with what a header means to MQTT 5, where the standard properties carry it instead.

A payload that is no envelope is somebody else's, and passes untouched.
"""

from __future__ import annotations

from base64 import b64decode, urlsafe_b64encode
from dataclasses import dataclass, field, fields, replace
from enum import IntEnum
from typing import Any, Final, TypeAlias

from oriole.wire import cbor, user_properties
from oriole.wire.topics import TopicError, check_topic_name

MAX_HEADER_BYTES: Final = 4096
MAX_ID_BYTES: Final = 16
MAX_TEXT_BYTES: Final = 256  # of collapse key, content type, sender; a reply topic has MQTT's limit
MAX_LIFETIME_MS: Final = (2**32 - 1) * 1000  # the most that MQTT 5's message expiry interval can say

Label: TypeAlias = int | str
Fact: TypeAlias = int | str | bytes | bool


class EnvelopeError(ValueError):
    """The bytes are no push envelope, or the properties no header of one."""


class Priority(IntEnum):
    """How soon a push is wanted, as RFC 8030 §5.3 ("urgency") grades it."""

    VERY_LOW = 0
    LOW = 1
    NORMAL = 2
    HIGH = 3


@dataclass(frozen=True, slots=True)
class Header:
    """The facts of a push that every node on its way may read. EnvelopeError for one that no node would take.

    `lifetime_ms` counts down on the way and is the one fact that nodes change; the others are the sender's word.
    """

    id: bytes  # 1 to 16 bytes, unique for its sender: makes a payload an envelope
    lifetime_ms: int | None = None  # worth nothing after this much more time; None: for as long as it is kept
    priority: int = Priority.NORMAL
    collapse_key: str | None = None  # of pushes with one key to one topic, only the newest matters
    created_ms: int | None = None  # Unix time by the sender's clock: to show, never to decide
    content_type: str | None = None  # of the body (MIME)
    sender: str | None = None
    reply_to: str | None = None  # topic for an answer
    correlation: bytes | None = None  # goes back with the answer
    extra: dict[Label, Fact] = field(default_factory=dict)  # labels that this version does not know: kept

    def __post_init__(self) -> None:
        _check(1 <= len(self.id) <= MAX_ID_BYTES, f"an id has 1 to {MAX_ID_BYTES} bytes")
        _check(self.lifetime_ms is None or 0 <= self.lifetime_ms <= MAX_LIFETIME_MS, "a lifetime of up to 136 years")
        _check(0 <= self.priority <= max(Priority), f"a priority is 0 to {max(Priority):d}")
        _check(self.created_ms is None or 0 <= self.created_ms < 2**63, "a time after 1970")
        for name in ("collapse_key", "content_type", "sender"):
            text = getattr(self, name)
            _check(text is None or len(_utf8(text)) <= MAX_TEXT_BYTES, f"{name} has at most {MAX_TEXT_BYTES} bytes")
        if self.reply_to is not None:
            _check_topic(self.reply_to)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A push: its header, and its body as bytes."""

    header: Header
    body: bytes

    @property
    def sealed(self) -> bool:
        """Whether the body is something other than a plain map: then nobody but the recipient can read it."""
        return not self.body or self.body[0] >> 5 != _MAP


@dataclass(frozen=True, slots=True)
class Content:
    """A plain body: what a person reads and what a program does."""

    title: str = ""
    text: str = ""
    data: bytes = b""
    content_type: str = ""  # of `data`

    def encode(self) -> bytes:
        """The map of what is not empty."""
        given = {label: getattr(self, name) for label, name in _CONTENT_LABELS.items()}
        return cbor.encode({label: value for label, value in given.items() if value})

    @classmethod
    def decode(cls, body: bytes) -> Content:
        """What `encode` made; unknown labels are skipped. EnvelopeError for anything else, a sealed body too."""
        labels = _decoded_map(body)
        known = {name: labels[label] for label, name in _CONTENT_LABELS.items() if label in labels}
        for name, value in known.items():
            _check(type(value) is (bytes if name == "data" else str), f"{name} is of another type")
        return cls(**known)


_ARRAY_OF_TWO: Final = 0x82
_BYTES: Final = 2
_MAP: Final = 5
_LABELS: Final[dict[Label, tuple[str, type]]] = {
    1: ("id", bytes),
    2: ("lifetime_ms", int),
    3: ("priority", int),
    4: ("collapse_key", str),
    5: ("created_ms", int),
    6: ("content_type", str),
    7: ("sender", str),
    8: ("reply_to", str),
    9: ("correlation", bytes),
}
_CONTENT_LABELS: Final = {1: "title", 2: "text", 3: "data", 4: "content_type"}
_DEFAULTS: Final = {field.name: field.default for field in fields(Header)}


def encode(envelope: Envelope) -> bytes:
    """The envelope's bytes. EnvelopeError when the header is longer than MAX_HEADER_BYTES."""
    header = envelope.header
    given: dict[Label, Fact] = {label: getattr(header, name) for label, (name, _) in _LABELS.items()}
    labels = {label: value for label, value in given.items() if value != _DEFAULTS[_LABELS[label][0]]}
    encoded = cbor.encode(labels | header.extra)
    _check(len(encoded) <= MAX_HEADER_BYTES, f"a header has at most {MAX_HEADER_BYTES} bytes")
    return bytes((_ARRAY_OF_TWO,)) + encoded + cbor.encode(envelope.body)


def decode(payload: bytes) -> Envelope:
    """The envelope that a payload is; EnvelopeError, and nothing else, when it is none."""
    _check(len(payload) > 3 and payload[0] == _ARRAY_OF_TWO and payload[1] >> 5 == _MAP, "not [header, body]")
    try:
        labels, header_bytes = cbor.decode_first(payload[1 : 1 + MAX_HEADER_BYTES], max_depth=1)
    except cbor.CborError as error:
        raise EnvelopeError(f"header: {error}") from error
    return Envelope(_header(labels), _body(payload, 1 + header_bytes))


def is_envelope(payload: bytes) -> bool:
    """Whether a payload is a push envelope; almost free when it is not."""
    if not payload.startswith(bytes((_ARRAY_OF_TWO,))):
        return False
    try:
        decode(payload)
    except EnvelopeError:
        return False
    return True


def aged(envelope: Envelope, elapsed_ms: int) -> Envelope | None:
    """The envelope after so much more time on one node; None when its lifetime is over."""
    lifetime_ms = envelope.header.lifetime_ms
    if lifetime_ms is None or not elapsed_ms:
        return envelope if lifetime_ms != 0 else None
    if elapsed_ms >= lifetime_ms:
        return None
    return replace(envelope, header=replace(envelope.header, lifetime_ms=lifetime_ms - elapsed_ms))


# ---- MQTT 5: the header's facts on standard properties, the body as the payload


@dataclass(frozen=True, slots=True)
class MqttProperties:
    """The properties of a PUBLISH that carry a header, by MQTT 5's names (section 3.3.2.3), as plain values."""

    message_expiry_interval: int | None = None  # seconds
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    user_property: tuple[tuple[str, str], ...] = ()


def to_mqtt(header: Header, others: tuple[tuple[str, str], ...] = ()) -> MqttProperties:
    """The header as properties; `others` are user properties that go along, unless they would pass for header facts.

    The interval is in whole seconds, rounded up: a push is not late because it changed its carrier.
    """
    ours = {
        user_properties.ID: _to_text(header.id),
        user_properties.PRIORITY: None if header.priority == Priority.NORMAL else str(int(header.priority)),
        user_properties.COLLAPSE_KEY: header.collapse_key,
        user_properties.CREATED: None if header.created_ms is None else str(header.created_ms),
        user_properties.SENDER: header.sender,
        user_properties.EXTRA: _to_text(cbor.encode(header.extra)) if header.extra else None,
    }
    return MqttProperties(
        message_expiry_interval=None if header.lifetime_ms is None else -(-header.lifetime_ms // 1000),
        content_type=header.content_type,
        response_topic=header.reply_to,
        correlation_data=header.correlation,
        user_property=(
            *((name, value) for name, value in ours.items() if value is not None),
            *(pair for pair in others if pair[0] not in user_properties.PUSH),
        ),
    )


def from_mqtt(properties: MqttProperties) -> tuple[Header, tuple[tuple[str, str], ...]] | None:
    """The header that the properties carry, and the user properties that are no part of it; None when it is no push.

    EnvelopeError when they carry one (`oriole-id` is there) that is wrong.
    """
    given = dict(reversed(properties.user_property))  # of two with one name, the first
    if user_properties.ID not in given:
        return None
    expiry = properties.message_expiry_interval
    header = Header(
        id=_from_text(given[user_properties.ID]),
        lifetime_ms=None if expiry is None else expiry * 1000,
        priority=_number(given[user_properties.PRIORITY]) if user_properties.PRIORITY in given else Priority.NORMAL,
        collapse_key=given.get(user_properties.COLLAPSE_KEY),
        created_ms=_number(given[user_properties.CREATED]) if user_properties.CREATED in given else None,
        content_type=properties.content_type,
        sender=given.get(user_properties.SENDER),
        reply_to=properties.response_topic,
        correlation=properties.correlation_data,
        extra=_extra(_decoded_map(_from_text(given[user_properties.EXTRA]))) if user_properties.EXTRA in given else {},
    )
    return header, tuple(pair for pair in properties.user_property if pair[0] not in user_properties.PUSH)


# ---- parts


def _check(condition: bool, text: str) -> None:
    if not condition:
        raise EnvelopeError(text)


def _utf8(text: str) -> bytes:
    _check("\0" not in text, "no text has U+0000")  # MQTT could not carry it [MQTT-1.5.4-2]
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise EnvelopeError(f"no UTF-8: {error}") from error


def _check_topic(text: str) -> None:
    try:
        check_topic_name(text)
    except TopicError as error:
        raise EnvelopeError(f"reply_to: {error}") from error


def _header(labels: dict[Any, Any]) -> Header:
    known: dict[str, Any] = {}
    _check(all(type(label) in (int, str) for label in labels), "a label is a number or a text")  # 1.0 and true equal 1
    for label, (name, wanted) in _LABELS.items():
        if label in labels:
            _check(type(labels[label]) is wanted, f"{name} is of another type")
            known[name] = labels[label]
    _check("id" in known, "a header without an id")
    return Header(**known, extra=_extra({label: value for label, value in labels.items() if label not in _LABELS}))


def _extra(labels: dict[Any, Any]) -> dict[Label, Fact]:
    for label, value in labels.items():
        _check(type(label) in (int, str) and label not in _LABELS, f"label {label!r}")
        _check(type(value) in (int, str, bytes, bool), f"the value of label {label!r} is no plain one")
    return labels


def _body(payload: bytes, start: int) -> bytes:
    """The byte string that begins at `start` and ends with the payload."""
    _check(start < len(payload) and payload[start] >> 5 == _BYTES, "the body is no byte string")
    try:
        body = cbor.decode(payload[start:])
    except cbor.CborError as error:
        raise EnvelopeError(f"body: {error}") from error
    assert isinstance(body, bytes)
    return body


def _decoded_map(data: bytes) -> dict[Any, Any]:
    try:
        labels = cbor.decode(data, max_depth=1)
    except cbor.CborError as error:
        raise EnvelopeError(str(error)) from error
    _check(type(labels) is dict, "no map")
    assert isinstance(labels, dict)
    return labels


def _to_text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _from_text(text: str) -> bytes:
    try:
        return b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError as error:
        raise EnvelopeError(f"no base64url: {text!r}") from error


def _number(text: str) -> int:
    _check(text.isascii() and text.isdigit() and len(text) <= 19, f"no number: {text!r}")
    return int(text)
