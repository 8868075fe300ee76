"""Small scenarios that are run whole, for tests: in this process and in virtual time."""

import json
from pathlib import Path

from firmware_sim.fleet.fleet import Fleet
from firmware_sim.fleet.program import Wishes, live
from firmware_sim.report.result import Result
from firmware_sim.scenario.file import Scenario
from oriole import typed_yaml


def play(text: str, *, seed: int = 1, trace: Path | None = None) -> tuple[Fleet, Result]:
    """Run a scenario in virtual time."""
    scenario = typed_yaml.decode(text, Scenario, "test.yaml")
    return live(scenario, Wishes(seed=seed, virtual=True, quiet=True, trace_file=trace))


def lines(trace: Path, kind: str) -> list[dict[str, object]]:
    """The lines of a trace that have a key."""
    entries = (json.loads(line) for line in trace.read_bytes().splitlines()[1:])
    return [entry for entry in entries if kind in entry]
