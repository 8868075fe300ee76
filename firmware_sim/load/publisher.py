"""A publisher: says how much it may send, sends it, and follows what the broker acknowledges. Moves no bytes itself."""

from collections.abc import Callable

from firmware_sim.load.errors import LoadError, unexpected
from firmware_sim.load.latency import Latency
from firmware_sim.load.runs import PUBACK, PUBCOMP, PUBREC, PUBREL, acknowledgements, run_length
from firmware_sim.load.stream import Stream
from oriole.wire.mqtt import read_header

_REASON_CODE_AT = 4
_FAILED = 0x80
"""Reason codes from here on are failures (MQTT 5.0 §2.4)."""


class Publisher:
    """Sends its stream, at QoS 1 and 2 with at most `window` messages unacknowledged; `send` takes its bytes."""

    __slots__ = ("_latency", "_send", "_window", "in_flight", "refused", "stream")

    def __init__(
        self, stream: Stream, *, window: int, latency: Latency, send: Callable[[bytes | bytearray], None]
    ) -> None:
        self._send = send
        self._window = window
        self.stream = stream
        self._latency = latency
        self.in_flight = 0
        """Messages of QoS 1 and 2 that the broker has not acknowledged to the end."""
        self.refused = 0
        """Messages that the broker acknowledged with a failure."""

    def room(self, unsent_bytes: int, send_ahead_bytes: int) -> int:
        """How many messages may be sent now, while `unsent_bytes` wait for the kernel to take them."""
        room = -(-(send_ahead_bytes - unsent_bytes) // self.stream.packet_bytes)
        return min(room, self._window - self.in_flight) if self.stream.qos else room

    def publish(self, count: int, now: int) -> None:
        """Send the next `count` messages."""
        self._latency.publish(self.stream.publisher, self.stream.published, count, now)
        if self.stream.qos:
            self.in_flight += count
        self._send(self.stream.take(count))

    def receive(self, data: bytes, now: int) -> int:
        """Take the whole packets at the front of `data`; returns how many bytes they were.

        Raises LoadError.
        """
        position = 0
        while (header := read_header(data, position)) and header[2] <= len(data):
            first, _, packet_end = header
            packet_bytes = packet_end - position
            if first not in (PUBACK, PUBREC, PUBCOMP) or packet_bytes < _REASON_CODE_AT:
                raise unexpected(first, "a publisher")
            has_reason = packet_bytes > _REASON_CODE_AT
            count = run_length(data, position, packet_bytes, (0, 1, _REASON_CODE_AT) if has_reason else (0, 1))
            failed = has_reason and data[position + _REASON_CODE_AT] >= _FAILED
            if first == PUBREC and not failed:
                self._send(acknowledgements(PUBREL, data, position, count, packet_bytes, column=2))
            else:
                self._settle(count, failed)
            position += count * packet_bytes
        return position

    def _settle(self, count: int, failed: bool) -> None:
        self.in_flight -= count
        if self.in_flight < 0:
            raise LoadError("the broker acknowledged more than was published")
        if failed:
            self.refused += count
