"""When to ask a quiet server whether it is there, and when to give it up (MQTT 5.0 §3.1.2.10)."""

from typing import Final

MIN_ANSWER_MS: Final = 5_000
"""A ping is to be answered within half of the keep-alive, as the server allows us; but slow links need so much."""


class KeepAlive:
    """Three readings of the clock; a packet costs an assignment."""

    __slots__ = ("interval_ms", "last_received", "last_sent", "ping_sent")

    def __init__(self) -> None:
        self.interval_ms = 0
        self.last_received = 0
        self.last_sent = 0
        self.ping_sent: int | None = None

    def start(self, interval_ms: int, now: int) -> None:
        """A new connection; an interval of 0 is no keep-alive."""
        self.interval_ms = interval_ms
        self.last_received = self.last_sent = now
        self.ping_sent = None

    def heard(self, now: int) -> None:
        """Something has arrived: as good as an answer."""
        self.last_received = now
        self.ping_sent = None

    def deadline(self) -> int | None:
        """When to ping; with a ping sent, when to give up."""
        if not self.interval_ms:
            return None
        if self.ping_sent is not None:
            return self.ping_sent + max(self.interval_ms // 2, MIN_ANSWER_MS)
        # also where only we send: that the server is gone shows in what it does not answer
        return min(self.last_sent, self.last_received) + self.interval_ms
