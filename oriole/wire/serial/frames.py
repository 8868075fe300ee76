"""The frames of the serial line: what each says, and its bytes between two delimiters.

A frame is `COBS(body CRC-32) 00`. The body is a CBOR sequence: type, sequence number, then the fields of the frame in
the order in which its class names them. Fields that a later version appends are skipped. docs/serial.md tells what the
frames are for; here they are values.
"""

from __future__ import annotations

from dataclasses import MISSING, dataclass, fields
from enum import IntEnum
from typing import ClassVar, Final, TypeAlias
from zlib import crc32

from oriole.wire import cbor
from oriole.wire.serial import cobs

VERSION: Final = 1
CRC_BYTES: Final = 4
DEFAULT_FRAME_BYTES: Final = 4096  # between two delimiters; what a side can take is in its HELLO or WELCOME
MIN_FRAME_BYTES: Final = 256  # less cannot hold the longest greeting
MAX_ID_BYTES: Final = 64
MAX_BOOT_ID_BYTES: Final = 16
MAX_SEQUENCE: Final = 2**64 - 1
_MAX_VALUES: Final = 16  # the longest frame has eleven


class Reason(IntEnum):
    """Why a frame was refused or a session ended, in ERROR and BYE."""

    NORMAL = 0
    NO_SESSION = 1  # greet again: this side knows no session on this line
    UNSUPPORTED_VERSION = 2
    NOT_AUTHORIZED = 3
    IDENTIFIER_REJECTED = 4
    TOPIC_INVALID = 5
    TOO_LARGE = 6
    QUOTA_EXCEEDED = 7
    MALFORMED = 8
    UNKNOWN_FRAME = 9
    UNAVAILABLE = 10
    TAKEN_OVER = 11  # the device greeted on another line


class FrameError(ValueError):
    """A frame that arrived whole says something it must not; `sequence` is its number, 0 when it has none."""

    def __init__(self, reason: Reason, text: str, sequence: int = 0) -> None:
        super().__init__(text)
        self.reason = reason
        self.sequence = sequence


@dataclass(frozen=True, slots=True)
class _Greeting:
    """What both sides tell each other about themselves and about what they remember."""

    sequence: ClassVar[int] = 0
    version: int
    boot_id: bytes  # names the sender's numbers: new when it has forgotten them
    peer_boot_id: bytes  # whose numbers `acknowledged` counts; empty when the sender remembers none
    acknowledged: int  # the peer's frames up to this number need not be sent again
    oldest: int  # the first number that the sender will send from now on
    credits: int  # how many frames behind `acknowledged` (or the peer's `oldest`) the sender will take
    max_frame_bytes: int  # the most bytes between two delimiters that the sender will take
    name: str  # the device's identity; the gateway's name
    kind: str = ""  # what the device is ("relay"); empty from a gateway

    def __post_init__(self) -> None:
        if not 1 <= len(self.boot_id) <= MAX_BOOT_ID_BYTES or len(self.peer_boot_id) > MAX_BOOT_ID_BYTES:
            raise ValueError(f"a boot id has 1 to {MAX_BOOT_ID_BYTES} bytes")
        if not self.oldest:
            raise ValueError("numbers begin at 1")
        if self.max_frame_bytes < MIN_FRAME_BYTES:
            raise ValueError(f"a peer must take frames of {MIN_FRAME_BYTES} bytes")
        if not 1 <= len(self.name.encode()) <= MAX_ID_BYTES or not self.name.isprintable():
            raise ValueError(f"a name has 1 to {MAX_ID_BYTES} printable bytes")
        if len(self.kind.encode()) > MAX_ID_BYTES:
            raise ValueError(f"a kind has at most {MAX_ID_BYTES} bytes")


@dataclass(frozen=True, slots=True)
class Hello(_Greeting):
    """Device to gateway, at boot, after a replug and when asked: begins or resumes the session."""

    TYPE: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Welcome(_Greeting):
    """Gateway to device: the answer to HELLO. The session is up."""

    TYPE: ClassVar[int] = 2


@dataclass(frozen=True, slots=True)
class Bye:
    """The sender has no session with the peer from here on, and why."""

    TYPE: ClassVar[int] = 3
    sequence: ClassVar[int] = 0
    reason: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for the peer's ACK at once."""

    TYPE: ClassVar[int] = 4
    sequence: ClassVar[int] = 0


@dataclass(frozen=True, slots=True)
class Ack:
    """Received in order up to `received`: not to be repeated. Settled up to `acknowledged`: to be forgotten.

    Frames up to `acknowledged + credits` may be sent; that number never goes back.
    """

    TYPE: ClassVar[int] = 5
    sequence: ClassVar[int] = 0
    received: int
    acknowledged: int
    credits: int

    def __post_init__(self) -> None:
        if self.acknowledged > self.received:
            raise ValueError("acknowledged before it was received")


@dataclass(frozen=True, slots=True)
class Nak(Ack):
    """An ACK from a receiver that missed something: repeat from `received + 1`."""

    TYPE: ClassVar[int] = 6


