"""Standard output that nobody reads any more: `oriole ... | head` has seen enough, and that is no failure."""

import os
import sys
from collections.abc import Iterable
from typing import BinaryIO


def print_lines(lines: Iterable[str]) -> None:
    """Print the lines, or as many of them as somebody reads."""
    try:
        for line in lines:
            print(line)
        sys.stdout.flush()
    except BrokenPipeError:
        abandon(sys.stdout.buffer)


def abandon(output: BinaryIO) -> None:
    """Nobody reads `output`: let the interpreter's last flush go nowhere instead of complaining."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, output.fileno())
    os.close(nowhere)
