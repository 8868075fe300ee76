"""The scenarios that come along: well in virtual time, and every expectation that is met is seen to be missed when what
passes between devices and their clients is dropped, doubled, delayed or put out of order.

`oriole fleet all` (`make scenarios`) runs them at full length and on real sockets as well.
"""

from functools import cache
from importlib import resources
from pathlib import Path
from random import Random
from typing import Any

import msgspec
import pytest

from firmware_sim.devices.port import Access, Delivery, Owner, Port
from firmware_sim.fleet.fleet import Fleet
from firmware_sim.fleet.outcome import result_of
from firmware_sim.report.measures import State
from firmware_sim.report.result import Result
from firmware_sim.scenario.file import Scenario, load
from firmware_sim.scenario.roster import Member
from firmware_sim.virtual.loop import VirtualLoop
from firmware_sim.virtual.loop import run as run_virtually
from firmware_sim.virtual.world import VirtualWorld

FOLDER = Path(str(resources.files("firmware_sim") / "scenarios"))
FILES = {file.stem: file for file in sorted(FOLDER.glob("*.yaml"))}
SHORTER = {"week_offline": 84, "radio_budget": 24, "smart_home": 24, "factory": 8}
"""What is long only for polling is squeezed here; `make scenarios` runs it in full."""
LATE_NS = 20_000_000_000
KINDS = ("drop", "double", "delay", "reorder")


class Saboteur:
    """Between a device and its client: what the client took, and acknowledged, it does not hand on as it should."""

    def __init__(self, owner: Owner, how: str, world: VirtualWorld, random: Random) -> None:
        self._owner = owner
        self._how = how
        self._world = world
        self._random = random
        self._held: Delivery | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._owner, name)

    def delivered(self, delivery: Delivery) -> None:
        """Spoil some of what comes."""
        if self._how == "delay":
            timeline = self._world.clock
            timeline.at(timeline.now + LATE_NS, self._owner.delivered, delivery)
            return
        is_hit = self._random.random() < 0.3
        if self._how == "drop" and is_hit:
            return
        if self._how == "reorder" and self._held is None and is_hit:
            self._held = delivery
            return
        self._owner.delivered(delivery)
        if self._how == "double" and is_hit:
            self._owner.delivered(msgspec.convert(delivery, Delivery, from_attributes=True))
        if self._held is not None and self._held.topic == delivery.topic:
            held, self._held = self._held, None
            self._owner.delivered(held)


class SabotagedPort:
    """A port whose device hears through a saboteur."""

    def __init__(self, port: Port, how: str, world: VirtualWorld, random: Random) -> None:
        self._port = port
        self._make = lambda owner: Saboteur(owner, how, world, random)
        self._ear: Saboteur | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def open(self, owner: Owner) -> None:
        """Connect, with somebody in between."""
        if self._ear is None:
            self._ear = self._make(owner)
        self._port.open(self._ear)  # type: ignore[arg-type]


class SabotagedWorld(VirtualWorld):
    """A virtual world in which every device hears wrongly."""

    how = ""

    def port(self, member: Member, access: Access) -> Port:
        """See `World`."""
        port = super().port(member, access)
        if not self.how:
            return port
        sabotaged: Any = SabotagedPort(port, self.how, self, Random(member.name))
        return sabotaged


def scenario(name: str) -> Scenario:
    """A scenario, at a length that a test can wait for."""
    whole = load(FILES[name])
    return msgspec.structs.replace(whole, compress=float(SHORTER.get(name, 1))).compressed()


@cache
def run(name: str, how: str = "") -> Result:
    """Its figures, with what is heard spoilt as `how` says."""
    story = scenario(name)

    async def live(loop: VirtualLoop) -> Fleet:
        world = SabotagedWorld(story, story.seed, loop)
        world.how = how
        fleet = Fleet(story, story.seed, world)
        await fleet.run()
        return fleet

    return result_of(run_virtually(live), "virtual", 0.0)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", FILES)
def test_a_scenario_is_well_and_each_promise_that_it_keeps_can_be_broken(name: str) -> None:
    clean = run(name)
    assert clean.is_well, clean.verdict
    met = [judgement.expectation for judgement in clean.judgements if judgement.state is State.MET]
    assert met, "a scenario that promises nothing today"
    broken: dict[str, str] = {}
    for how in KINDS:
        if set(met) <= set(broken):
            break
        for judgement in run(name, how).judgements:
            if judgement.state is State.MISSED:
                broken.setdefault(judgement.expectation, how)
    run.cache_clear()
    never = [expectation for expectation in met if expectation not in broken and not expectation.startswith("battery_")]
    assert not never, f"nothing breaks {never}; broken: {broken}"
