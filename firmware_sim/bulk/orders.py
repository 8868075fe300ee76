"""What the bulk process is told and what it says: one JSON object per line. The first line is its configuration."""

import msgspec

from firmware_sim.devices.stamp import Values

from .histogram import Histogram


class Begin(msgspec.Struct, frozen=True, tag=True):
    """The plan begins at `at_ns` of CLOCK_MONOTONIC."""

    at_ns: int


class Do(msgspec.Struct, frozen=True, tag=True):
    """Something happens to a device that its own plan does not know of: see `firmware_sim.devices.perform`."""

    to: str
    verb: str
    values: Values = {}


class Quiet(msgspec.Struct, frozen=True, tag=True):
    """Devices say nothing more by themselves; they still listen, obey and confirm."""


class Flush(msgspec.Struct, frozen=True, tag=True):
    """Have all that was seen in the journal, and say so."""


class Stop(msgspec.Struct, frozen=True, tag=True):
    """Write down the rest, disconnect everybody, and say what it took."""


Order = Begin | Do | Quiet | Flush | Stop


class Progress(msgspec.Struct, frozen=True, tag=True):
    """Where the process is, every second."""

    at_ns: int
    starting: int
    """Devices that are there before the run begins, and not yet switched on."""
    on: int
    """Devices that are switched on."""
    ready: int
    """Devices whose subscriptions are all confirmed."""
    sent: int
    received: int
    trouble: str = ""
    """One that is on and not ready, and what it last heard."""


class Flushed(msgspec.Struct, frozen=True, tag=True):
    """The journal holds all that had been seen at `at_ns`."""

    at_ns: int


class Refused(msgspec.Struct, frozen=True, tag=True):
    """It cannot be done, and why; the process ends."""

    error: str


class Closed(msgspec.Struct, frozen=True, tag=True):
    """The journal is complete; what the process took for it. The last line."""

    lag: Histogram
    """How late planned steps began: the generator's own fault."""
    passes: Histogram
    """How long the generator was busy at a time; a latency is wrong by no more than that."""
    cpu_s: float
    resident_mib: float


Answer = Progress | Flushed | Refused | Closed
