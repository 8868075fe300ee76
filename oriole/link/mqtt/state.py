"""Where a client's connection is, and what cannot be done there."""

from enum import Enum


class State(Enum):
    """From the application's `connect` to its `closed`."""

    CLOSED = "closed"
    CONNECTING = "CONNECT sent"
    CONNECTED = "CONNACK received"
    CLOSING = "to be closed once `outgoing` is written"


class NotConnected(Exception):  # noqa: N818 - a state, not a mistake
    """What was asked for needs an accepted connection; QoS 1 and 2 messages do not, they wait."""
