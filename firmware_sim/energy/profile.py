"""A kind of radio as a table: the stages it passes through when left alone, and what sending and receiving take.

One shape fits all of them: after a message a radio goes down a staircase of stages (awake, light sleep, power saving
mode), each with a current, until the next message wakes it. What the numbers do is `radio.py`'s.
"""

from collections.abc import Iterator

import msgspec

from firmware_sim.energy.parameter import Parameter


class Poll(msgspec.Struct, frozen=True, kw_only=True):
    """Something that a stage does again and again, besides drawing its current."""

    name: str
    """What it is called there."""
    every_ms: Parameter
    """Its period."""
    charge_uc: Parameter
    """What one takes, above the stage's current."""


class Stage(msgspec.Struct, frozen=True, kw_only=True):
    """A state that a radio stays in while nothing happens."""

    name: str
    """What it is called there."""
    is_tail: bool = False
    """Whether its current is the price of the last message, rather than of being there."""
    current_ua: Parameter
    """What it draws all the time."""
    lasts_ms: Parameter | None = None
    """When the next stage follows; None for the last one."""
    polls: tuple[Poll, ...] = ()
    """What it does periodically."""
    wake_to_send_uc: Parameter | None = None
    """What it takes to send from here, before the first frame; None for nothing."""
    wake_to_receive_uc: Parameter | None = None
    """What it takes to be found here; None for nothing, because a poll found it."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of radio."""

    description: str
    """What it is, for people."""
    basis: str = "modelled"
    """What a report says next to its figures."""
    supply_v: Parameter
    """Its voltage."""
    stages: tuple[Stage, ...]
    """From right after a message to rest."""
    off: Stage | None = None
    """Where it is while its device sleeps; None where the stages are all the sleep there is."""
    transmit_ua: Parameter
    """What it draws while it sends."""
    receive_ua: Parameter
    """What it draws while it receives."""
    uplink_bit_per_s: Parameter
    """Bits a second on the air, from the device."""
    downlink_bit_per_s: Parameter
    """Bits a second on the air, to the device."""
    frame_payload_bytes: Parameter
    """How much one frame carries; longer messages take several."""
    frame_overhead_bytes: Parameter
    """What a frame carries besides: headers of the link, of IP and of the transport."""
    frame_gap_us: Parameter
    """What a frame takes besides its bytes: preambles, gaps, its acknowledgement."""

    def parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Every number in it, by a name that ends with its unit."""
        yield from _parameters(self, "")


def _parameters(table: msgspec.Struct, prefix: str) -> Iterator[tuple[str, Parameter]]:
    for field in table.__struct_fields__:
        value = getattr(table, field)
        if isinstance(value, Parameter):
            yield f"{prefix}{field}", value
        for part in value if isinstance(value, tuple) else (value,):
            if isinstance(part, Stage | Poll):
                yield from _parameters(part, f"{prefix}{part.name}: ")
