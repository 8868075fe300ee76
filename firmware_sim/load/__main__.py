"""`python -m firmware_sim.load HOST PORT [pid=PID] [loop=Python] [key=value ...]`: one run, one line of JSON.

Exit status: 0 every message arrived once, in order, unaltered; 3 some did not; 1 no verdict; 2 bad usage.
"""

import signal
import sys

import msgspec

from firmware_sim.load import Generator, LoadError, ProcessGoneError, Workload
from firmware_sim.load.process import allow_open_files

_PYTHON = "loop=Python"
USAGE = "usage: python -m firmware_sim.load HOST PORT [pid=PID] [loop=Python] [key=value ...]"


def main(argv: list[str]) -> int:
    """Run the workload of the arguments; returns the exit status."""
    if len(argv) < 2:
        print(USAGE, file=sys.stderr)
        return 2
    host, port, *words = argv
    options = [word for word in words if word.startswith("pid=") or word == _PYTHON]
    try:
        workload = Workload.parse(word for word in words if word not in options)
        pid = next((int(word.removeprefix("pid=")) for word in options if word != _PYTHON), None)
        generator = Generator((host, int(port)), workload, pid, native=_PYTHON not in options)
    except ValueError as error:
        print(f"{error}\n{USAGE}", file=sys.stderr)
        return 2
    allow_open_files()
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # the C loop would not notice an exception before its end
    try:
        report = generator.run()
    except (LoadError, ProcessGoneError) as error:
        print(f"load: {error}", file=sys.stderr)
        return 1
    print(msgspec.json.encode(report).decode())
    return 0 if report.correct else 3


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
