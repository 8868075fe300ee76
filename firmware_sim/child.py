"""How another Python is started: with what is installed, and never with what lies in the folder that we were called in.

`python -m` would put the current folder before everything else, and a folder `oriole` or a file `random.py` in it would
be imported. `-P` leaves it out; PYTHONPATH still counts.
"""

import sys
from typing import Final

MODULE: Final = ("-P", "-m")
"""The options before the name of a module to run."""


def python_module(module: str, *arguments: str) -> list[str]:
    """The words of a command that runs `module` with `arguments`, by the Python that runs this."""
    return [sys.executable, *MODULE, module, *arguments]
