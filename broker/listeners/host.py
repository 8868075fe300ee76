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
from broker.listeners.loop import Loop
from oriole.logging import Log

log = Log("host")

Decide = Callable[[Question], Verdict | Awaitable[Verdict]]


class Host:
    """Runs an engine on an event loop.

    Args:
        engine: what is run.
        loop: the event loop.
        decide: answers admission and permission questions, at once or later.

    Attributes:
        moment: the last reading of the clock, in the engine's milliseconds.
        turn_is_due: the engine will have its turn after everybody else who is readable now. Until then `moment` will do
            for whoever brings it bytes.
    """

    __slots__ = ("_armed_at", "_clock", "_decide", "_tasks", "_timer", "engine", "loop", "moment", "turn_is_due")

    def __init__(self, engine: Engine, loop: Loop, decide: Decide) -> None:
        self.engine = engine
        self.loop = loop
        self._clock = loop.clock
        self._decide = decide
        self.moment = 0
        self.turn_is_due = False
        self._timer: asyncio.TimerHandle | None = None
        self._armed_at = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def now(self) -> int:
        """The engine's time: milliseconds on a clock that never goes back."""
        self.moment = now = int(self._clock() * 1000)
        return now

    def wake(self) -> int:
        """The engine is given something: let it have its turn. Returns the time, read once for all of a turn."""
        if self.turn_is_due:
            return self.moment
        self.turn_is_due = True
        self.loop.defer(self.turn)
        return self.now()

    def committed(self, position: int) -> None:
        """The journal is safe up to `position`."""
        self.engine.committed(position, self.wake())

    def failed(self) -> None:
        """The journal has lost what it did not commit."""
        self.engine.failed(self.wake())

    def turn(self) -> None:
        """Answer questions, commit, write, and set the alarm for the next deadline."""
        self.turn_is_due = False
        engine = self.engine
        now = self.moment  # read when the first bytes of this turn came
        while engine.questions:
            self._answer(now)
        try:
            engine.turn(now)
        finally:  # whatever went wrong with one of them
            if engine.questions or engine.later:  # brought up by channels that went on
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
