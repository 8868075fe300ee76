"""What a scenario promises: measures of a run and their bounds."""

import math
from typing import Literal

import msgspec

Measure = Literal[
    "lost", "lost_qos0", "doubled", "out_of_order", "dropped", "expired", "queued", "refused",
    "delivered_share", "late_share", "confirmed_share", "updated_share",
    "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "latency_max_ms",
    "round_trip_p99_ms", "recovery_ms", "battery_days", "link_bytes_per_byte",
]  # fmt: skip

OF_MESSAGES = (
    "lost", "lost_qos0", "doubled", "dropped", "expired", "queued", "refused", "delivered_share", "late_share",
    "latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "latency_max_ms", "recovery_ms",
)  # fmt: skip
NARROWED = {
    "way": (*OF_MESSAGES, "link_bytes_per_byte"),
    "of": OF_MESSAGES,
    "population": (*OF_MESSAGES, "battery_days"),
}
"""Measures that can be of a part of the run alone, by the key that names the part."""


class Expectation(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A measure that lies within bounds when the run is over."""

    measure: Measure
    """What is measured."""
    at_most: float | None = None
    """The highest value that is well."""
    at_least: float | None = None
    """The lowest value that is well."""
    way: str = ""
    """Only messages of this way, `publisher's connection -> subscriber's connection`; empty for all. Of
    link_bytes_per_byte, a connection."""
    of: str = ""
    """Only messages of this class: order, state, reading, alarm, news, firmware; empty for all."""
    population: str = ""
    """Only devices of this population, of messages as those to whom they were due; empty for all."""
    waits_for: str = ""
    """The issue that will make it true: until then it is measured and shown, and never counts as met."""

    def __post_init__(self) -> None:
        if self.at_most is None and self.at_least is None:
            raise ValueError("an expectation has `at_most`, `at_least` or both")
        if any(bound is not None and math.isnan(bound) for bound in (self.at_most, self.at_least)):
            raise ValueError("a bound is a number")
        if self.at_most is not None and self.at_least is not None and self.at_most < self.at_least:
            raise ValueError("`at_most` is below `at_least`: nothing could be both")
        for key, value in self._about():
            if value and self.measure not in NARROWED[key]:
                raise ValueError(
                    f"{self.measure} knows no `{key}`: that is for {', '.join(NARROWED[key])} - at `$.{key}`"
                )

    def holds(self, value: float) -> bool:
        """Whether `value` is within the bounds."""
        return (self.at_most is None or value <= self.at_most) and (self.at_least is None or value >= self.at_least)

    def __str__(self) -> str:
        """In words."""
        about = "".join(f", {key} {value}" for key, value in self._about() if value)
        bounds = [f"at most {self.at_most:g}"] if self.at_most is not None else []
        bounds += [f"at least {self.at_least:g}"] if self.at_least is not None else []
        return f"{self.measure}{about}: {', '.join(bounds)}"

    def _about(self) -> tuple[tuple[str, str], ...]:
        return ("way", self.way), ("of", self.of), ("population", self.population)
