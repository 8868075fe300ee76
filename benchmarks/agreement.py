"""Does `oriole bench` see what an independent generator sees? Runs its rows with both and compares the broker's CPU.

    python benchmarks/agreement.py [BROKER] [ROW ...]

`mqload.c` is the witness: a generator in C that shares no line with ours. It is compiled into a temporary folder and
takes turns with ours, each run with a broker of its own. Exit status 1 when a row differs by more than 15 %.
"""

import json
import subprocess
import sys
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Final

import msgspec

from firmware_sim.bench.brokers import BROKERS, Broker
from firmware_sim.bench.rows import ROWS
from firmware_sim.load import Workload
from firmware_sim.load.process import allow_open_files

_REPEAT: Final = 5
_MOST_DIFFERENCE: Final = 0.15
_LONGER: Final = 16
"""mqload counts CPU in hundredths of a second: a flat-out run must last for many of them."""


def main(argv: list[str]) -> int:
    """Compare the named rows, or all that mqload knows; returns the exit status."""
    broker = BROKERS[argv[0] if argv else "oriole"]
    rows = [ROWS[name] for name in argv[1:]] or [row for row in ROWS.values() if not row.workload.filters]
    allow_open_files()
    apart = 0
    with TemporaryDirectory() as folder:
        mqload = str(Path(folder, "mqload"))
        source = str(Path(__file__).with_name("mqload.c"))
        subprocess.run(["cc", "-O2", "-w", "-o", mqload, source], check=True)
        print(f"{broker.name}: CPU us per delivery, medians of {_REPEAT}")
        for row in rows:
            times = 1 if row.workload.rate else _LONGER
            workload = msgspec.structs.replace(row.workload, count=row.workload.count * times)
            witness, own = compare(broker, workload, mqload)
            difference = own / witness - 1
            apart += abs(difference) > _MOST_DIFFERENCE
            print(f"{row.name:10}  mqload {witness:8.3f}  ours {own:8.3f}  {difference:+.0%}", flush=True)
    return 1 if apart else 0


def compare(broker: Broker, workload: Workload, mqload: str) -> tuple[float, float]:
    """Medians of both generators."""
    words = [
        f"{key}={int(value) if isinstance(value, bool) else value}"
        for key, value in msgspec.structs.asdict(workload).items()
        if key != "filters"
    ]
    ours = [sys.executable, "-m", "firmware_sim.load"]
    pairs = [(measure(broker, [mqload], words), measure(broker, ours, words)) for _ in range(_REPEAT)]
    return median(witness for witness, _ in pairs), median(own for _, own in pairs)


def measure(broker: Broker, generator: list[str], words: list[str]) -> float:
    """The broker's CPU microseconds per delivery in one run."""
    with broker.run() as running:
        host, port = running.address
        command = [*generator, host, str(port), f"pid={running.pid}", *words]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return float(json.loads(printed)["us_cpu_per_delivery"])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
