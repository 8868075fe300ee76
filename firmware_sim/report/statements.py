"""What nodes wrote of the messages in question, read from their settlements (`oriole.settlements`), node by node.

A node may have had several lives; of a message the last life counts that took it. A life that says no `stop` was cut
off: what it still owed then went with its memory.
"""

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import msgspec

from oriole.settlements import Accepted, Ended, Line, Queued, Refused, Start, Stop, Waiting

from .ledger import Message

MS_NS = 1_000_000
Key = tuple[str, str]
"""A message as nodes know it: topic and digest."""


@dataclass(slots=True)
class End:
    """What a node said last of what a recipient was owed."""

    outcome: str
    reason: str
    at_ns: int


@dataclass(slots=True)
class Statement:
    """What one node said of one message. Whom it was owed to, and who owed it, are labels (docs/settlements.md)."""

    life: int = 0
    accepted_ns: int | None = None
    publishers: dict[str, None] = field(default_factory=dict)
    owed: dict[str, None] = field(default_factory=dict)
    ends: dict[str, End] = field(default_factory=dict)
    queued: dict[str, None] = field(default_factory=dict)
    kept: dict[str, None] = field(default_factory=dict)
    """Who asked for it after it had been kept, and got it."""
    refused: list[str] = field(default_factory=list)
    was_taken_before: bool = False
    """An earlier life took it, too."""

    def speaks_of(self, label: str) -> bool:
        """Whether it was owed to `label`."""
        return label in self.owed or label in self.ends or label in self.queued


@dataclass(slots=True)
class Life:
    """A node from its start to its end."""

    epoch: str
    began_ns: int
    stopped: bool = False


class Statements:
    """Those of all nodes: `files` are their settlements."""

    __slots__ = ("_files", "_heard", "_of", "lives")

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._files = files
        self._of: dict[Key, dict[str, Statement]] = {}
        self._heard: defaultdict[tuple[str, str], list[int]] = defaultdict(list)  # node, neighbour
        self.lives: defaultdict[str, list[Life]] = defaultdict(list)
        """By node."""

    def read(self, messages: Iterable[Message]) -> None:
        """Read what nodes said of `messages`."""
        self._of = {(message.topic, message.digest): {} for message in messages}
        if self._of:
            for node, file in self._files.items():
                if file.exists():  # a node that was killed before it met a message has written nothing
                    self._read(node, file)

    def of(self, message: Message) -> Mapping[str, Statement]:
        """By node."""
        return self._of.get((message.topic, message.digest), {})

    def last_heard_ns(self, node: str, neighbour: str, at_ns: float) -> float:
        """When `node` last took something from a neighbour, another node's label, until `at_ns`."""
        times = self._heard[node, neighbour]
        index = bisect_left(times, at_ns)
        return times[index - 1] if index else -inf

    def next_heard_ns(self, node: str, neighbour: str, at_ns: float) -> float:
        """When `node` took something from a neighbour again, from `at_ns` on."""
        times = self._heard[node, neighbour]
        index = bisect_left(times, at_ns)
        return times[index] if index < len(times) else inf

    def _read(self, node: str, file: Path) -> None:
        decoder = msgspec.json.Decoder(Line)
        lives = self.lives[node]
        with file.open("rb") as lines:
            for text in lines:
                try:
                    line = decoder.decode(text)
                except msgspec.DecodeError:  # cut off by the end of its node
                    continue
                match line:
                    case Start():
                        if not lives or lives[-1].epoch != line.epoch:
                            lives.append(Life(line.epoch, line.at * MS_NS))
                    case Stop():
                        lives[-1].stopped = True
                    case Waiting():
                        pass  # it ends later
                    case Accepted() | Ended() | Queued() | Refused():
                        self._note(node, line)

    def _note(self, node: str, line: Accepted | Ended | Queued | Refused) -> None:
        if isinstance(line, Accepted) and line.publisher.startswith(("node:", "uplink")):
            self._heard[node, line.publisher].append(line.at * MS_NS)
        statements = self._of.get((line.topic, line.digest))
        if statements is None:
            return
        life = len(self.lives[node])
        statement = statements.setdefault(node, Statement(life))
        match line:
            case Accepted():
                if statement.life != life:
                    was_taken = statement.accepted_ns is not None or statement.was_taken_before
                    statement = statements[node] = Statement(life, was_taken_before=was_taken)
                statement.accepted_ns = line.at * MS_NS
                statement.publishers[line.publisher] = None
                statement.owed.update(dict.fromkeys(line.owed))
            case Ended():
                if line.stored and line.outcome in ("acknowledged", "sent"):
                    statement.kept[line.to] = None
                statement.ends[line.to] = End(line.outcome, line.reason, line.at * MS_NS)
            case Queued():
                statement.queued[line.to] = None
            case Refused():
                statement.refused.append(line.reason)
