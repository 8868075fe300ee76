"""A book in memory, and the proof that it adds up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from broker.core.engine import Engine
from broker.core.message import Message, Stored
from broker.core.settlement import Outcome, Reason
from broker.core.sink import Sink
from oriole.link.uplink import SNAPSHOT_END


class End(NamedTuple):
    """How one recipient's delivery ended."""

    payload: bytes
    to: str
    outcome: Outcome
    reason: Reason | None = None


class Pages:
    """Everything that an engine enters."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        engine.settlement.book = self
        self.taken: list[Message] = []
        self.turned_away: list[tuple[bytes, str, Reason]] = []
        self.ends: list[End] = []
        self.turns = 0
        self._open: Counter[tuple[bytes, bytes, str]] = Counter()
        self._stored: list[Stored] = []
        self._outcomes: Counter[str] = Counter()

    def accepted(self, message: Message, recipients: Sequence[Sink], now: int) -> None:
        self.taken.append(message)
        for sink in recipients:
            self._open[message.topic, message.payload, sink.label] += 1

    def refused(self, message: Message, reason: Reason, now: int) -> None:
        self.turned_away.append((message.payload, message.origin.label if message.origin else "", reason))

    def ended(self, message: Message, sink: Sink | None, outcome: Outcome, reason: Reason | None, now: int) -> None:
        self._outcomes[outcome if reason is None else f"{outcome}: {reason}"] += 1
        if message.topic == SNAPSHOT_END.encode():
            return
        label = "retained" if sink is None else sink.label
        self.ends.append(End(message.payload, label, outcome, reason))
        if isinstance(message, Stored):
            self._stored.append(message)
        elif sink is not None:
            self._open[message.topic, message.payload, label] -= 1
            assert self._open[message.topic, message.payload, label] >= 0, f"an end too many: {self.ends[-1]}"

    def turned(self) -> None:
        self.turns += 1

    def check(self, owed: Iterable[tuple[Message, Sink | None, bool]]) -> None:
        """Each pair that was begun has ended or is owed, and none twice; and the counters say what the ends do."""
        still: Counter[tuple[bytes, bytes, str]] = Counter()
        stored = list(self._stored)
        for message, sink, _ in owed:
            if isinstance(message, Stored):
                stored.append(message)
            elif sink is not None and message.topic != SNAPSHOT_END.encode():
                still[message.topic, message.payload, sink.label] += 1
        assert still == +self._open, (still - self._open, self._open - still)
        assert len(stored) == len({id(message) for message in stored})
        counts = self._outcomes + Counter(f"refused: {reason}" for _, _, reason in self.turned_away)
        assert counts == {name: count for name, count in self.engine.settlement.counts().items() if count}
