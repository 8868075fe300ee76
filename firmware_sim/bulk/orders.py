"""What the bulk process is told and what it says: one JSON object per line. The first line is its configuration."""

from typing import Literal

import msgspec

from firmware_sim.devices.stamp import Values

from .result import BulkResult


class Begin(msgspec.Struct, frozen=True, tag=True):
    """The plan begins at `at_ns` of CLOCK_MONOTONIC; 0 for as soon as it is prepared."""

    at_ns: int = 0


class Do(msgspec.Struct, frozen=True, tag=True, kw_only=True):
    """Something happens to devices, as to those of a fleet. To lose all connections at once is `roam`: with one address
    each comes back to the same node.
    """

    verb: Literal["power_on", "power_off", "fail", "pause", "go_on", "slow", "read_on", "roam"]
    """What."""
    to: list[str] = []
    """Devices, by name; empty for all."""
    values: Values = {}
    """What the verb needs: `fail` takes `keeps_state` and `silently`."""
    per_s: float = 0.0
    """To how many of them in a second; 0 for all at once."""


class Quiet(msgspec.Struct, frozen=True, tag=True):
    """Devices say nothing more by themselves; they still listen, obey and confirm."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Close the books, disconnect everybody, and say the result."""


Order = Begin | Do | Quiet | Stop


class Progress(msgspec.Struct, frozen=True, tag=True):
    """Where the process is, every second."""

    at_ns: int
    starting: int
    """Devices that are there before the run begins, and not yet switched on."""
    on: int
    """Devices that are switched on."""
    connected: int
    ready: int
    """Devices whose subscriptions are all confirmed."""
    sent: int
    accepted: int
    received: int
    awaited: int
    """Messages of these devices to these devices that are due and have not arrived."""
    lag_p99_ms: float
    """Of all steps so far: how late they began."""
    trouble: str = ""
    """One that is on and not ready, and what it last heard."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """It cannot be done, and why; the process ends."""

    error: str


class Closed(msgspec.Struct, frozen=True, tag=True):
    """The books, as the last line."""

    result: BulkResult


Answer = Progress | Refused | Closed
