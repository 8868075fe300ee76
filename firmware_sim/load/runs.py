"""Finds runs of equal packets in what was read, so that a run costs one step however long it is."""

from collections.abc import Iterable
from typing import Final

# First bytes of the acknowledgements; a packet identifier begins at the third
PUBACK: Final = 0x40
PUBREC: Final = 0x50
PUBREL: Final = 0x62
PUBCOMP: Final = 0x70


def run_length(data: bytes, start: int, packet_bytes: int, columns: Iterable[int]) -> int:
    """How many whole packets from `start` on have the bytes of the first one at all `columns`.

    When the columns cover the fixed header, the answer is exact: each packet is as long as the first, so the next one
    begins where it was looked for.
    """
    count = (len(data) - start) // packet_bytes
    for column in columns:
        values = data[start + column : start + count * packet_bytes : packet_bytes]
        count -= len(values.lstrip(values[:1]))
    return count


def acknowledgements(first: int, data: bytes, start: int, count: int, packet_bytes: int, column: int) -> bytearray:
    """Acknowledgements of type `first` for the packet identifiers at `column` of the `count` packets at `start`."""
    end = start + count * packet_bytes
    packets = bytearray((first, 2, 0, 0)) * count
    packets[2::4] = data[start + column : end : packet_bytes]
    packets[3::4] = data[start + column + 1 : end : packet_bytes]
    return packets
