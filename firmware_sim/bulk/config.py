"""What the bulk process is told of its devices: the scenario, and which of its populations it carries. No I/O."""

from typing import Annotated

import msgspec

from firmware_sim.scenario.file import Scenario
from firmware_sim.scenario.roster import Member, roster

PortNumber = Annotated[int, msgspec.Meta(ge=1, le=65_535)]


class BulkConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """All that one process carries."""

    run: str
    """Tells the messages of this run from others."""
    seed: int
    """What all random choices come from; each device's depend on it and on the device's name alone."""
    scenario: Scenario
    """As it is run: compressed, where it is to be."""
    doors: dict[str, list[tuple[str, PortNumber]]]
    """By population that it carries: host and port of each node that it talks to."""
    journal: str
    """The file in which it writes down what its devices see."""
    connects_per_s: Annotated[float, msgspec.Meta(gt=0)] = 500.0
    """How many devices are switched on in a second, of those that are there before the run begins."""

    def members(self) -> list[Member]:
        """Its devices, in the file's order."""
        return [member for member in roster(self.scenario) if member.traits.population in self.doors]

    @property
    def count(self) -> int:
        """How many devices there are."""
        return sum(self.scenario.populations[name].count for name in self.doors)
