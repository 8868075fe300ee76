"""The loop under an engine: one clock, one timer, one turn for all that was read together.

Listeners call `wake` after they handed bytes to the engine. However many channels were read, the turn runs once, after
all of them: what piled up for a channel leaves in one write. That, and not the speed of Python, is where the time goes.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable

from broker.core.engine import Engine
from broker.core.questions import Question, Verdict
from oriole.logging import Log

log = Log("host")

Decide = Callable[[Question], Verdict | Awaitable[Verdict]]


class Host:
    """Runs an engine on an event loop.

    Args:
        engine: what is run.
        loop: the event loop; its clock is the engine's.
        decide: answers admission and permission questions, at once or later.
    """

    __slots__ = ("_armed_at", "_decide", "_now", "_scheduled", "_tasks", "_time", "_timer", "engine", "loop")

    def __init__(self, engine: Engine, loop: asyncio.AbstractEventLoop, decide: Decide) -> None:
        self.engine = engine
        self.loop = loop
        self._time = loop.time
        self._decide = decide
        self._now = 0
        self._scheduled = False
        self._timer: asyncio.TimerHandle | None = None
        self._armed_at = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> int:
        """The engine's time: milliseconds on a clock that never goes back."""
        self._now = now = int(self._time() * 1000)
        return now

    def begin(self) -> int:
        """Bytes came: the engine will have its turn after everybody else who is readable now. Returns the time, read
        once for all of them.
        """
        if self._scheduled:
            return self._now
        self._scheduled = True
        self.loop.call_soon(self.turn)
        return self.now()

    def wake(self) -> None:
        """The engine was given something, not by a reader: let it have its turn."""
        if not self._scheduled:
            self.begin()

    def turn(self) -> None:
        """Answer questions, commit, write, and set the alarm for the next deadline."""
        self._scheduled = False
        engine = self.engine
        now = self._now  # read when the first bytes of this turn came
        while engine.questions:
            self._answer(now)
        engine.turn(now)
        if engine.questions:  # brought up by channels that went on
            self.wake()
        at = engine.next_deadline()
        if at is not None and (self._timer is None or at < self._armed_at):
            self._arm(at)

    def _arm(self, at: int) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._armed_at = at
        self._timer = self.loop.call_at(at / 1000 + 0.001, self._tick)

    def _tick(self) -> None:
        self._timer = None
        self.engine.tick(self.now())
        self.turn()

    def _answer(self, now: int) -> None:
        questions, self.engine.questions = self.engine.questions, []
        for question in questions:
            try:
                verdict = self._decide(question)
            except Exception as error:  # whatever a foreign authority raises
                verdict = self._fail_closed(error)
            if inspect.isawaitable(verdict):
                task = self.loop.create_task(self._answer_later(question.ticket, verdict))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
            else:
                self.engine.verdict(question.ticket, verdict, now)

    async def _answer_later(self, ticket: int, verdict: Awaitable[Verdict]) -> None:
        try:
            answer = await verdict
        except Exception as error:  # whatever a foreign authority raises
            answer = self._fail_closed(error)
        self.engine.verdict(ticket, answer, self.now())
        self.wake()

    def _fail_closed(self, error: Exception) -> Verdict:
        log.error("no verdict, which is a refusal", error)
        return Verdict(False)

    def close(self) -> None:
        """No more timer; answers on their way are dropped."""
        if self._timer is not None:
            self._timer.cancel()
        for task in list(self._tasks):
            task.cancel()
