"""The books closed: what became of every message, for every subscriber to whom it was due.

    due      = delivered + expired + replaced + dropped + refused + queued + lost       (lost is 0, or the run fails)
    received = first copies + repeated + stored + doubled + foreign

Delivered comes from the devices, the other ends from the nodes and from what was done to whom (`evidence.py`); none is
the rest of the others, and what nobody accounts for is lost. Where a node under test writes no settlements (somebody
else's broker), a newer state in its place counts as replaced, and QoS 0 that did not arrive is counted apart.

Repeated: marked as a repeat (DUP), sent again by a QoS 1 publisher that never saw its acknowledgement, or what
`Evidence.may_repeat` says.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import msgspec

from .evidence import SLACK_NS, End, Evidence, Fate
from .ledger import Copies, Ledger, Listener, Message

MS_NS = 1_000_000
MAX_FAULTS = 10

Key = tuple[str, str, str, str]
"""The publisher's connection, the subscriber's, the class of the message, the subscriber's population."""


class Books(msgspec.Struct):
    """One way's books, or all of them together: a message counts once for each subscriber to whom it was due."""

    due: int = 0
    delivered: int = 0
    late: int = 0
    """Of those delivered: later than the scenario allows, though the subscriber was awake."""
    after_sleep: int = 0
    """Of those delivered: the subscriber was asleep or offline when it was sent."""
    expired: int = 0
    replaced: int = 0
    dropped: int = 0
    refused: int = 0
    queued: int = 0
    lost: int = 0
    """Nobody accounts for it."""
    lost_qos0: int = 0
    """The same of QoS 0 at a node that writes no settlements: it was never promised."""
    repeated: int = 0
    doubled: int = 0

    @property
    def adds_up(self) -> bool:
        """Whether every due message has exactly one end."""
        ends = self.expired + self.replaced + self.dropped + self.refused + self.queued + self.lost + self.lost_qos0
        return self.due == self.delivered + ends


COLUMNS = {
    "due": "due",
    "delivered": "delivered",
    "late": "late",
    "after sleep": "after_sleep",
    "expired": "expired",
    "replaced": "replaced",
    "dropped": "dropped",
    "refused": "refused",
    "queued": "queued",
    "lost": "lost",
    "lost QoS 0": "lost_qos0",
    "doubled": "doubled",
    "repeats": "repeated",
}
"""What people read above each figure of `Books`, at a terminal and in the report, in this order."""


class Detail(msgspec.Struct):
    """The books of one way, class and population of subscribers."""

    way: str
    of: str
    population: str
    books: Books


class Accounts(msgspec.Struct):
    """A fleet's books."""

    sent: int
    accepted: int
    received: int
    foreign: int
    stored: int
    altered: int
    """Received with another content than they were sent with."""
    astray: int
    """Received by somebody who never asked for their topics."""
    out_of_order: int
    orders: int
    orders_confirmed: int
    total: Books
    ways: dict[str, Books]
    classes: dict[str, Books]
    details: list[Detail]
    """All of it, by way, class and population."""
    reasons: dict[str, int]
    """Why messages were not delivered, `dropped: queue full` and the like."""
    adds_up: bool
    faults: list[str]
    """The first messages lost or doubled, and others that went wrong, by name."""

    @property
    def is_clean(self) -> bool:
        """Nothing was lost, doubled or altered, nothing went astray, and the books add up."""
        wrong = self.total.lost + self.total.doubled + self.altered + self.astray
        return self.adds_up and not wrong


def way_name(publisher: str, subscriber: str) -> str:
    """A way in words."""
    return f"{publisher} → {subscriber}"


def population_of(device: str) -> str:
    """Whose device it is, by its name."""
    return device.rpartition("-")[0]


def sum_of(many: Iterable[Books]) -> Books:
    """All of them together."""
    total = Books()
    for books in many:
        for name in Books.__struct_fields__:
            setattr(total, name, getattr(total, name) + getattr(books, name))
    return total


def close_books(ledger: Ledger, late_ms: float, evidence: Evidence | None = None) -> Accounts:
    """Draw up the accounts of what `ledger` holds by now; without `evidence`, from what devices saw alone."""
    return _Closing(ledger, late_ms, evidence).accounts()


