"""One node's engine: what a turn of the loop collects, and the clock-driven part.

The shell reads channels and hands bytes to protocols (`receive`), then calls `turn`: records are committed, promises
kept, and every channel with output is written once. Between turns it sleeps until `next_deadline`.
"""

from __future__ import annotations

from collections.abc import Callable

from broker.core.channel import Channel
from broker.core.deadlines import Deadlines
from broker.core.pressure import LOW_WATER_BYTES, Pressure
from broker.core.promises import Journal, Promises
from broker.core.questions import Question, Verdict
from broker.core.settlement import Settlement


class Engine:
    """The parts that all protocols of a node share.

    Attributes:
        dirty: channels with output, in the order in which they got it.
        released: channels that may be read again.
        later: held channels that let others go first: released at the next turn.
        questions: for whoever decides on admission and permission; the shell takes them out and answers by `verdict`.
        promises: records of this turn and what waits for them.
    """

    __slots__ = (
        "_answers",
        "_tickets",
        "deadlines",
        "dirty",
        "later",
        "pressure",
        "promises",
        "questions",
        "released",
        "settlement",
    )

    def __init__(self, journal: Journal) -> None:
        self.dirty: list[Channel] = []
        self.released: list[Channel] = []
        self.later: list[Channel] = []
        self.questions: list[Question] = []
        self.promises = Promises(journal)
        self.deadlines = Deadlines()
        self.settlement = Settlement()
        self.pressure = Pressure(self)
        self._answers: dict[int, Callable[[Verdict, int], None]] = {}
        self._tickets = 0

    def ticket(self, answer: Callable[[Verdict, int], None]) -> int:
        """A ticket for a question; `answer(verdict, now)` is called when the verdict comes."""
        self._tickets += 1
        self._answers[self._tickets] = answer
        return self._tickets

    def verdict(self, ticket: int, verdict: Verdict, now: int) -> None:
        """Answer a question. An unknown or withdrawn ticket is ignored."""
        answer = self._answers.pop(ticket, None)
        if answer is not None:
            answer(verdict, now)

    def withdraw(self, ticket: int) -> None:
        """Nobody waits for this verdict any more."""
        self._answers.pop(ticket, None)

    def committed(self, position: int, now: int) -> None:
        """The journal is safe up to `position`."""
        self.promises.committed(position, now)

    def failed(self, now: int) -> None:
        """The journal could not commit what it has taken since the last position that was committed."""
        self.promises.failed(now)

    def tick(self, now: int) -> None:
        """Do what is due at `now`."""
        self.deadlines.run(now)

    def next_deadline(self) -> int | None:
        """When `tick` is needed next, in milliseconds; None if nothing waits for time."""
        return self.deadlines.next_at()

    def unsent(self, channel: Channel, size: int) -> None:
        """The listener wrote to `channel` and is left with `size` bytes."""
        channel.size = size
        if size < LOW_WATER_BYTES:
            self.pressure.drained(channel)

    def turn(self, now: int) -> None:
        """End of a turn: commit, keep promises, write every channel that has output, resume those released."""
        self._settle(now)
        if self.later:
            later, self.later = self.later, []
            for channel in later:
                channel.release()
        while self.dirty or self.released:
            dirty, self.dirty = self.dirty, []
            for channel in dirty:
                try:
                    channel.flush()
                except Exception as error:
                    channel.broken(error)
            if self.released:
                released, self.released = self.released, []
                for channel in released:
                    if channel.holds == 0:
                        try:
                            channel.resume()
                        except Exception as error:
                            channel.broken(error)
                self._settle(now)

    def _settle(self, now: int) -> None:
        promises = self.promises
        if promises.made or promises.records:
            promises.settle(now)
        self.pressure.met.clear()  # met by wills and by what waited for the journal: there is nobody to hold
        book = self.settlement.book
        if book is not None:
            book.turned()
