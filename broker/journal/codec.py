"""Batches of records as bytes and back (docs/journal-format.md).

A batch is a MessagePack array of records, a record an array that begins with its kind. Short, because each byte is
written to flash for every message; arrays without names, because each life of a node reads what an earlier one wrote,
and a kind that changes gets a new number.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec

from broker.core.message import Header, Message
from broker.core.records import (
    Accepted,
    Asked,
    CaughtUp,
    Ended,
    Left,
    Marked,
    Met,
    Opened,
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
    Testament,
    Unkept,
    Unsubscribed,
    WillSent,
)
from oriole.link.uplink import Mark

Row = list[Any]

MOST_TOPICS = 10_000
_topics: dict[bytes, bytes] = {}
"""Topics read so far, so that a million messages on one topic do not hold it a million times."""
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(list[Row]).decode


class DamagedRecordError(ValueError):
    """A batch whose bytes are whole, by their checksum, and are no records: another version wrote them, or a fault of
    ours.
    """


def encode(batch: Sequence[Record], shift_ms: int = 0) -> bytes:
    """`batch` as bytes; `shift_ms` is added to the node's time to make it time that other lives understand."""
    return _encode([_WRITERS[type(record)](record, shift_ms) for record in batch])


def decode(blob: bytes, shift_ms: int = 0) -> Iterator[Record]:
    """The records of a batch; `shift_ms` is subtracted from times. Raises DamagedRecordError."""
    try:
        for row in _decode(blob):
            yield _READERS[row[0]](row, shift_ms)
    except (msgspec.DecodeError, LookupError, TypeError, ValueError) as error:
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


def _message(topic: bytes, qos: int, retain: bool, tail: Any, shift_ms: int, order: int = 0) -> Message:
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


def _owed(owed: Owed) -> object:
    session, qos, retain, identifiers = owed
    number = session << 3 | qos << 1 | retain
    return (number, *identifiers) if identifiers else number


def _read_owed(row: Any) -> Owed:
    number, *identifiers = (row,) if type(row) is int else row
    return number >> 3, number >> 1 & 3, bool(number & 1), tuple(identifiers)


def _accepted(record: Accepted, shift_ms: int) -> object:
    first = record.messages[0]
    tails = [_tail(message, shift_ms) for message in record.messages]
    owed = [_owed(owed) for owed in record.owed]
    return 1, record.is_kept, owed, first.order, first.topic, first.qos, first.retain, tails


def _read_accepted(row: Row, shift_ms: int) -> Accepted:
    _, is_kept, owed, order, topic, qos, retain, tails = row
    topic = _topics.setdefault(topic, topic)
    if len(_topics) > MOST_TOPICS:
        _topics.clear()
    messages = [_message(topic, qos, retain, tail, shift_ms, at) for at, tail in enumerate(tails, order)]
    return Accepted(messages, is_kept, [_read_owed(each) for each in owed])


def _taken(record: Taken, shift_ms: int) -> object:
    messages = [
        (message.topic, message.qos << 1 | message.retain, _tail(message, shift_ms)) for message in record.messages
    ]
    return 2, record.number, record.session, record.packet_identifiers, _mark(record.mark), messages


def _read_taken(row: Row, shift_ms: int) -> Taken:
    _, number, session, identifiers, mark, rows = row
    messages = [_message(topic, flags >> 1, bool(flags & 1), tail, shift_ms) for topic, flags, tail in rows]
    return Taken(number, messages, session, identifiers, _read_mark(mark))


def _mark(mark: Mark | None) -> object:
    return None if mark is None else (mark.epoch, mark.traffic_class, mark.sequence, mark.life)


def _read_mark(row: Any) -> Mark | None:
    return None if row is None else Mark(*row)


def _owes(record: Owes, shift_ms: int) -> object:
    message = record.message
    return 4, _owed(record.owed), message.order, message.topic, message.qos, message.retain, _tail(message, shift_ms)


def _read_owes(row: Row, shift_ms: int) -> Owes:
    _, owed, order, topic, qos, retain, tail = row
    return Owes(_message(topic, qos, retain, tail, shift_ms, order), _read_owed(owed))


def _testament(will: Testament | None) -> object:
    if will is None:
        return None
    return will.topic, will.payload, will.qos, will.retain, will.properties, will.is_bare, will.is_restricted


def _opened(record: Opened, _: int) -> object:
    return (
        5,
        record.session,
        record.client_id,
        record.username,
        record.expiry_interval,
        record.window,
        _testament(record.will),
        record.last_identifier,
        record.node,
    )


def _read_opened(row: Row, shift_ms: int) -> Opened:
    _, session, client_id, username, expiry_interval, window, will, last_identifier, node = row
    return Opened(session, client_id, username, expiry_interval, window, _read_will(will), last_identifier, node)


def _resumed(record: Resumed, _: int) -> object:
    will = _testament(record.will)
    return 6, record.session, record.username, record.expiry_interval, record.window, will, record.node


def _read_resumed(row: Row, shift_ms: int) -> Resumed:
    _, session, username, expiry_interval, window, will, node = row
    return Resumed(session, username, expiry_interval, window, _read_will(will), node)


def _read_will(row: Any) -> Testament | None:
    return None if row is None else Testament(*row)


# ---- All of them

_WRITERS: dict[type, Callable[[Any, int], object]] = {
    Accepted: _accepted,
    Taken: _taken,
    Routed: lambda record, _: (
        3, record.numbers, record.is_kept, [_owed(owed) for owed in record.owed], record.order,
    ),
    Owes: _owes,
    Opened: _opened,
    Resumed: _resumed,
    Left: lambda record, shift_ms: (7, record.session, record.expiry_interval, record.has_will, record.at + shift_ms),
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
    1: _read_accepted,
    2: _read_taken,
    3: lambda row, _: Routed(row[1], row[2], [_read_owed(owed) for owed in row[3]], row[4]),
    4: _read_owes,
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
