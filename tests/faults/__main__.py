"""`python -m faults`: play schedules, several side by side, and say what was found.

What is finished is kept in a file, so that a long run can be broken off and goes on where it was; schedules that found
something are played again. `--selftest` does the same with each of the mutants until it is caught.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import msgspec

from faults.mutants import MUTANTS
from faults.schedule import Means, draw
from faults.world import NotBegunError, Outcome, play
from firmware_sim.links.packets.network import obstacle

CATCHING_SEEDS = Path(__file__).with_name("catching_seeds.json")
ENOUGH = 6
"""So many seeds have to catch a mutant, and those that do so twice are kept: which packets a fault strikes is not in
the seed, and one may miss.
"""
LINES_SHOWN = 5
TRIES = 3
"""On a machine that is busy with other things a schedule may fail to begin."""
JOBS = 5 * (os.cpu_count() or 1)
"""They mostly wait. More than that make each other slower, and nobody faster."""
_HAS_MOUNTS = "ORIOLE_FAULTS_HAS_MOUNTS"


class Runner:
    """Plays seeds, so many at a time, and tells how it goes; `kept` is the folder for what remains of runs that found
    something.
    """

    def __init__(self, jobs: int, kept: Path, means: Means, verbose: bool) -> None:
        self._jobs = jobs
        self._kept = kept
        self._means = means
        self._verbose = verbose

    async def run(
        self, seeds: Iterable[int], mutant: str = "", record: Path | None = None, enough: int = 0
    ) -> list[Outcome]:
        """Play them all, or until `enough` of them have found something. Finished ones are appended to `record`."""
        waiting = iter(list(seeds))
        outcomes: list[Outcome] = []

        async def work() -> None:
            for seed in waiting:
                outcome = await self._play(seed, mutant)
                outcomes.append(outcome)
                self._tell(outcome, len(outcomes))
                if record is not None:
                    with record.open("ab") as file:
                        file.write(msgspec.json.encode(outcome) + b"\n")
                if enough and sum(not each.is_clean for each in outcomes) >= enough:
                    return

        await asyncio.gather(*(work() for _ in range(self._jobs)))
        return outcomes

    async def _play(self, seed: int, mutant: str) -> Outcome:
        for _ in range(TRIES - 1):
            with suppress(NotBegunError):
                return await self._play_once(seed, mutant)
        return await self._play_once(seed, mutant)

    async def _play_once(self, seed: int, mutant: str) -> Outcome:
        with tempfile.TemporaryDirectory(prefix="oriole-faults-") as name:
            folder = Path(name)
            outcome = await play(draw(seed, self._means), folder, mutant)
            if not outcome.is_clean and not mutant:
                kept = self._kept / str(seed)
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(folder, kept)
                (kept / "outcome.json").write_bytes(msgspec.json.format(msgspec.json.encode(outcome)))
            return outcome

    def _tell(self, outcome: Outcome, count: int) -> None:
        is_news = not outcome.is_clean and not outcome.mutant
        if sys.stderr.isatty() and not is_news:
            print(f"\r{count} schedules, seed {outcome.seed}   ", end="", file=sys.stderr, flush=True)
        if is_news:
            print(f"seed {outcome.seed}: {summary([outcome])}; all of it: {self._kept / str(outcome.seed)}")
        if self._verbose:
            print("\n".join(f"  {line}" for line in outcome.incidents))
        if is_news or self._verbose:
            for line in outcome.found if self._verbose else outcome.found[:LINES_SHOWN]:
                print(f"  {line}")
        if is_news:
            print(f"  again: SEED={outcome.seed} SCHEDULES=1 make faults ARGS=-v", flush=True)


def summary(outcomes: list[Outcome]) -> str:
    """Counts in words."""
    faults: Counter[str] = Counter()
    for outcome in outcomes:
        faults.update(outcome.faults)
    parts = {
        "messages acknowledged": sum(outcome.acknowledged for outcome in outcomes),
        "seen": sum(outcome.seen for outcome in outcomes),
        "lost": sum(len(outcome.lost) for outcome in outcomes),
        "doubled": sum(len(outcome.doubled) for outcome in outcomes),
        "disordered": sum(len(outcome.disordered) for outcome in outcomes),
        "otherwise wrong": sum(len(outcome.other) for outcome in outcomes),
        "edges": sum(outcome.edges for outcome in outcomes),
        "links": sum(outcome.links for outcome in outcomes),
        "restarts": sum(outcome.restarts for outcome in outcomes),
        "power cuts": faults["power cut"] + faults["power cut with a full disk"],
        "full disks": faults["disk full"],
        "jumps of clocks": faults["clock jump"],
        "faults in all": sum(faults.values()) - faults["power cut in a write"],
    }
    return ", ".join(f"{count:,} {what}" for what, count in parts.items())


def _finished(record: Path, seeds: range) -> list[Outcome]:
    """Of an earlier run: what found nothing, once each."""
    if not record.exists():
        return []
    outcomes = [msgspec.json.decode(line, type=Outcome) for line in record.read_bytes().splitlines()]
    return list({each.seed: each for each in outcomes if each.seed in seeds and each.is_clean}.values())


def _hunt(runner: Runner, seeds: range, record: Path, fresh: bool) -> int:
    record.parent.mkdir(parents=True, exist_ok=True)
    if fresh:
        record.unlink(missing_ok=True)
    earlier = _finished(record, seeds)
    done = {outcome.seed: None for outcome in earlier}
    outcomes = earlier + asyncio.run(runner.run((seed for seed in seeds if seed not in done), record=record))
    failing = sorted(outcome.seed for outcome in outcomes if not outcome.is_clean)
    if failing:
        print(f"\nseeds that found something: {' '.join(map(str, failing))}")
    what = f"{len(outcomes):,} schedules ({len(earlier)} of them earlier): {summary(outcomes)}"
    print(f"\n{'FAILED' if failing else 'passed'}: {what}")
    return 1 if failing else 0


def _selftest(runner: Runner, seeds: range, mutants: list[str]) -> int:
    caught = catching_seeds()
    for mutant in mutants:
        outcomes = asyncio.run(runner.run(seeds, mutant, enough=ENOUGH))
        catching = sorted((outcome for outcome in outcomes if not outcome.is_clean), key=lambda each: each.seed)
        again = asyncio.run(runner.run((outcome.seed for outcome in catching), mutant))
        twice = sorted(outcome.seed for outcome in again if not outcome.is_clean)
        caught[mutant] = twice or [outcome.seed for outcome in catching]
        if catching:
            print(f"{mutant}: caught at seed {catching[0].seed} ({len(catching)} of {len(outcomes)} schedules)")
            print(f"  {catching[0].found[0]}", flush=True)
        else:
            print(f"{mutant}: NOT CAUGHT by {len(outcomes)} schedules", flush=True)
        CATCHING_SEEDS.write_bytes(msgspec.json.format(msgspec.json.encode(caught)) + b"\n")
    return 0 if all(caught[mutant] for mutant in mutants) else 1


def catching_seeds() -> dict[str, list[int]]:
    """By mutant: seeds whose schedules caught it."""
    if not CATCHING_SEEDS.exists():
        return {}
    return msgspec.json.decode(CATCHING_SEEDS.read_bytes(), type=dict[str, list[int]])


def _means() -> Means:
    """What can be done here."""
    if reason := obstacle():
        print(f"links are relays: {reason}", file=sys.stderr)
    return Means(_have_own_mounts(), not reason)


def _have_own_mounts() -> bool:
    """Begin again where disks can be mounted that nobody else sees and that go with this process. False: it may not."""
    if os.environ.get(_HAS_MOUNTS):
        return True
    isolated = ["unshare", "--mount"]
    if shutil.which("unshare") is not None and not subprocess.run([*isolated, "true"], capture_output=True).returncode:
        os.environ[_HAS_MOUNTS] = "1"
        os.execvp("unshare", [*isolated, sys.executable, "-m", "faults", *sys.argv[1:]])
    print("no disk gets full: that needs root", file=sys.stderr)
    return False


def main() -> int:
    """The command; its exit status."""
    parser = argparse.ArgumentParser(prog="python -m faults", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first one")
    parser.add_argument("--schedules", type=int, default=50, help="how many, by consecutive seeds")
    parser.add_argument("--jobs", type=int, default=JOBS, help="how many at a time")
    parser.add_argument("--fresh", action="store_true", help="play again what an earlier run has finished")
    parser.add_argument("--selftest", action="store_true", help="see that each mutant is caught")
    parser.add_argument("--mutant", choices=MUTANTS, action="append", help="with --selftest: only this one")
    parser.add_argument("--out", type=Path, default=Path("out/faults"), help="folder for what was found")
    parser.add_argument("-v", "--verbose", action="store_true", help="tell everything that was done, and found")
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + arguments.schedules)
    if arguments.selftest:  # as where nothing can be mounted: so these seeds catch everywhere
        runner = Runner(arguments.jobs, arguments.out, Means(False, False), arguments.verbose)
        return _selftest(runner, seeds, arguments.mutant or list(MUTANTS))
    runner = Runner(arguments.jobs, arguments.out, _means(), arguments.verbose)
    return _hunt(runner, seeds, arguments.out / "finished.jsonl", arguments.fresh)


if __name__ == "__main__":
    sys.exit(main())
