"""Records as rows, and back (docs/journal-format.md).

A batch is the length of its rows in 4 bytes, the rows, and bodies. The rows are a MessagePack array: a record is one,
which begins with its kind. Messages are apart from them, in bodies: so who wants to know what a batch is about decodes
the rows, and of a million messages that wait none. Short, because each byte is written to flash for every message;
arrays without names, because each life of a node reads what an earlier one wrote, and a kind that changes gets a new
number.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import msgspec

from broker.core.message import MESSAGE_OVERHEAD_BYTES, Header, Message
from broker.core.records import (
    KEPT,
    KEPT_NO_MORE,
    ROW_BITS,
    Accepted,
    Asked,
    CaughtUp,
    Ended,
    Left,
    Marked,
    Met,
    Opened,
    Outline,
    Owed,
    Owes,
    Placed,
    Progressed,
    Receiving,
    Record,
    Released,
    Reset,
    Resumed,
    Routed,
    Ruled,
    Skipped,
    Stream,
    Subscribed,
    Taken,
    Taking,
    Testament,
    Unkept,
    Unsubscribed,
    WillSent,
    place_of,
)
from oriole.link.uplink import Mark

Row = list[Any]

ACCEPTED: Final = 1
TAKEN: Final = 2
ROUTED: Final = 3

LENGTH: Final = struct.Struct("<I")
_encoder = msgspec.msgpack.Encoder()
_encode, _encode_into = _encoder.encode, _encoder.encode_into
_decode_rows = msgspec.msgpack.Decoder(list[Row]).decode


class DamagedRecordError(ValueError):
    """A batch whose bytes are whole, by their checksum, and are no records: another version wrote them, or a fault of
    ours.
    """


class Writing:
    """A batch on its way into bytes.

    Args:
        position: the batch's.
        taken: where messages are that were taken over and are not routed, by number; kept up to date.
        shift_ms: is added to the node's time to make it time that other lives understand.
    """

    __slots__ = ("bodies", "place", "shift_ms", "taken")

    def __init__(self, position: int, taken: dict[int, int], shift_ms: int) -> None:
        self.place = place_of(position, 0)  # of the next record
        self.taken = taken
        self.shift_ms = shift_ms
        self.bodies = bytearray()

    def bytes_of(self, batch: Sequence[Record]) -> bytes:
        """`batch` as bytes; its records learn their places."""
        rows = []
        for record in batch:
            rows.append(_WRITERS[type(record)](record, self))
            self.place += 1
        index = _encode(rows)
        return b"".join((LENGTH.pack(len(index)), index, self.bodies))

    def put(self, body: object) -> tuple[int, int]:
        """Offset and length of a body."""
        begin = len(self.bodies)
        _encode_into(body, self.bodies, -1)
        return begin, len(self.bodies) - begin


def encode(batch: Sequence[Record], position: int, taken: dict[int, int], shift_ms: int = 0) -> bytes:
    """`batch` as bytes; see `Writing`."""
    return Writing(position, taken, shift_ms).bytes_of(batch)


def split(blob: bytes) -> tuple[list[Row], int]:
    """The rows of a batch, and where its bodies begin. Raises DamagedRecordError."""
    try:
        begin = LENGTH.size + LENGTH.unpack_from(blob)[0]
        if begin > len(blob):
            raise DamagedRecordError("no records that this version knows: they end too early")
        return _decode_rows(blob[LENGTH.size : begin]), begin
    except (msgspec.DecodeError, struct.error) as error:
        raise DamagedRecordError(f"no records that this version knows: {error}") from error


def outline(rows: Sequence[Row], position: int, shift_ms: int = 0) -> Iterator[Record | Outline | Taking]:
    """What the rows of a batch say; of messages, where they are. `shift_ms` is subtracted from times.

    Raises DamagedRecordError.
    """
    try:
        for number, row in enumerate(rows):
            kind = row[0]
            if kind == ACCEPTED:
                _, flags, order, topic, count, size, _, _, numbers, _ = row
                yield Outline(position << ROW_BITS | number, count, size, order, topic, flags, numbers)
            elif kind == ROUTED:
                _, flags, order, topic, size, runs, numbers, _ = row
                taken = [each for at in range(0, len(runs), 3) for each in range(runs[at], runs[at] + runs[at + 1])]
                yield Outline(place_of(position, number), len(taken), size, order, topic, flags, numbers, taken)
            elif kind == TAKEN:
                _, first, session, identifiers, mark, count, _, _ = row
                yield Taking(place_of(position, number), first, count, session, identifiers, _read_mark(mark))
            else:
                yield _READERS[kind](row, shift_ms)
    except (LookupError, TypeError, ValueError) as error:
        raise DamagedRecordError(f"no records that this version knows: {error}") from error


# ---- Messages


def _tail(message: Message, shift_ms: int) -> object:
    """What differs between messages on one topic: the payload alone, where there is nothing else to say."""
    if message.header is None and not message.expires_at:
        return message.payload
    header = message.header
    return (
        message.payload,
        message.expires_at + shift_ms if message.expires_at else 0,
        None
        if header is None
        else (
            header.content_type,
            header.payload_format_indicator,
            header.response_topic,
            header.correlation_data,
            header.user_property,
            header.collapse_key,
            header.node_path,
        ),
    )


def read_message(topic: bytes, qos: int, retain: bool, tail: Any, shift_ms: int, order: int = 0) -> Message:
    """A message from its `tail`. Raises TypeError or ValueError."""
    if type(tail) is bytes:
        message = Message(topic, tail, qos, retain)
    else:
        payload, expires_at, header = tail
        read = None if header is None else _header(*header)
        message = Message(topic, payload, qos, retain, read, None, expires_at - shift_ms if expires_at else 0)
    message.order = order
    return message


def _header(
    content_type: str | None,
    payload_format_indicator: int | None,
    response_topic: str | None,
    correlation_data: bytes | None,
    pairs: Sequence[Sequence[str]],
    collapse_key: str | None,
    node_path: Sequence[str],
) -> Header:
    return Header(
        content_type,
        payload_format_indicator,
        response_topic,
        correlation_data,
        tuple((name, value) for name, value in pairs),
        collapse_key,
        tuple(node_path),
    )


def _numbers(owed: Sequence[Owed]) -> list[int]:
    """Sessions, each with the number of its first delivery."""
    return [number for each in owed for number in (each[0], each[4])]


def _grants(owed: Sequence[Owed]) -> object:
    """How each session is granted the messages; one for all where they are granted alike."""
    if not owed:
        return 0
    _, qos, retain, identifiers, _ = owed[0]
    if not identifiers and (len(owed) == 1 or all(each[1:4] == (qos, retain, ()) for each in owed)):
        return qos << 1 | retain
    return [(qos << 1 | retain, *identifiers) for _, qos, retain, identifiers, _ in owed]


def read_grant(grants: Any, place: int) -> tuple[int, bool, tuple[int, ...]]:
    """How the session in this place is granted messages: QoS, RETAIN, subscription identifiers."""
    grant = (grants,) if isinstance(grants, int) else grants[place]
    flags, *identifiers = grant
    return flags >> 1, bool(flags & 1), tuple(identifiers)


def _size(messages: Sequence[Message]) -> int:
    """The sum of `Message.size`, at half the price."""
    flat = sum([len(message.topic) + len(message.payload) for message in messages])
    headers = sum([message.header.size for message in messages if message.header])
    return flat + headers + MESSAGE_OVERHEAD_BYTES * len(messages)


def _kept(is_kept: bool, messages: Sequence[Message]) -> int:
    return 0 if not is_kept else KEPT if messages[-1].payload else KEPT_NO_MORE


def _accepted(record: Accepted, writing: Writing) -> object:
    record.place = writing.place
    return _row(record.messages, _kept(record.is_kept, record.messages), record.owed, writing)


def _owes(record: Owes, writing: Writing) -> object:
    record.place = writing.place
    return _row((record.message,), 0, (record.owed,), writing)


def _row(messages: Sequence[Message], flags: int, owed: Sequence[Owed], writing: Writing) -> object:
    first = messages[0]
    size = _size(messages)
    body = writing.put([_tail(message, writing.shift_ms) for message in messages])
    flags |= first.retain << 2 | first.qos << 3
    return ACCEPTED, flags, first.order, first.topic, len(messages), size, *body, _numbers(owed), _grants(owed)


def _taken(record: Taken, writing: Writing) -> object:
    shift_ms = writing.shift_ms
    body = writing.put([
        (message.topic, message.qos << 1 | message.retain, _tail(message, shift_ms)) for message in record.messages
    ])  # fmt: skip
    count = len(record.messages)
    writing.taken.update(dict.fromkeys(range(record.number, record.number + count), writing.place))
    return TAKEN, record.number, record.session, record.packet_identifiers, _mark(record.mark), count, *body


def _routed(record: Routed, writing: Writing) -> object:
    record.place = writing.place
    numbers = record.numbers
    places = [writing.taken.pop(number, 0) for number in numbers]
    runs: list[int]  # of numbers that are in one place: the first, how many, where
    if places.count(places[0]) == len(places) and numbers == [*range(numbers[0], numbers[0] + len(numbers))]:
        runs = [numbers[0], len(numbers), places[0]]
    else:
        runs = [each for number, place in zip(numbers, places, strict=True) for each in (number, 1, place)]
    flags = _kept(record.is_kept, record.messages)
    topic = record.messages[0].topic if flags else b""
    size = _size(record.messages)
    return ROUTED, flags, record.order, topic, size, runs, _numbers(record.owed), _grants(record.owed)


def _mark(mark: Mark | None) -> object:
    return None if mark is None else (mark.epoch, mark.traffic_class, mark.sequence, mark.life)


def _read_mark(row: Any) -> Mark | None:
    return None if row is None else Mark(*row)


def _testament(will: Testament | None) -> object:
    if will is None:
        return None
    return will.topic, will.payload, will.qos, will.retain, will.properties, will.is_bare, will.is_restricted


def _opened(record: Opened, _: Writing) -> object:
    return (
        5,
        record.session,
        record.client_id,
        record.username,
        record.expiry_interval,
        record.window,
        _testament(record.will),
        record.first,
        record.node,
    )


def _read_opened(row: Row, shift_ms: int) -> Opened:
    _, session, client_id, username, expiry_interval, window, will, first, node = row
    return Opened(session, client_id, username, expiry_interval, window, _read_will(will), first, node)


def _resumed(record: Resumed, _: Writing) -> object:
    will = _testament(record.will)
    return 6, record.session, record.username, record.expiry_interval, record.window, will, record.node


def _read_resumed(row: Row, shift_ms: int) -> Resumed:
    _, session, username, expiry_interval, window, will, node = row
    return Resumed(session, username, expiry_interval, window, _read_will(will), node)


def _read_will(row: Any) -> Testament | None:
    return None if row is None else Testament(*row)


# ---- All of them

_WRITERS: dict[type, Callable[[Any, Writing], object]] = {
    Accepted: _accepted,
    Taken: _taken,
    Routed: _routed,
    Owes: _owes,
    Opened: _opened,
    Resumed: _resumed,
    Left: lambda record, writing: (
        7, record.session, record.expiry_interval, record.has_will, record.at + writing.shift_ms,
    ),
    WillSent: lambda record, _: (8, record.session),
    Ended: lambda record, _: (9, record.session),
    Subscribed: lambda record, _: (
        10, record.session, record.filter, record.options, record.subscription_identifier, record.is_late,
    ),
    CaughtUp: lambda record, _: (11, record.session, record.filter),
    Unsubscribed: lambda record, _: (12, record.session, record.filter),
    Progressed: lambda record, _: (13, record.session, record.packet, record.packet_identifiers),
    Receiving: lambda record, _: (14, record.session, record.packet_identifiers),
    Marked: lambda record, _: (15, _mark(record.mark)),
    Unkept: lambda record, _: (16, record.topic),
    Reset: lambda record, _: (17,),
    Placed: lambda record, _: (18, record.order),
    Stream: lambda record, _: (19, record.number, record.traffic_class, record.first),
    Skipped: lambda record, _: (20, record.number, record.count),
    Released: lambda record, _: (21, record.number, record.upto),
    Ruled: lambda record, _: (22, record.topic, record.order),
    Asked: lambda record, _: (23, record.filter, record.is_wanted),
    Met: lambda record, _: (24, record.name, record.centre, record.epoch, record.life),
}  # fmt: skip

_READERS: dict[int, Callable[[Row, int], Record]] = {
    5: _read_opened,
    6: _read_resumed,
    7: lambda row, shift_ms: Left(row[1], row[2], row[3], row[4] - shift_ms),
    8: lambda row, _: WillSent(*row[1:]),
    9: lambda row, _: Ended(*row[1:]),
    10: lambda row, _: Subscribed(*row[1:]),
    11: lambda row, _: CaughtUp(*row[1:]),
    12: lambda row, _: Unsubscribed(*row[1:]),
    13: lambda row, _: Progressed(*row[1:]),
    14: lambda row, _: Receiving(*row[1:]),
    15: lambda row, _: Marked(Mark(*row[1])),
    16: lambda row, _: Unkept(*row[1:]),
    17: lambda row, _: Reset(),
    18: lambda row, _: Placed(*row[1:]),
    19: lambda row, _: Stream(*row[1:]),
    20: lambda row, _: Skipped(*row[1:]),
    21: lambda row, _: Released(*row[1:]),
    22: lambda row, _: Ruled(*row[1:]),
    23: lambda row, _: Asked(*row[1:]),
    24: lambda row, _: Met(*row[1:]),
}
