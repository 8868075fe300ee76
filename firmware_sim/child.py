"""How another Python is started: with what is installed, never with what lies in the folder that we were called in, and
deaf to what is meant for who started it.

`python -m` would put the current folder before everything else, and a folder `oriole` or a file `random.py` in it would
be imported. `-P` leaves it out; PYTHONPATH still counts.
"""

import signal
import sys
from typing import Final

MODULE: Final = ("-P", "-m")
"""The options before the name of a module to run."""


ENDINGS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What stops a run: Ctrl-C, a service manager, a terminal that is closed. They reach whole groups of processes."""


def leave_signals_to_parent() -> None:
    """To be run in a new process before its first line, because a signal may come before it: the parent decides when it
    ends.
    """
    for number in ENDINGS:
        signal.signal(number, signal.SIG_IGN)


def python_module(module: str, *arguments: str) -> list[str]:
    """The words of a command that runs `module` with `arguments`, by the Python that runs this."""
    return [sys.executable, *MODULE, module, *arguments]
