"""The identity that every simulated message carries: who sent it, which one it is, and when.

The payload is a JSON object that a person can read with any client: the device's values, and the stamp beside them.

    {"on": true, "stamp": ["5f3a91c2", "lamp-3", 12, 839211234567]}
"""

from dataclasses import dataclass
from typing import Annotated, Any

import msgspec


@dataclass(slots=True, frozen=True)
class Stamp:
    """`number` counts the messages of `publisher` on one topic from 1; `at_ns` is CLOCK_MONOTONIC of this machine.

    `run` tells this fleet's messages from those that another run left in a broker.
    """

    run: str
    publisher: str
    number: int
    at_ns: int


Values = dict[str, Any]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
"""A number of 64 bits: strangers write what they like."""


def number(values: Values, key: str) -> float:
    """The number at `key`. Raises KeyError, or ValueError with what is there instead."""
    value = values[key]
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"`{key}` is {value!r}, no number")
    try:
        return float(value)
    except OverflowError:
        raise ValueError(f"`{key}` is larger than any number of use") from None


def flag(values: Values, key: str) -> bool:
    """The truth at `key`. Raises KeyError, or ValueError with what is there instead."""
    value = values[key]
    if not isinstance(value, bool):
        raise ValueError(f"`{key}` is {value!r}, neither true nor false")
    return value


def seal(values: Values, stamp: Stamp) -> bytes:
    """The payload of a message."""
    return msgspec.json.encode({**values, "stamp": (stamp.run, stamp.publisher, stamp.number, stamp.at_ns)})


def unseal(payload: bytes) -> tuple[Values, Stamp | None]:
    """Values and stamp of any payload. What no simulated device wrote has no stamp, and perhaps no values."""
    try:
        values = msgspec.json.decode(payload, type=Values)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}, None
    try:
        run, publisher, number, at_ns = msgspec.convert(values.pop("stamp", None), tuple[str, str, Count, Count])
    except msgspec.ValidationError:
        return values, None
    return values, Stamp(run, publisher, number, at_ns)
