"""What makes one device of a kind different from the next. No time, no I/O."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .device import Device


@dataclass(slots=True, frozen=True)
class Target:
    """A device that somebody commands: its base topic, and its kind, which knows what it understands."""

    topic: str
    kind: type["Device"]


@dataclass(slots=True, frozen=True)
class Traits:
    """One device: who and where it is, and how it was told to behave. Topics are whole. Durations in ns."""

    name: str
    place: str
    """The topic above its name."""
    population: str = ""
    way: str = ""
    """How it is connected, as the report calls it."""
    every_ns: int = 10_000_000_000
    """Its beat."""
    qos: int = 1
    lifetime_s: int = 0
    """After so long its orders are worth nothing; 0 for never."""
    hears: tuple[str, ...] = ()
    """Topic filters that it listens to besides its orders."""
    targets: tuple[Target, ...] = ()
    """Whom it commands."""
    announces: str = ""
    """The topic that it speaks to (herald)."""
    reads: str = ""
    """A topic whose value it asks for half-way between beats."""
    awake_ns: int = 1_000_000_000
    """How long it stays awake at a time (sleepers)."""
    padding: int = 0
    """Bytes added to each message."""
    takes_firmware: bool = True
    """Whether it listens for new firmware, if its kind takes orders at all."""

    @property
    def topic(self) -> str:
        """Its own topic, above `set`, `state`, `reading`, ..."""
        return f"{self.place}/{self.name}"