@dataclass(slots=True)
class _Closing:
    ledger: Ledger
    late_ms: float
    evidence: Evidence | None
    books: defaultdict[Key, Books] = field(default_factory=lambda: defaultdict(Books))
    reasons: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    unasked: int = 0
    """Copies that came as if they had been asked for."""

    def accounts(self) -> Accounts:
        ledger = self.ledger
        missing = list(self._missing())
        if self.evidence is not None:
            self.evidence.gather([*(message for message, _ in missing), *self._doubled()])
        self._count_due()
        self._count_copies()
        self._count_missing(missing)
        total = sum_of(self.books.values())
        stored = sum(copies.stored for copies in ledger.copies.values()) - self.unasked
        received = len(ledger.copies) + total.repeated + stored + total.doubled + ledger.foreign
        return Accounts(
            sent=len(ledger.messages),
            accepted=sum(message.accepted_ns is not None for message in ledger.messages),
            received=ledger.received_total,
            foreign=ledger.foreign,
            stored=stored,
            altered=ledger.notes["altered"],
            astray=ledger.notes["astray"],
            out_of_order=ledger.out_of_order,
            orders=sum(message.of == "order" for message in ledger.messages),
            orders_confirmed=len(ledger.confirmed_ns),
            total=total,
            ways=self._by(lambda key: way_name(key[0], key[1])),
            classes=self._by(lambda key: key[2]),
            details=[Detail(way_name(*key[:2]), key[2], key[3], books) for key, books in sorted(self.books.items())],
            reasons=dict(sorted(self.reasons.items())),
            adds_up=received == ledger.received_total and all(books.adds_up for books in self.books.values()),
            faults=self.faults
            + [f"{what}: {ledger.last_notes[what]}" for what in ("altered", "astray") if ledger.notes[what]],
        )

    def _by(self, name: Callable[[Key], str]) -> dict[str, Books]:
        groups: defaultdict[str, list[Books]] = defaultdict(list)
        for key, books in sorted(self.books.items()):
            groups[name(key)].append(books)
        return {name: sum_of(books) for name, books in groups.items()}

    def _count_due(self) -> None:
        for message in self.ledger.messages:
            for listener in message.due.values():
                self.books[message.way, listener.way, message.of, population_of(listener.name)].due += 1

    def _count_copies(self) -> None:
        """From the receivers' side."""
        for (name, ticket), copies in self.ledger.copies.items():
            message = self.ledger.messages[ticket]
            books = self.books[message.way, copies.way, message.of, population_of(name)]
            books.repeated += copies.repeated
            if self._nobody_asked(name, copies):
                self.unasked += copies.stored
                books.doubled += copies.stored
                self._fault("doubled", message, name)
            if copies.doubled and self.evidence is not None and self.evidence.may_repeat(message, name):
                books.repeated += copies.doubled
            elif copies.doubled:
                books.doubled += copies.doubled
                self._fault("doubled", message, name)
            if copies.is_due:
                books.delivered += 1
                books.after_sleep += copies.was_away
                books.late += not copies.was_away and copies.first_ns - message.at_ns > self.late_ms * MS_NS

    def _nobody_asked(self, name: str, copies: Copies) -> bool:
        """Whether it got a state again, handed out as to somebody who subscribes, and it had not subscribed."""
        return copies.stored_ns > 0 and not self.ledger.asked_between(
            name, copies.first_ns - SLACK_NS, copies.stored_ns + SLACK_NS
        )

    def _doubled(self) -> Iterator[Message]:
        return (self.ledger.messages[ticket] for (_, ticket), copies in self.ledger.copies.items() if copies.doubled)

    def _missing(self) -> Iterator[tuple[Message, Listener]]:
        """From the senders' side: what was due and has no copy."""
        copies = self.ledger.copies
        for ticket, message in enumerate(self.ledger.messages):
            for name, listener in message.due.items():
                if (name, ticket) not in copies:
                    yield message, listener

    def _count_missing(self, missing: list[tuple[Message, Listener]]) -> None:
        newest: dict[tuple[str, str], int] = {}
        if missing:
            for name, ticket in self.ledger.copies:
                message = self.ledger.messages[ticket]
                key = name, message.topic
                newest[key] = max(newest.get(key, 0), message.at_ns)
        for message, listener in missing:
            has_newer = newest.get((listener.name, message.topic), 0) > message.at_ns
            books = self.books[message.way, listener.way, message.of, population_of(listener.name)]
            fate = self._fate(message, listener, has_newer)
            if fate is None:
                books.lost_qos0 += 1
                continue
            setattr(books, fate.end.value, getattr(books, fate.end.value) + 1)
            self.reasons[f"{fate.end.value}: {fate.reason}" if fate.reason else fate.end.value] += 1
            if fate.end is End.LOST:
                self._fault("lost", message, listener.name)

    def _fate(self, message: Message, listener: Listener, has_newer: bool) -> Fate | None:
        """None: QoS 0 that nobody can say anything about, because a node writes no settlements."""
        if self.evidence is not None:
            return self.evidence.fate(message, listener, has_newer)
        if message.refused:
            return Fate(End.REFUSED, message.refused)
        if has_newer and (message.is_state or listener.latest_only):
            return Fate(End.REPLACED, "by a newer state")
        return None if min(message.qos, listener.qos) == 0 else Fate(End.LOST)

    def _fault(self, what: str, message: Message, subscriber: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            which = f"no. {message.number} of {message.publisher} on {message.topic}, QoS {message.qos}"
            self.faults.append(f"{what}: {which}, to {subscriber}")
