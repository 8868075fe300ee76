"""What CoAP clients may use, and which of the draft's choices the broker makes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CoapSettings:
    """Limits and behaviour of the CoAP side."""

    max_payload_bytes: int = 1 << 20
    """Largest value that a client may publish; a larger one is answered with 4.13."""
    max_upload_bytes: int = 4 << 20
    """Bytes of values that arrive block by block and are not yet whole, of all clients together."""
    max_observers: int = 10_000
    """Observations in all. One more is answered like a plain GET (RFC 7641 §4.1)."""
    max_observers_per_client: int = 256
    """Observations of one client: an address, and so perhaps a gateway with many devices behind it."""
    max_guests: int = 16_384
    """Clients remembered as let in; the one that came first is asked about again."""
    max_ready_bytes: int = 4 << 20
    """Answers kept ready-made."""
    retry_after_s: int = 5
    """Max-Age of a 5.03: when a client that was refused for want of room may try again."""
    strict: bool = False
    """As the draft says: a topic without a value cannot be observed (4.04). Otherwise its observers wait for one."""
