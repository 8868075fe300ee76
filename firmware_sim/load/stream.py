"""What one publisher sends: packets of one length, each of which knows its publisher and its sequence.

Any stretch of a stream can be made again at any time, in bulk: a subscriber checks thousands of messages with one
comparison of bytes, which is how plain Python keeps ahead of a broker. Columns are the trick: the same byte of every
packet is a slice with a stride, so one statement writes or reads it in all of them.
"""

import sys
from array import array
from typing import Final

from oriole.wire.mqtt import Publish, encode

IDENTITY_BYTES: Final = 8
"""A payload opens with the sequence and the publisher, 32 bits each, most significant byte first."""

_MOST_IDENTIFIER: Final = 65_535


def _two_byte_columns(numbers: range) -> tuple[bytes, bytes]:
    column = array("H", numbers)
    if sys.byteorder == "little":
        column.byteswap()
    both = column.tobytes()
    return both[0::2], both[1::2]


_COUNT_HIGH, _COUNT_LOW = _two_byte_columns(range(1 << 16))
_IDENTIFIER_HIGH, _IDENTIFIER_LOW = (2 * column for column in _two_byte_columns(range(1, _MOST_IDENTIFIER + 1)))


class Stream:
    """The PUBLISH packets of one publisher: number `sequence` of them starts at byte `sequence * packet_bytes`."""

    __slots__ = ("_packet", "identifier_at", "packet_bytes", "published", "publisher", "qos", "sequence_at")

    def __init__(self, publisher: int, topic: str, *, qos: int, size: int, version: int) -> None:
        payload = bytes(4) + publisher.to_bytes(4) + bytes(size - IDENTITY_BYTES)
        packet = Publish(topic.encode(), payload, qos, packet_identifier=1 if qos else 0)
        self._packet = bytearray(encode(packet, version))
        self.packet_bytes = len(self._packet)
        self.sequence_at = self.packet_bytes - size
        self.identifier_at = self._packet.index(topic.encode()) + len(topic.encode()) if qos else 0
        """Where in a packet its identifier is; 0 at QoS 0, which has none."""
        self.publisher = publisher
        self.qos = qos
        self.published = 0
        """How many were sent: the sequence of the next one."""

    def take(self, count: int) -> bytearray:
        """The next `count` packets, which are published from now on."""
        first = self.published
        self.published += count
        return self.packets(first, count)

    def packets(self, first: int, count: int) -> bytearray:
        """`count` packets from sequence `first` on, with the publisher's packet identifiers.

        `count` is at most 65,535.
        """
        before_carry = (1 << 16) - (first & 0xFFFF)
        if count > before_carry:
            return self.packets(first, before_carry) + self.packets(first + before_carry, count - before_carry)
        stride, at, low = self.packet_bytes, self.sequence_at, first & 0xFFFF
        packets = self._packet * count
        packets[at::stride] = bytes((first >> 24,)) * count
        packets[at + 1 :: stride] = bytes((first >> 16 & 0xFF,)) * count
        packets[at + 2 :: stride] = _COUNT_HIGH[low : low + count]
        packets[at + 3 :: stride] = _COUNT_LOW[low : low + count]
        if self.identifier_at:
            start = first % _MOST_IDENTIFIER
            packets[self.identifier_at :: stride] = _IDENTIFIER_HIGH[start : start + count]
            packets[self.identifier_at + 1 :: stride] = _IDENTIFIER_LOW[start : start + count]
        return packets

    def arrived(self, first: int, count: int, data: bytes, position: int) -> bool:
        """Whether the `count` packets of this length at `position` were published and are those from `first` on.

        Their packet identifiers may be any: the broker chooses them.
        """
        if first + count > self.published:
            return False
        expected = self.packets(first, count)
        if self.identifier_at:
            stride, end = self.packet_bytes, position + count * self.packet_bytes
            for column in (self.identifier_at, self.identifier_at + 1):
                expected[column::stride] = data[position + column : end : stride]
        return data.startswith(expected, position)
