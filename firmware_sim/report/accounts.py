"""The books closed: what became of every message, for every subscriber to whom it was due.

    due      = delivered + replaced + refused + lost        (each counted by itself, none is the rest of the others)
    received = first copies + repeated + stored + doubled + foreign

Replaced: the message was a state, or the subscriber watches states, and a newer message of its topic arrived. Repeated:
marked as a repeat (DUP), or sent again by a QoS 1 publisher that never saw its acknowledgement.
"""

from collections import defaultdict
from dataclasses import dataclass, field

import msgspec

from .ledger import Ledger, Listener, Message

MS_NS = 1_000_000
MAX_FAULTS = 10


class Books(msgspec.Struct):
    """One way's books, or all of them together: a message counts once for each subscriber to whom it was due."""

    due: int = 0
    delivered: int = 0
    late: int = 0
    """Of those delivered: later than the scenario allows, though the subscriber was awake."""
    after_sleep: int = 0
    """Of those delivered: the subscriber was asleep or offline when it was sent."""
    replaced: int = 0
    refused: int = 0
    lost_qos0: int = 0
    lost: int = 0
    """Lost where both ends had QoS 1 or 2."""
    repeated: int = 0
    doubled: int = 0

    @property
    def adds_up(self) -> bool:
        """Whether every due message has exactly one end."""
        return self.due == self.delivered + self.replaced + self.refused + self.lost_qos0 + self.lost


COLUMNS = {
    "due": "due",
    "delivered": "delivered",
    "late": "late",
    "after sleep": "after_sleep",
    "replaced": "replaced",
    "refused": "refused",
    "lost": "lost",
    "lost QoS 0": "lost_qos0",
    "doubled": "doubled",
    "repeats": "repeated",
}
"""What people read above each figure of `Books`, at a terminal and in the report, in this order."""


class Accounts(msgspec.Struct):
    """A fleet's books."""

    sent: int
    accepted: int
    received: int
    foreign: int
    stored: int
    out_of_order: int
    orders: int
    orders_confirmed: int
    total: Books
    ways: dict[str, Books]
    adds_up: bool
    faults: list[str]
    """The first messages lost or doubled, by name."""

    @property
    def is_clean(self) -> bool:
        """Nothing of QoS 1 or 2 was lost or doubled, and the books add up."""
        return self.adds_up and not self.total.lost and not self.total.doubled


def way_name(publisher: str, subscriber: str) -> str:
    """A way in words."""
    return f"{publisher} → {subscriber}"


def close_books(ledger: Ledger, late_ms: float) -> Accounts:
    """Draw up the accounts of what `ledger` holds by now. Calling it in the middle of a run finds much of it lost."""
    return _Closing(ledger, late_ms).accounts()


@dataclass(slots=True)
class _Closing:
    ledger: Ledger
    late_ms: float
    ways: defaultdict[tuple[str, str], Books] = field(default_factory=lambda: defaultdict(Books))
    faults: list[str] = field(default_factory=list)

    def accounts(self) -> Accounts:
        ledger = self.ledger
        for key, way in ledger.ways.items():
            self.ways[key].due = way.due
        self._count_copies()
        self._count_missing()
        total = Books()
        for books in self.ways.values():
            for name in Books.__struct_fields__:
                setattr(total, name, getattr(total, name) + getattr(books, name))
        stored = sum(copies.stored for copies in ledger.copies.values())
        received = len(ledger.copies) + total.repeated + stored + total.doubled + ledger.foreign
        return Accounts(
            sent=len(ledger.messages),
            accepted=sum(message.accepted_ns is not None for message in ledger.messages),
            received=ledger.received_total,
            foreign=ledger.foreign,
            stored=stored,
            out_of_order=ledger.out_of_order,
            orders=sum(message.is_order for message in ledger.messages),
            orders_confirmed=len(ledger.confirmed_ns),
            total=total,
            ways={way_name(*key): books for key, books in sorted(self.ways.items())},
            adds_up=received == ledger.received_total and all(books.adds_up for books in self.ways.values()),
            faults=self.faults,
        )

    def _count_copies(self) -> None:
        """From the receivers' side."""
        for (name, ticket), copies in self.ledger.copies.items():
            message = self.ledger.messages[ticket]
            books = self.ways[message.way, copies.way]
            books.repeated += copies.repeated
            books.doubled += copies.doubled
            if copies.doubled:
                self._fault("doubled", message, name)
            if copies.is_due:
                books.delivered += 1
                books.after_sleep += copies.was_away
                books.late += not copies.was_away and copies.first_ns - message.at_ns > self.late_ms * MS_NS

    def _count_missing(self) -> None:
        """From the senders' side: what was due and has no copy."""
        ledger = self.ledger
        newest: dict[tuple[str, str], int] = {}
        for name, ticket in ledger.copies:
            message = ledger.messages[ticket]
            key = name, message.topic
            newest[key] = max(newest.get(key, 0), message.at_ns)
        for ticket, message in enumerate(ledger.messages):
            for listener in message.due:
                if (listener.name, ticket) not in ledger.copies:
                    replaced = newest.get((listener.name, message.topic), 0) > message.at_ns
                    self._count_one_missing(message, listener, replaced)

    def _count_one_missing(self, message: Message, listener: Listener, has_newer: bool) -> None:
        books = self.ways[message.way, listener.way]
        if message.refused:
            books.refused += 1
        elif has_newer and (message.is_state or listener.latest_only):
            books.replaced += 1
        elif min(message.qos, listener.qos) == 0:
            books.lost_qos0 += 1
        else:
            books.lost += 1
            self._fault("lost", message, listener.name)

    def _fault(self, what: str, message: Message, subscriber: str) -> None:
        if len(self.faults) < MAX_FAULTS:
            which = f"no. {message.number} of {message.publisher} on {message.topic}, QoS {message.qos}"
            self.faults.append(f"{what}: {which}, to {subscriber}")
