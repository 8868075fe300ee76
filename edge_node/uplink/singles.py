"""What goes up to a broker of another make: MQTT packets out of the spool, one message each.

It knows nothing of numbers, so what it has may come again after a restart here; with QoS 2, not after a cut alone. Nor
does it acknowledge in an order that can be relied on: a message ends where it is, and its number when those before it
have ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from broker.core.message import Message
from broker.core.settlement import Reason
from edge_node.uplink.spool import Spool, Stream
from oriole.link.mqtt import Client, Expired, Published, PublishRefused, QueueFull
from oriole.wire.mqtt import ReasonCode

if TYPE_CHECKING:
    from edge_node.uplink.uplink import Uplink

WINDOW: Final = 128
"""Messages on the way at once: enough for 3,000 a second over a 40 ms link."""
RETRY_MS: Final = 1_000
"""Pause after it had no room for a message."""


class Singles:
    """The streams of a spool on their way to a broker of another make.

    Args:
        spool: what waits.
        uplink: for whom.
        client: keeps what was sent and not acknowledged, and sends it again on the next connection.
    """

    __slots__ = ("_client", "_retry_at", "_sent", "_spool", "_uplink")

    def __init__(self, spool: Spool, uplink: Uplink, client: Client) -> None:
        self._spool = spool
        self._uplink = uplink
        self._client = client
        self._sent: dict[int, tuple[Stream, int]] = {}
        self._retry_at = 0

    def forget(self) -> None:
        """What was sent went to somebody else: it is to go up anew."""
        self._sent.clear()
        self._retry_at = 0

    def pump(self, now: int) -> None:
        """Give the client what the window has room for."""
        if self._retry_at:
            return
        for stream in self._spool.streams:
            while stream.has_unsent and len(self._sent) < WINDOW:
                number, message = next(stream.unsent())
                if message is not None and not self._send(stream, number, message, now):
                    return
                stream.next = number + 1
            self._spool.release_struck(stream, now)

    def _send(self, stream: Stream, number: int, message: Message, now: int) -> bool:
        if message.expires_at and message.expires_at <= now:
            self._uplink.give_up(stream, number, True, now)
            return True
        try:
            identifier = self._uplink.publish(message, max(1, message.qos), now)
        except PublishRefused as refused:
            self._uplink.report(f"the centre takes no message on {message.topic.decode()}: {refused}")
            self._end(stream, number, Reason.REJECTED, now)
        except QueueFull:  # until something on the way is acknowledged
            return False
        else:
            self._sent[identifier] = stream, number
        return True

    def due(self, now: int) -> int | None:
        """Send again what there was no room for, once all that was sent behind it is back; when to look again."""
        if self._retry_at and self._retry_at <= now and not self._sent:
            self._retry_at = 0
            self._spool.rewind()
        self.pump(now)
        return self._retry_at if self._retry_at > now else None

    def published(self, event: Published, now: int) -> None:
        """A message was acknowledged, or refused."""
        stream, number = self._sent.pop(event.packet_identifier, (None, 0))
        if stream is None:
            return
        if event.reason_code == ReasonCode.QUOTA_EXCEEDED:
            self._retry_at = now + RETRY_MS
            self._uplink.look_again(self._retry_at)
        elif event.reason_code >= ReasonCode.UNSPECIFIED_ERROR:
            self._end(stream, number, Reason.REJECTED, now)
        else:
            self._end(stream, number, None, now)
        self.due(now)

    def expired(self, event: Expired, now: int) -> None:
        """A message's time was over before it could be sent."""
        stream, number = self._sent.pop(event.packet_identifier, (None, 0))
        if stream is not None:
            self._uplink.give_up(stream, number, True, now)
            self.due(now)

    def _end(self, stream: Stream, number: int, reason: Reason | None, now: int) -> None:
        self._uplink.settle(stream, number, reason, now)
        self._spool.release_struck(stream, now)
