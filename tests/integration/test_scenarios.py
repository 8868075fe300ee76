"""The scenarios that come along: well in virtual time, and every expectation that is met is seen to be missed behind a
faulty relay.

`oriole fleet all` (`make scenarios`) runs them at full length and on real sockets as well.
"""

from importlib import resources
from pathlib import Path

import msgspec
import pytest
from integration.faulty import FAULTS, Fault, FaultyWorld

from firmware_sim.fleet.fleet import Fleet
from firmware_sim.fleet.outcome import result_of
from firmware_sim.report.measures import State
from firmware_sim.report.result import Result
from firmware_sim.scenario.file import load
from firmware_sim.virtual.loop import VirtualLoop
from firmware_sim.virtual.loop import run as run_virtually
from firmware_sim.virtual.world import VirtualWorld

FOLDER = Path(str(resources.files("firmware_sim") / "scenarios"))
FILES = {file.stem: file for file in sorted(FOLDER.glob("*.yaml"))}
SHORTER = {"week_offline": 84, "smart_home": 24, "factory": 8}
"""What is long only for polling is squeezed here; `make scenarios` runs it in full."""


def run(name: str, fault: Fault | None = None) -> Result:
    """A scenario's figures, at a length that a test can wait for; behind a faulty relay where there is a `fault`."""
    story = msgspec.structs.replace(load(FILES[name]), compress=float(SHORTER.get(name, 1))).compressed()

    async def live(loop: VirtualLoop) -> Fleet:
        world = FaultyWorld(story, story.seed, loop, fault) if fault else VirtualWorld(story, story.seed, loop)
        fleet = Fleet(story, story.seed, world)
        await fleet.run()
        return fleet

    return result_of(run_virtually(live), "virtual", 0.0)


def of_state(result: Result, state: State) -> list[str]:
    """The expectations of which that became."""
    return [judgement.expectation for judgement in result.judgements if judgement.state is state]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", FILES)
def test_a_scenario_is_well_and_each_promise_that_it_keeps_can_be_broken(name: str) -> None:
    clean = run(name)
    assert clean.is_well, clean.verdict
    unbroken = of_state(clean, State.MET)
    assert unbroken, "a scenario that promises nothing today"
    for fault in FAULTS:
        if unbroken:
            missed = of_state(run(name, fault), State.MISSED)
            unbroken = [expectation for expectation in unbroken if expectation not in missed]
    assert not unbroken, "promises that nothing breaks"
