"""What can be asked of a node: its parts register what they answer, by name.

A command is a generator: what it yields are the rows of its answer, and between two of them others have their turn. So
an answer of any length needs little memory and stops nobody, as long as each row is quickly made. What it yields last
as `Done` is about all of it.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

import msgspec

from oriole.control.lines import Request


class RefusedError(Exception):
    """A request cannot be done; the message says why, to whoever asked."""


@dataclass(slots=True, frozen=True)
class Done:
    """The end of an answer, with what there is to say about all of it."""

    summary: object = field(default_factory=dict)


class Asker(Protocol):
    """Who asks."""

    async def left(self) -> None:
        """Wait until they have hung up."""


A = TypeVar("A", bound=msgspec.Struct)
Command = Callable[[A, Asker], AsyncGenerator[object, None]]


class Commands:
    """The commands of one node."""

    __slots__ = ("_commands",)

    def __init__(self) -> None:
        self._commands: dict[str, tuple[type[msgspec.Struct], Command[Any]]] = {}

    def register(self, name: str, kind: type[A], command: Command[A]) -> None:
        """Answer requests for `name` by `command(arguments, asker)`; `kind` says what arguments it takes."""
        self._commands[name] = kind, command

    def answer(self, line: bytes, asker: Asker) -> AsyncGenerator[object, None]:
        """Begin to answer a request. Raises RefusedError, as the rows may, too."""
        try:
            request = msgspec.json.decode(line, type=Request)
        except msgspec.MsgspecError as error:
            raise RefusedError(f"no request: {error}") from None
        if request.command not in self._commands:
            raise RefusedError(f"unknown command: this node knows {', '.join(sorted(self._commands))}")
        kind, command = self._commands[request.command]
        try:
            arguments = msgspec.json.decode(request.arguments, type=kind)
        except msgspec.MsgspecError as error:
            raise RefusedError(f"{request.command}: {error}") from None
        return command(arguments, asker)
