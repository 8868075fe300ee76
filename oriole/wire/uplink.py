"""Batches of messages on the uplink, and what is answered, as bytes: MessagePack arrays (docs/uplink.md).

A batch is the payload of an MQTT PUBLISH, and so is its answer: MQTT carries them and knows nothing of what is in them.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta, Struct

BATCH: Final = "$oriole/batch"
"""Topic of a batch."""
ANSWER: Final = "$oriole/answer"
"""Topic of the answer to one."""
MOST_PARCELS: Final = 1_000
"""In one batch: each is a thing to look at before anybody else has a turn."""
MOST_NODES: Final = 16
"""Nodes on a path; a message that has passed more is going in circles."""

MOST_LIFETIME_MS: Final = 0xFFFF_FFFF * 1000
"""MQTT's longest Message Expiry Interval (3.3.2.3.3)."""

Number = Annotated[int, Meta(ge=0, lt=1 << 53)]
"""Numbers of messages: a million a second for 285 years."""
Skip = Annotated[int, Meta(ge=0, lt=1 << 31)]
Name = Annotated[str, Meta(pattern=r"^[\x01-\x2b\x2d-\x7f]{1,64}\Z")]
"""Of a node: ASCII, without a comma."""
Class = Annotated[str, Meta(pattern=r"^[a-z]{1,16}\Z")]


class UplinkError(ValueError):
    """The bytes are no batch and no answer that a node writes: the peer is at fault."""


class Facts(Struct, array_like=True, frozen=True):
    """What MQTT's properties say of a message that travels on (3.3.2.3), and its collapse key."""

    content_type: str | None
    payload_format_indicator: int | None
    response_topic: str | None
    correlation_data: bytes | None
    user_property: tuple[tuple[str, str], ...]
    collapse_key: str | None


class Parcel(Struct, array_like=True, frozen=True):
    """A message in a batch.

    Attributes:
        flags: its QoS in bits 1 and 2 and its RETAIN flag in bit 0, as in PUBLISH.
        topic, payload: as they are.
        lifetime_ms: what remains of its lifetime; 0: it has none.
        path: the nodes that it passed before the one that sends the batch, oldest first.
        facts: what else there is to say, where there is.
    """

    flags: Annotated[int, Meta(ge=0, lt=6)]
    topic: bytes
    payload: bytes
    lifetime_ms: Annotated[int, Meta(ge=0, le=MOST_LIFETIME_MS)] = 0
    path: Annotated[tuple[Name, ...], Meta(max_length=MOST_NODES - 1)] = ()
    facts: Facts | None = None


class Batch(Struct, array_like=True, frozen=True):
    """Messages of one class that follow one another, from no. `first` on; a plain number in their midst stands for so
    many numbers that were given to none, or to one whose time was over.
    """

    traffic_class: Class
    first: Annotated[int, Meta(ge=1, lt=1 << 53)]
    parcels: Annotated[list[Parcel | Skip], Meta(max_length=MOST_PARCELS)]


class Answer(Struct, array_like=True, frozen=True):
    """What became of a batch.

    Attributes:
        traffic_class: its class.
        upto: all numbers of the class up to this one have been taken, or refused for good.
        places: of retained values in the batch, number and place in the order; 0: another value has followed it.
        refusals: number and MQTT reason code of those that will never be taken.
        is_busy: there was no room for the one after `upto`, nor will there be for what follows until that comes again.
    """

    traffic_class: Class
    upto: Annotated[int, Meta(ge=0)]
    places: list[tuple[Number, Number]] = []
    refusals: list[tuple[Number, int]] = []
    is_busy: bool = False


encode = msgspec.msgpack.Encoder().encode
"""A `Batch` or an `Answer` as bytes."""

_decode_batch = msgspec.msgpack.Decoder(Batch).decode
_decode_answer = msgspec.msgpack.Decoder(Answer).decode


def decode_batch(data: bytes) -> Batch:
    """Raises UplinkError."""
    batch: Batch = _read(_decode_batch, data)
    return batch


def decode_answer(data: bytes) -> Answer:
    """Raises UplinkError."""
    answer: Answer = _read(_decode_answer, data)
    return answer


def _read(decode: Any, data: bytes) -> Any:
    try:
        return decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UplinkError(f"no batch, and no answer to one: {error}") from None
