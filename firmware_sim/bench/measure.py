"""Measures rows: each run has a broker and a generator of its own; brokers take turns, so that noise hits all alike."""

import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from statistics import median
from typing import Final

import msgspec

from firmware_sim.bench.brokers import Broker, BrokerError, Running
from firmware_sim.bench.rows import Row
from firmware_sim.child import python_module
from firmware_sim.load import Report, Workload
from firmware_sim.load.process import resident_kib

_SETTLE_S: Final = 0.5
"""From the first accepted connection to the reading of an idle broker's memory."""
_GENERATOR_S: Final = 240.0


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """The runs of one broker in one row."""

    row: str
    broker: str
    workload: Workload
    runs: list[Report] = msgspec.field(default_factory=list)
    failures: list[str] = msgspec.field(default_factory=list)
    """Why runs have no report."""

    def median(self, figure: Callable[[Report], float]) -> float:
        """The median over the runs; there is at least one."""
        return median(map(figure, self.runs))

    @property
    def correct(self) -> bool:
        """Whether every run came to its end with every message."""
        return not self.failures and all(run.correct for run in self.runs)


def measure(
    rows: Sequence[Row], brokers: Sequence[Broker], *, repeat: int, divisor: int, tell: Callable[[str], None]
) -> list[Measurement]:
    """Run all rows, `repeat` times each with the brokers in turn; `tell` hears what is running."""
    measurements = []
    for row in rows:
        of_row = [
            (broker, Measurement(row=row.name, broker=broker.name, workload=row.sized(divisor * broker.divisor)))
            for broker in brokers
        ]
        for turn in range(repeat):
            for broker, measurement in of_row:
                tell(f"{row.name}: {broker.name}, run {turn + 1} of {repeat}")
                _measure_once(broker, measurement)
        measurements += [measurement for _, measurement in of_row]
    return measurements


def idle_memory_kib(broker: Broker, repeat: int) -> float:
    """Resident memory of a process that has nothing to do: the median of `repeat` starts. Raises BrokerError."""
    readings = []
    for _ in range(repeat):
        with broker.run() as running:
            time.sleep(_SETTLE_S)
            readings.append(resident_kib(running.pid))
    return median(readings)


def _measure_once(broker: Broker, measurement: Measurement) -> None:
    try:
        with broker.run() as running:
            measurement.runs.append(_generate(running, measurement.workload))
    except BrokerError as error:
        measurement.failures.append(str(error))


def _generate(running: Running, workload: Workload) -> Report:
    """In a process of its own: its collector, its memory and its open files are nobody else's."""
    host, port = running.address
    command = python_module("firmware_sim.load", host, str(port), f"pid={running.pid}", *_words(workload))
    try:
        finished = subprocess.run(command, capture_output=True, text=True, timeout=_GENERATOR_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BrokerError(f"the generator did not end within {_GENERATOR_S:.0f} s") from error
    if not finished.stdout:
        raise BrokerError(finished.stderr.strip() or f"the generator ended with status {finished.returncode}")
    return msgspec.json.decode(finished.stdout, type=Report)


def _words(workload: Workload) -> Iterable[str]:
    return (f"{key}={value}" for key, value in msgspec.structs.asdict(workload).items())
