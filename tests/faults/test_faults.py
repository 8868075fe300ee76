"""A few schedules with real processes: the broker loses nothing, and a broker that does is caught.

`make faults` plays many, `make faults-selftest` looks for the seeds that catch.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from faults.__main__ import Runner, catching_seeds
from faults.mutants import MUTANTS

SEEDS = range(1, 7)


@pytest.mark.timeout(120)
def test_nothing_is_lost(tmp_path: Path) -> None:
    runner = Runner(jobs=4, kept=tmp_path, has_small_disks=False, verbose=True)
    outcomes = asyncio.run(runner.run(SEEDS))
    assert {outcome.seed: outcome.found for outcome in outcomes if not outcome.is_clean} == {}
    assert sum(outcome.acknowledged for outcome in outcomes) > 1000
    assert sum(outcome.restarts for outcome in outcomes) > 5


@pytest.mark.timeout(180)
def test_a_broker_that_loses_something_is_caught(tmp_path: Path) -> None:
    runner = Runner(jobs=1, kept=tmp_path, has_small_disks=False, verbose=True)
    seeds = catching_seeds()

    async def catch() -> dict[str, bool]:
        tries = [runner.run(seeds[mutant] * 2, mutant, enough=1) for mutant in MUTANTS]
        caught = await asyncio.gather(*tries)
        return {mutant: not all(each.is_clean for each in found) for mutant, found in zip(MUTANTS, caught, strict=True)}

    assert asyncio.run(catch()) == dict.fromkeys(MUTANTS, True), "other seeds may: make faults-selftest"
