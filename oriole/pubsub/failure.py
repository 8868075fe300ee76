"""How a command ends when it does not end well."""

from typing import Final

FAILED: Final = 1
"""Refused, unreachable, or not taken."""

USAGE: Final = 2
"""The command line cannot be understood."""

TIMED_OUT: Final = 27
"""`-W` has passed; the number is mosquitto_sub's."""

INTERRUPTED: Final = 130
"""Ctrl-C, as a shell reports it."""


class Failure(Exception):  # noqa: N818 - what the person is told, not a bug
    """The command cannot go on; the text is for the person who ran it, `status` for the shell."""

    def __init__(self, text: str, status: int = FAILED) -> None:
        super().__init__(text)
        self.status = status
