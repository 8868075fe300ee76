"""Where one packet ends and the next begins (MQTT 5.0 §2.1): the fixed header, and a stream cut into packets."""

from collections.abc import Iterator
from typing import Final

from oriole.wire.mqtt.errors import MalformedPacket, ProtocolError
from oriole.wire.mqtt.reason_codes import ReasonCode

MAX_PACKET_BYTES: Final = 268_435_460
"""The largest packet that MQTT can express: five bytes of header, 268,435,455 bytes of the rest."""


def read_header(data: bytes | bytearray, position: int) -> tuple[int, int, int] | None:
    """The fixed header at `position`: (first byte, where the body starts, where the packet ends), which may be
    beyond the data; None while the header itself is incomplete.

    Raises MalformedPacket when the remaining length has more than four bytes. One that is longer than needed is
    accepted: 3.1.1 does not forbid it, and the version is not known here.
    """
    available = len(data)
    if position + 2 > available:
        return None
    byte = data[position + 1]
    start = position + 2
    if byte < 0x80:
        return data[position], start, start + byte
    length = byte & 0x7F
    for shift in (7, 14, 21):
        if start >= available:
            return None
        byte = data[start]
        start += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return data[position], start, start + length
    raise MalformedPacket("the remaining length has more than four bytes")


class Splitter:
    """Cuts a byte stream into packets; holds at most one incomplete packet, never more than `max_packet_bytes`."""

    __slots__ = ("_partial", "_wanted", "max_packet_bytes")

    def __init__(self, max_packet_bytes: int = MAX_PACKET_BYTES) -> None:
        self.max_packet_bytes = max_packet_bytes
        self._partial = bytearray()
        self._wanted = 0  # bytes of `_partial` below which there is nothing to do: it may grow a byte at a time

    def split(self, data: bytes) -> Iterator[tuple[int, bytes]]:
        """Take the next bytes of the stream; yield (first byte, body) of each packet that they complete.

        Raises, after the packets before it: ProtocolError with 0x95 for a packet over `max_packet_bytes`, as soon as
        its header is there; MalformedPacket as `read_header` does. Nothing can be read after that.
        """
        if self._partial:
            self._partial += data
            if len(self._partial) < self._wanted:
                return
            data = bytes(self._partial)
            self._partial.clear()
        position, available, limit = 0, len(data), self.max_packet_bytes
        while header := read_header(data, position):
            first, start, end = header
            if end - position > limit:
                raise ProtocolError(
                    f"a packet of {end - position} bytes, {limit} are allowed", ReasonCode.PACKET_TOO_LARGE
                )
            if end > available:
                break
            yield first, data[start:end]
            position = end
        self._wanted = header[2] - position if header else 0
        self._partial += data[position:]
