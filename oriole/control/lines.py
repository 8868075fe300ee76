"""The lines of a control socket (docs/control.md), for the node that answers them and for who asks.

A request is one JSON object on a line. Its answer is any number of lines with a `row` each, and then one line that says
either that it is `done`, with what there is to say about all of it, or why it is `refused`.
"""

from typing import Any, Final

import msgspec

SOCKET_NAME: Final = "control"
"""The socket's name in the data folder."""
MOST_REQUEST_BYTES: Final = 1 << 20
"""Longest line that a node reads: a client identifier alone may have 65,535 bytes, some of them escaped."""


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is asked of a node: a command by name, and what it is to do it with."""

    command: str
    arguments: msgspec.Raw = msgspec.Raw(b"{}")


class Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of an answer; exactly one of the fields is given."""

    row: Any = None
    done: Any = None
    refused: str | None = None
