"""Requests find their command, and what is no request is refused in words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import msgspec
import pytest

from broker.control.commands import Asker, Commands, RefusedError


class Numbers(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many."""

    count: int = 1


class Nobody:
    async def left(self) -> None:
        """At once."""


async def count(asked: Numbers, _: Asker) -> AsyncGenerator[object, None]:
    for number in range(asked.count):
        yield number


@pytest.fixture
def commands() -> Commands:
    made = Commands()
    made.register("count", Numbers, count)
    return made


def answer(commands: Commands, line: bytes) -> list[object]:
    async def rows() -> list[object]:
        return [row async for row in commands.answer(line, Nobody())]

    return asyncio.run(rows())


@pytest.mark.parametrize(
    ("line", "rows"),
    [
        (b'{"command":"count"}\n', [0]),
        (b'{"command":"count","arguments":{"count":3}}\n', [0, 1, 2]),
        (b' { "arguments" : {}, "command" : "count" } \r\n', [0]),
    ],
)
def test_a_request_is_answered_by_its_command(commands: Commands, line: bytes, rows: list[object]) -> None:
    assert answer(commands, line) == rows


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"\n", "no request: Input data was truncated"),
        (b"GET / HTTP/1.1\r\n", "no request: JSON is malformed"),
        (b"\xff\xfe\n", "no request: "),
        (b"[" * 100_000 + b"\n", "no request: "),
        (b"{}\n", "no request: Object missing required field `command`"),
        (b'{"command":"count","more":1}\n', "no request: Object contains unknown field `more`"),
        (b'{"command":"fly"}\n', "unknown command: this node knows count"),
        (b'{"command":"count","arguments":{"count":"x"}}\n', "count: Expected `int`, got `str` - at `$.count`"),
        (b'{"command":"count","arguments":{"c":1}}\n', "count: Object contains unknown field `c`"),
        (b'{"command":"count","arguments":null}\n', "count: Expected `object`, got `null`"),
    ],
)
def test_what_is_no_request_is_refused(commands: Commands, line: bytes, words: str) -> None:
    with pytest.raises(RefusedError) as refused:
        answer(commands, line)
    assert str(refused.value).startswith(words)