@dataclass(frozen=True, slots=True)
class Error:
    """Gateway to device, numbered: the frame with the number `refused` is settled, but was not obeyed."""

    TYPE: ClassVar[int] = 7
    sequence: int
    refused: int
    reason: int
    text: str = ""


@dataclass(frozen=True, slots=True)
class Publish:
    """Device to gateway. Sequence 0: at most once, not acknowledged."""

    TYPE: ClassVar[int] = 8
    sequence: int
    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Device to gateway, numbered. With qos 0 what matches comes with sequence 0."""

    TYPE: ClassVar[int] = 9
    sequence: int
    filter: str
    qos: int = 1

    def __post_init__(self) -> None:
        if self.qos > 1:
            raise ValueError("qos is 0 or 1")


@dataclass(frozen=True, slots=True)
class Unsubscribe:
    """Device to gateway, numbered."""

    TYPE: ClassVar[int] = 10
    sequence: int
    filter: str


@dataclass(frozen=True, slots=True)
class Deliver:
    """Gateway to device: a message that matches. Sequence 0: at most once, not acknowledged."""

    TYPE: ClassVar[int] = 11
    sequence: int
    topic: str
    payload: bytes
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Skip:
    """Either way, numbered: the frame that had this number will not be sent any more."""

    TYPE: ClassVar[int] = 12
    sequence: int


NumberedFrame: TypeAlias = Skip | Error | Publish | Subscribe | Unsubscribe | Deliver
Frame: TypeAlias = Hello | Welcome | Bye | Ping | Ack | Nak | NumberedFrame

_CLASSES: Final[dict[int, type[Frame]]] = {
    frame.TYPE: frame
    for frame in (Hello, Welcome, Bye, Ping, Ack, Nak, Error, Publish, Subscribe, Unsubscribe, Deliver, Skip)
}
_PYTHON_TYPES: Final[dict[object, type]] = {"int": int, "bytes": bytes, "str": str, "bool": bool}


@dataclass(frozen=True, slots=True)
class _Layout:
    """The fields of a frame behind type and sequence number, as the wire has them."""

    names: tuple[str, ...]
    types: tuple[type, ...]
    required: int
    numbered: bool


def _layout(frame: type[Frame]) -> _Layout:
    every = fields(frame)
    wanted = [field for field in every if field.name != "sequence"]
    return _Layout(
        names=tuple(field.name for field in wanted),
        types=tuple(_PYTHON_TYPES[field.type] for field in wanted),
        required=sum(field.default is MISSING for field in wanted),
        numbered=len(wanted) < len(every),
    )


_LAYOUTS: Final = {type_: _layout(frame) for type_, frame in _CLASSES.items()}


def encode(frame: Frame) -> bytes:
    """The frame as it goes on the line, with the delimiter that ends it."""
    values = [frame.TYPE, frame.sequence, *(getattr(frame, name) for name in _LAYOUTS[frame.TYPE].names)]
    body = cbor.encode_sequence(values)
    return cobs.encode(body + crc32(body).to_bytes(CRC_BYTES, "big")) + b"\0"


def decode(body: bytes) -> Frame:
    """The frame that a body (without CRC) is; raises FrameError, and nothing else, when it is none."""
    try:
        values = cbor.decode_sequence(body, _MAX_VALUES, max_depth=1)
    except cbor.CborError as error:
        raise FrameError(Reason.MALFORMED, str(error), _sequence(body)) from error
    if len(values) < 2 or not (_fits(values[0], int) and _fits(values[1], int)):
        raise FrameError(Reason.MALFORMED, "a frame begins with its type and its sequence number")
    type_, sequence = values[:2]
    layout = _LAYOUTS.get(type_)
    if layout is None:
        raise FrameError(Reason.UNKNOWN_FRAME, f"frame type {type_} is not known here", sequence)
    if sequence and not layout.numbered:
        raise FrameError(Reason.MALFORMED, f"frame type {type_} has no sequence number", sequence)
    given = values[2 : 2 + len(layout.types)]
    if len(given) < layout.required or not all(map(_fits, given, layout.types)):
        raise FrameError(Reason.MALFORMED, f"frame type {type_} wants {', '.join(layout.names)}", sequence)
    try:
        return _CLASSES[type_](*([sequence] if layout.numbered else []), *given)
    except ValueError as error:
        raise FrameError(Reason.MALFORMED, str(error), sequence) from error


def _sequence(body: bytes) -> int:
    """The number of a frame that cannot be read behind it, or its sender would repeat it for ever; 0 without one."""
    try:
        _, type_bytes = cbor.decode_first(body, max_depth=1)
        sequence, _ = cbor.decode_first(body[type_bytes:], max_depth=1)
    except cbor.CborError:
        return 0
    return sequence if _fits(sequence, int) else 0


def _fits(value: object, wanted: type) -> bool:
    """Whether the value has the wanted type exactly (True is no number here) and, as a number, 64 bits without sign."""
    return type(value) is wanted and (not isinstance(value, int) or 0 <= value <= MAX_SEQUENCE)
