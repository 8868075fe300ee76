"""The command line of `oriole bench`."""

import argparse
import os
import platform
import signal
import sys
import time
from collections.abc import Callable, Collection, Iterable
from typing import Final

import msgspec

from firmware_sim.bench.brokers import BROKERS, BrokerError
from firmware_sim.bench.measure import Measurement, measure
from firmware_sim.bench.memory import Memory, measure_memory
from firmware_sim.bench.rows import ROWS, quick_divisor
from firmware_sim.bench.verdict import Verdict, judge
from firmware_sim.load.process import allow_open_files
from firmware_sim.output import writable, write

_REPEAT: Final = 3


class Results(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a benchmark found: what `--json` writes."""

    started: str
    """UTC, ISO 8601."""
    machine: str
    processors: int
    python: str
    versions: dict[str, str]
    quick: bool
    """Too few messages for figures."""
    verdicts: list[Verdict]
    memory: list[Memory]
    measurements: list[Measurement]


def main(argv: list[str]) -> int:
    """Measure what the arguments ask for, print a table; returns the exit status.

    0: every message of every run arrived once, in order, unaltered. 1: not so, or a broker did not start. 2: bad usage.
    A missed bound shows in the table and leaves the status alone: it may be the machine's.
    """
    options = _parser().parse_args(argv)
    versions = _versions(options.brokers or BROKERS)
    if set(options.brokers or ()) - set(versions):
        return 2
    brokers = [BROKERS[name] for name in versions]
    allow_open_files()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # leaves no broker behind
    started = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    divisor = quick_divisor(options.quick)
    measurements = measure(
        [ROWS[name] for name in options.rows], brokers, repeat=options.repeat, divisor=divisor, tell=_tell
    )
    results = Results(
        started=started,
        machine=f"{platform.system()} {platform.release()} {platform.machine()}",
        processors=os.cpu_count() or 0,
        python=f"{platform.python_implementation()} {platform.python_version()}",
        versions=versions,
        quick=options.quick,
        verdicts=judge(ROWS, measurements),
        memory=measure_memory(brokers, options.repeat),
        measurements=measurements,
    )
    _print(results)
    files = {options.json: msgspec.json.format(msgspec.json.encode(results))} if options.json else {}
    is_written = write("oriole bench", files)
    return 0 if is_written and all(measurement.correct for measurement in measurements) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="oriole bench",
        description="Measures brokers side by side on this machine: CPU per delivery, throughput, latency, memory. "
        "Run it alone: what else runs shows in the figures.",
        epilog="Rows: " + "; ".join(f"{row.name} ({row.title})" for row in ROWS.values()),
    )
    parser.add_argument(
        "--rows", type=_names("row", ROWS), default=list(ROWS), metavar="ROW,...", help="default: all of them"
    )
    parser.add_argument(
        "--brokers",
        type=_names("broker", BROKERS),
        metavar="BROKER,...",
        help=f"default: those installed of {', '.join(BROKERS)}",
    )
    parser.add_argument("--repeat", type=_positive, default=_REPEAT, metavar="N", help=f"default: {_REPEAT}")
    parser.add_argument("--json", type=writable, metavar="FILE", help="also write everything that was found to FILE")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages: shows that it works, no more")
    return parser


def _names(kind: str, known: Collection[str]) -> Callable[[str], list[str]]:
    """A reader of comma-separated names."""

    def read(text: str) -> list[str]:
        names = text.split(",")
        for name in names:
            if name not in known:
                raise argparse.ArgumentTypeError(f"unknown {kind} `{name}`: there are {', '.join(known)}")
        return list(dict.fromkeys(names))

    return read


def _positive(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"`{text}` is not a whole number above 0")
    return int(text)


def _versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of those brokers that are installed; who is missing is told."""
    versions = {}
    for name in names:
        try:
            versions[name] = BROKERS[name].find_version()
        except BrokerError as error:
            _tell(f"{error}: left out")
    return versions


def _tell(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def _print(results: Results) -> None:
    from firmware_sim.bench.table import print_results

    versions = ", ".join(f"{name} {version}" for name, version in results.versions.items())
    print(f"{results.started}  {results.machine}, {results.processors} processors, {results.python}  {versions}")
    if results.quick:
        print("quick: too few messages for figures")
    print_results(results.verdicts, results.memory)
