"""A handle on a process that holds links, whatever it carries over them: what the fleet does to a link.

Orders go to its stdin, one JSON object per line, and each is answered by a line on its stdout (`orders.py`). It ends
when its stdin does.
"""

import asyncio
from collections.abc import Sequence
from typing import Generic, Self, TypeVar

import msgspec

from firmware_sim.child import leave_signals_to_parent, python_module

from .link import BOTH, Counters
from .model import Direction, LinkModel
from .orders import AddLink, Answer, Change, Count, Cut, Heal, Move

CLOSE_S = 5.0
ANSWER_S = 15.0
"""It answers at once, unless it stands still."""

AnswerType = TypeVar("AnswerType", bound=Answer)


class NetworkError(RuntimeError):
    """The network's process refused an order, or is gone."""


class LinkControl(Generic[AnswerType]):
    """`async with` starts the process, which is `module`, and ends it. Every coroutine raises `NetworkError`."""

    def __init__(self, module: str, answer: type[AnswerType]) -> None:
        self._module = module
        self._answer = answer
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._is_silent = False

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *python_module(self._module), stdin=pipe, stdout=pipe, preexec_fn=leave_signals_to_parent
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), CLOSE_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def add(self, name: str, model: LinkModel, seed: int = 1) -> None:
        """Make a link; what it leaves to chance comes from `seed` and its name."""
        await self._ask(AddLink(name, model, seed))

    async def cut(self, link: str, directions: Sequence[Direction] = BOTH) -> None:
        """Silence: nothing is reset, nothing gets through."""
        await self._ask(Cut(link, directions))

    async def heal(self, link: str, directions: Sequence[Direction] = BOTH) -> None:
        """End the silence. TCP goes on at its sender's next attempt."""
        await self._ask(Heal(link, directions))

    async def change(self, link: str, model: LinkModel) -> None:
        """Let the link be like `model` from now on."""
        await self._ask(Change(link, model))

    async def move(self, link: str) -> None:
        """Another address for whoever connects: TCP connections that exist go silent for ever, and neither end is
        told.
        """
        await self._ask(Move(link))

    async def count(self) -> dict[str, Counters]:
        """What went over each link so far."""
        return (await self._ask(Count())).counters

    def endings(self) -> list[str]:
        """How the process ended, or stood still, though nobody told it to, in words."""
        if self._is_silent:
            return [f"the network's process has said nothing for {ANSWER_S:g} s"]
        code = None if self._process is None else self._process.returncode
        return [] if code is None else [f"the network's process ended unexpectedly, with status {code}"]

    async def _ask(self, order: msgspec.Struct) -> AnswerType:
        try:  # half an exchange would leave its answer to the next one
            return await asyncio.wait_for(asyncio.shield(self._exchange(order)), 0 if self._is_silent else ANSWER_S)
        except TimeoutError:
            self._is_silent = True
            raise NetworkError(f"the network's process has said nothing for {ANSWER_S:g} s") from None

    async def _exchange(self, order: msgspec.Struct) -> AnswerType:
        assert self._process is not None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._lock:
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")
            line = await self._process.stdout.readline()
        if not line:
            raise NetworkError("the network's process ended unexpectedly")
        answer = msgspec.json.decode(line, type=self._answer)
        if answer.error:
            raise NetworkError(answer.error)
        return answer
