"""What goes up to an Oriole centre: batches out of the spool, most urgent first, and what the centre answers.

Sends no more than the window lets out, so that an alarm does not wait behind what a modem or this machine has buffered.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from broker.core.message import Message
from broker.core.parcels import header_of, parcel_of
from edge_node.uplink.spool import Spool, Stream
from oriole.link.uplink import Window
from oriole.wire.uplink import MOST_PARCELS, Batch, Parcel, UplinkError, decode_answer, encode

if TYPE_CHECKING:
    from edge_node.uplink.uplink import Uplink

RETRY_MS: Final = 1_000
"""Pause after the centre had no room for a message."""
MOST_UNSENT: Final = 32 << 10
"""Bytes that the kernel was given and has not sent: with more, what is urgent would wait where nobody can overtake."""
LOOK_MS: Final = 10
"""How soon it is looked again whether it has."""
PARCEL_BYTES: Final = 32
"""What a parcel is longer than its topic, payload, path and facts, at most."""
HEADROOM: Final = 128
"""What a packet is longer than its parcels, at most."""


class Batches:
    """The streams of a spool on their way to an Oriole centre.

    Args:
        spool: what waits.
        uplink: whose channel it goes by.
    """

    __slots__ = ("_busy_until", "_on_the_way", "_spool", "_uplink", "window")

    def __init__(self, spool: Spool, uplink: Uplink) -> None:
        self._spool = spool
        self._uplink = uplink
        self._on_the_way: deque[Stream] = deque()  # whose batches they are, oldest first
        self._busy_until: dict[Stream, int] = {}
        self.window = Window()

    def restart(self) -> None:
        """There is a new connection."""
        self._spool.rewind()
        self._on_the_way.clear()
        self._busy_until.clear()
        self.window.restart()

    def pump(self, now: int) -> None:
        """Send what the window has room for."""
        window = self.window
        while (window.room > 0 or not window.bytes_on_the_way) and (stream := self._most_urgent()) is not None:
            if self._uplink.unsent_bytes() > MOST_UNSENT:
                self._uplink.look_again(now + LOOK_MS)
                return
            batch = self._next(stream, window.batch_bytes, now)
            if batch is None:
                continue
            payload = encode(batch)
            if not self._uplink.send_batch(payload, now):
                return
            window.sent(len(payload), now)
            self._on_the_way.append(stream)

    def due(self, now: int) -> int | None:
        """Begin again with what the centre had no room for; when to look again."""
        for stream, until in list(self._busy_until.items()):
            if until <= now and stream not in self._on_the_way:
                del self._busy_until[stream]
                stream.next = stream.first
        self.pump(now)
        return min((until for until in self._busy_until.values() if until > now), default=None)

    def receive(self, payload: bytes, now: int) -> bool:
        """The answer to a batch. False for one that no centre gives."""
        try:
            answer = decode_answer(payload)
        except UplinkError:
            return False
        if not self._on_the_way or self._on_the_way[0].traffic_class != answer.traffic_class:
            return False
        stream = self._on_the_way.popleft()
        self.window.answered(now)
        self._spool.release(stream, min(answer.upto, stream.next - 1), now, dict(answer.places), dict(answer.refusals))
        if answer.is_busy:
            self._busy_until[stream] = now + RETRY_MS
            self._uplink.look_again(now + RETRY_MS)
        self.due(now)
        return True

    def _most_urgent(self) -> Stream | None:
        for stream in self._spool.streams:
            if stream.has_unsent and stream not in self._busy_until:
                return stream
        return None

    def _next(self, stream: Stream, most_bytes: int, now: int) -> Batch | None:
        """The messages to send next, at least one; None where there are none after all."""
        parcels: list[Parcel | int] = []
        first = stream.next
        size = 0
        ended: list[tuple[int, bool]] = []
        largest = self._uplink.max_packet_bytes - HEADROOM
        for number, message in stream.unsent():
            takes = 0 if message is None else _size(message, now)
            if size >= most_bytes or len(parcels) >= MOST_PARCELS or (parcels and size + takes > largest):
                break
            stream.next = number + 1
            if message is not None:
                is_late = 0 < message.expires_at <= now
                if is_late or takes > largest:
                    ended.append((number, is_late))
                    message = None
            if message is None:
                if parcels and isinstance(parcels[-1], int):
                    parcels[-1] += 1
                else:
                    parcels.append(1)
            else:
                parcels.append(parcel_of(message, now))
                size += takes
        for number, is_late in ended:
            self._uplink.give_up(stream, number, is_late, now)
        return Batch(stream.traffic_class, first, parcels) if parcels else None


def _size(message: Message, now: int) -> int:
    """Bytes of a message as a parcel, or a few more."""
    header = message.header
    if header is None or header is header_of(header.node_path):
        path = header.node_path if header is not None else ()
        return len(message.topic) + len(message.payload) + sum(len(name) + 2 for name in path) + PARCEL_BYTES
    return len(encode(parcel_of(message, now)))
