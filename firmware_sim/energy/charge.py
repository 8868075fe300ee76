"""What a radio spent, by cause, and how long a battery would last at that rate.

A battery is its energy and nothing else: no self-discharge, no ageing, no voltage that sags.
"""

import msgspec

SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
MICRO = 1e-6
JOULES_PER_MWH = 3.6


class Charge(msgspec.Struct, frozen=True, kw_only=True):
    """Microcoulombs by cause, within `elapsed_ns`."""

    basis: str
    """`modelled`, or why nothing was counted: what a report says next to the figures."""
    elapsed_ns: int = 0
    """The time that it is about, from the first thing the radio was told."""
    supply_v: float = 0.0
    """The voltage at which the charge is drawn."""
    rest_uc: float = 0.0
    """Asleep, idle or off."""
    poll_uc: float = 0.0
    """Listening or asking whether something waits: beacons, data polls, connection events, paging."""
    wake_uc: float = 0.0
    """Getting from rest to where something can be sent or received."""
    transmit_uc: float = 0.0
    """Messages on their way out."""
    receive_uc: float = 0.0
    """Messages coming in."""
    tail_uc: float = 0.0
    """Staying awake after the last message."""
    handshake_uc: float = 0.0
    """Setting up sessions, above what is counted as messages."""

    @property
    def total_uc(self) -> float:
        """All causes together."""
        return (
            self.rest_uc
            + self.poll_uc
            + self.wake_uc
            + self.transmit_uc
            + self.receive_uc
            + self.tail_uc
            + self.handshake_uc
        )

    @property
    def energy_j(self) -> float:
        """The same in joules, at the supply voltage."""
        return self.total_uc * MICRO * self.supply_v

    def battery_days(self, battery_mwh: float) -> float:
        """How long a battery would last if all time were like this; infinite where nothing was spent."""
        if not self.energy_j:
            return float("inf")
        return battery_mwh * JOULES_PER_MWH / self.energy_j * self.elapsed_ns / DAY_NS
