"""What setting up a session sends and receives besides the messages that the device itself counts.

Sizes are what a frame carries above the headers of IP and transport, which each frame pays anyway. Cryptography is not
charged: the draft below finds its energy small against the radio's.
"""

import msgspec

from firmware_sim.energy.parameter import Provenance

_FLIGHTS = "draft-ietf-iotops-security-protocol-comparison, raw public keys with ECDHE on P-256, without connection id"


class Handshake(msgspec.Struct, frozen=True, kw_only=True):
    """Packets in both directions, once for each session."""

    sent_bytes: tuple[int, ...] = ()
    """The sizes of those from the device."""
    received_bytes: tuple[int, ...] = ()
    """The sizes of those to the device."""
    provenance: Provenance
    """What the sizes rest on."""


HANDSHAKES = {
    "udp": Handshake(provenance=Provenance("sourced", "RFC 768: there is none")),
    "tcp": Handshake(
        sent_bytes=(12, 0),
        received_bytes=(12,),
        provenance=Provenance("sourced", "RFC 9293, SYN, SYN-ACK, ACK; 12 bytes of options in a SYN"),
    ),
    "tls": Handshake(
        sent_bytes=(12, 0, 162, 233),
        received_bytes=(12, 394),
        provenance=Provenance("sourced", f"TCP's, and TLS 1.3: {_FLIGHTS}"),
    ),
    "dtls": Handshake(
        sent_bytes=(179, 254),
        received_bytes=(447,),
        provenance=Provenance("sourced", f"DTLS 1.3: {_FLIGHTS}"),
    ),
}
