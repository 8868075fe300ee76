"""How a device fetches new firmware: it asks for one chunk at a time, and again when no answer comes.

The waiting is bounded: an updater that is gone for good is asked `MAX_TRIES` times for a chunk, further and further
apart. Then the device waits for the next connection or offer. Values come from the network and are checked here.
"""

from collections.abc import Callable

import msgspec

from .clock import SECOND_NS
from .firmware import Ask, Chunk, Flash, Offer, Outcome
from .stamp import Values

FIRST_ANSWER_NS = 5 * SECOND_NS
MAX_TRIES = 6


class Download:
    """One device's. `ask` sends a question and says whether it could; `later` does something after a time in ns."""

    __slots__ = ("_ask", "_later", "_questions", "flash", "is_waiting")

    def __init__(self, ask: Callable[[Ask], bool], later: Callable[[int, Callable[[], None]], None]) -> None:
        self.flash = Flash()
        self.is_waiting = False
        """Whether an answer may still come."""
        self._ask = ask
        self._later = later
        self._questions = 0

    def offered(self, values: Values) -> None:
        """Somebody has firmware for it. Raises ValueError where that is nonsense."""
        is_news = self.flash.offered(msgspec.convert(values, Offer))
        if is_news or not self.is_waiting:
            self.go_on()

    def came(self, values: Values) -> Outcome:
        """A chunk came; the next one is asked for. Raises ValueError where it is nonsense."""
        outcome = self.flash.take(msgspec.convert(values, Chunk))
        if outcome is not Outcome.IGNORED:
            self.go_on()
        return outcome

    def go_on(self, tries: int = 0) -> None:
        """Ask for the chunk that is wanted, if one is."""
        wanted = self.flash.wanted
        self._questions += 1
        self.is_waiting = wanted is not None and tries < MAX_TRIES and self._ask(wanted)
        if self.is_waiting:
            question = self._questions
            self._later(FIRST_ANSWER_NS << tries, lambda: self._ask_again(question, tries + 1))

    def _ask_again(self, question: int, tries: int) -> None:
        if question == self._questions:  # it was not answered
            self.go_on(tries)
