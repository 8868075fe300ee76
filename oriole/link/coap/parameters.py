"""Times and limits of the message layer (RFC 7252 §4.8). Times are milliseconds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Parameters:
    """What an endpoint goes by. The defaults are those of RFC 7252 §4.8; limits are ours.

    NSTART is 1 and no parameter: a peer has at most one confirmable message of ours unacknowledged.
    """

    ack_timeout_ms: int = 2_000
    """First wait for an acknowledgement, at least; it doubles with every retransmission."""
    ack_random_percent: int = 50
    """How much longer the first wait may be, so that peers that lost power together do not answer together."""
    max_retransmit: int = 4
    """Retransmissions before a peer counts as gone."""
    max_latency_ms: int = 100_000
    """Longest time that a datagram may be on its way."""
    separate_after_ms: int = 1_000
    """When a request that is not yet answered gets an empty acknowledgement: before the client sends it again."""
    max_replies: int = 32_768
    """Most exchanges remembered to recognise duplicates: about 12 MiB."""
    max_reply_bytes: int = 16 << 20
    """Most bytes of remembered exchanges, 300 bytes of bookkeeping each included."""
    max_peers: int = 16_384
    """Most peers with state of their own; those that nothing is open with make room, oldest first."""
    max_backlog: int = 8
    """Most confirmable messages that wait for one peer's acknowledgement of another."""
    max_pending: int = 4_096
    """Most requests handed to the service and not yet answered; further ones are refused."""

    @property
    def max_transmit_span_ms(self) -> int:
        """Longest time from the first transmission to the last."""
        return self.ack_timeout_ms * ((1 << self.max_retransmit) - 1) * (100 + self.ack_random_percent) // 100

    @property
    def exchange_lifetime_ms(self) -> int:
        """How long a message ID of a peer means the same message: 247 s by default."""
        return self.max_transmit_span_ms + 2 * self.max_latency_ms + self.ack_timeout_ms
