"""`oriole fleet all`: every scenario that comes along, at full length in virtual time and compressed on real sockets.

Each run is a process of its own, as a person would start it; what it measured comes back as its JSON.
"""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from firmware_sim.child import python_module
from firmware_sim.report.measures import State, tally
from firmware_sim.report.result import Result

TIMEOUT_S = 300.0


@dataclass(slots=True, frozen=True)
class Outcome:
    """What became of one run; `result` is None where it came to none."""

    scenario: str
    world: str
    seconds: float
    status: int
    result: Result | None
    words: str

    @property
    def is_well(self) -> bool:
        """Books and expectations are well, and at least one expectation is met."""
        return self.status == 0 and self.result is not None and tally(self.result.judgements)[State.MET] > 0

    def __str__(self) -> str:
        """In a line."""
        mark = "ok  " if self.is_well else "FAIL"
        where = self.world if self.result is None or self.result.run.compress == 1 else self._compressed()
        head = f"{mark} {self.scenario:18} {where:16} {self.seconds:5.1f} s"
        if self.result is None:
            return f"{head}  {self.words}"
        counts = tally(self.result.judgements)
        states = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
        return f"{head}  {self.result.accounts.total.due:7} due  {states or 'expects nothing'}"

    def _compressed(self) -> str:
        assert self.result is not None
        return f"{self.world} / {self.result.run.compress:g}"


def run_all(files: Sequence[Path], worlds: Sequence[str]) -> int:
    """Run every file in every world (`virtual`, `real`, `packets`); exit status 1 when one of them is not well."""
    outcomes = []
    began_s = time.monotonic()
    for file in files:
        for world in worlds:
            outcome = _run(file, world)
            print(outcome, flush=True)
            if not outcome.is_well:
                print(outcome.words, file=sys.stderr)
            outcomes.append(outcome)
    well = sum(outcome.is_well for outcome in outcomes)
    waiting = [
        f"  {outcome.scenario}: {judgement.expectation} (waiting for {judgement.waits_for})"
        for outcome in outcomes
        if outcome.result is not None
        for judgement in outcome.result.judgements
        if judgement.state is State.WAITING
    ]
    for text in dict.fromkeys(waiting):
        print(text)
    print(f"{well} of {len(outcomes)} runs are well, in {time.monotonic() - began_s:.0f} s")
    return 0 if well == len(outcomes) else 1


def _run(file: Path, world: str) -> Outcome:
    options = [] if world == "real" else [f"--{world}"]
    with tempfile.TemporaryDirectory(prefix="oriole-all-") as folder:
        figures = Path(folder) / "figures.json"
        command = python_module("oriole", "fleet", "run", str(file), "--json", str(figures), *options)
        began_s = time.monotonic()
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            try:
                words, _ = process.communicate(timeout=TIMEOUT_S)
            except subprocess.TimeoutExpired:
                process.terminate()
                words, _ = process.communicate()
            except KeyboardInterrupt:  # it has heard of it too, and ends in order
                process.communicate()
                raise
        result = msgspec.json.decode(figures.read_bytes(), type=Result) if figures.exists() else None
    return Outcome(file.stem, world, time.monotonic() - began_s, process.returncode, result, words)
