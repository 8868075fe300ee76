"""A few schedules with real processes: nodes lose nothing, and those that do are caught.

`make faults` plays many, `make faults-selftest` looks for the seeds that catch.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from faults.__main__ import Runner, catching_seeds
from faults.mutants import MUTANTS
from faults.schedule import Means
from faults.world import Outcome

SCHEDULES = 12
WITHOUT_ROOT = Means(has_small_disks=False, has_packets=False)


@pytest.mark.timeout(180)
def test_nothing_is_lost(tmp_path: Path) -> None:
    """By the command, which has small disks and networks of packets where it may."""
    command = [sys.executable, "-m", "faults", "--schedules", str(SCHEDULES), "--jobs", "4", "--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = (tmp_path / "finished.jsonl").read_text().splitlines()
    outcomes = [msgspec.json.decode(line, type=Outcome) for line in lines]
    assert sum(outcome.acknowledged for outcome in outcomes) > 1000
    assert sum(outcome.restarts for outcome in outcomes) > 5
    assert sum(outcome.edges for outcome in outcomes) > 5
    faults = {kind for outcome in outcomes for kind in outcome.faults}
    assert faults > {"power cut", "clock jump", "silence", "death"}
    if os.geteuid() == 0:
        assert faults > {"disk full", "power cut with a full disk"}


@pytest.mark.timeout(240)
def test_a_node_that_loses_something_is_caught(tmp_path: Path) -> None:
    runner = Runner(jobs=1, kept=tmp_path, means=WITHOUT_ROOT, verbose=True)
    seeds = catching_seeds()

    async def catch() -> dict[str, bool]:
        tries = [runner.run(seeds[mutant] * 2, mutant, enough=1) for mutant in MUTANTS]
        caught = await asyncio.gather(*tries)
        return {mutant: not all(each.is_clean for each in found) for mutant, found in zip(MUTANTS, caught, strict=True)}

    assert asyncio.run(catch()) == dict.fromkeys(MUTANTS, True), "other seeds may: make faults-selftest"
