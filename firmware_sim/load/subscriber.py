"""A subscriber: checks what the broker delivers, enters it in its ledger, acknowledges it. Moves no bytes itself."""

from collections.abc import Callable, Mapping
from typing import Final

from firmware_sim.load.errors import unexpected
from firmware_sim.load.latency import Latency
from firmware_sim.load.ledger import Ledger
from firmware_sim.load.runs import PUBACK, PUBCOMP, PUBREC, PUBREL, acknowledgements, run_length
from firmware_sim.load.stream import IDENTITY_BYTES, Stream
from oriole.wire.mqtt import PacketType, read_header

_ACKNOWLEDGEMENT: Final = (0, PUBACK, PUBREC)


class Subscriber:
    """Reads the streams of the publishers in `heard`; `send` takes what it answers."""

    __slots__ = ("_latency", "_qos", "_send", "_size", "heard", "ledger")

    def __init__(
        self,
        heard: Mapping[int, Stream],
        *,
        qos: int,
        size: int,
        ledger: Ledger,
        latency: Latency,
        send: Callable[[bytes | bytearray], None],
    ) -> None:
        self.heard = heard
        self._qos = qos
        self._size = size
        self._latency = latency
        self._send = send
        self.ledger = ledger

    def receive(self, data: bytes, now: int) -> int:
        """Take the whole packets at the front of `data`; returns how many bytes they were.

        Raises LoadError.
        """
        position = 0
        while (header := read_header(data, position)) and header[2] <= len(data):
            first, body, packet_end = header
            if first >> 4 == PacketType.PUBLISH:
                position = self._publishes(data, position, body, packet_end, now)
            elif first == PUBREL and packet_end >= position + 4:
                packet_bytes = packet_end - position
                count = run_length(data, position, packet_bytes, (0, 1))
                self._send(acknowledgements(PUBCOMP, data, position, count, packet_bytes, column=2))
                position += count * packet_bytes
            else:
                raise unexpected(first, "a subscriber")
        return position

    def _publishes(self, data: bytes, start: int, body: int, packet_end: int, now: int) -> int:
        """Take the run of PUBLISH packets of one publisher at `start`; returns where it ends."""
        packet_bytes, identity = packet_end - start, packet_end - self._size
        stream = self.heard.get(int.from_bytes(data[identity + 4 : identity + IDENTITY_BYTES]))
        if stream is None or stream.packet_bytes != packet_bytes:
            self.ledger.alter()
            return packet_end
        count = 1
        if len(data) - packet_end >= packet_bytes:
            publisher_at = identity - start + 4
            columns = (*range(body - start), *range(publisher_at, publisher_at + 4))
            count = run_length(data, start, packet_bytes, columns)
        if not self._take(stream, data, start, count, now):
            for position in range(start, start + count * packet_bytes, packet_bytes):
                if not self._take(stream, data, position, 1, now):
                    self.ledger.alter()
        if self._qos:
            acknowledgement = _ACKNOWLEDGEMENT[self._qos]
            self._send(acknowledgements(acknowledgement, data, start, count, packet_bytes, stream.identifier_at))
        return start + count * packet_bytes

    def _take(self, stream: Stream, data: bytes, start: int, count: int, now: int) -> bool:
        """Enter the `count` packets at `start` if they are consecutive packets of the stream; otherwise say False."""
        identity = start + stream.packet_bytes - self._size
        first = int.from_bytes(data[identity : identity + 4])
        if not stream.arrived(first, count, data, start):
            return False
        self.ledger.receive(stream.publisher, first, count)
        self._latency.receive(stream.publisher, first, count, now)
        return True
