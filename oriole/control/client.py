"""A conversation with the node that holds a data folder."""

import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Self

import msgspec

from oriole.control.lines import SOCKET_NAME, Answer

PATIENCE_S: Final = 60.0
"""A node that says nothing for so long is taken to be stuck; one that works for longer says so meanwhile."""

_decode = msgspec.json.Decoder(Answer).decode


class ControlError(Exception):
    """The node cannot be asked, or refuses; the message says why, and what to do."""


class Control:
    """A connection to the node whose data folder is `data`; for a `with` block.

    Raises ControlError where there is no such folder, no node runs there, or it may not be asked.
    """

    __slots__ = ("_lines", "_socket", "done")

    def __init__(self, data: Path) -> None:
        self.done: Any = None
        """What the node said at the end of its last answer."""
        path = data / SOCKET_NAME
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(PATIENCE_S)
        try:
            self._socket.connect(str(path))
        except OSError as error:
            self._socket.close()
            raise ControlError(_why(data, path, error)) from None
        self._lines = self._socket.makefile("rb")

    def ask(self, command: str, **arguments: object) -> Iterator[Any]:
        """The rows of the answer, as they come; `done` is set after the last. Raises ControlError."""
        request = {"command": command, "arguments": arguments}
        try:
            with suppress(BrokenPipeError):  # what the node said before it hung up is still to be read
                self._socket.sendall(msgspec.json.encode(request) + b"\n")
            for line in self._lines:
                answer = _decode(line)
                if answer.refused is not None:
                    raise ControlError(answer.refused)
                if answer.row is None:
                    self.done = answer.done
                    return
                yield answer.row
        except TimeoutError:
            raise ControlError(f"the node did not answer for {PATIENCE_S:.0f} s") from None
        except (OSError, msgspec.MsgspecError) as error:
            raise ControlError(f"the node's answer broke off: {error}") from None
        raise ControlError("the node's answer broke off: it has ended, or let go of us")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._lines.close()
        self._socket.close()


def _why(data: Path, path: Path, error: OSError) -> str:
    """Why there is nobody to talk to, in a user's words."""
    if isinstance(error, PermissionError):
        return f"{path}: permission denied: ask as the user that the node runs as"
    try:
        if not data.is_dir():
            return f"{data}: no such folder: name a node's folder with --data"
    except PermissionError:
        return f"{data}: permission denied: ask as the user that the node runs as"
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return f"{data}: no node runs there: start one with `oriole broker --data {data}`, or name another with --data"
    if error.errno is None:  # Python's own complaint
        return f"{path}: the path is too long for a socket: the node cannot be asked, unless its --data is shorter"
    return f"{path}: {error.strerror}"
