"""The books of bulk devices closed: what became of every message, for every subscriber to whom it was due."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from .ledger import BulkLedger, Heard, Stream
from .numbers import Numbers
from .result import MissingRow, OutsideRow, Passage, ReceivedRow, SentRow, Why


@dataclass(slots=True)
class _Sum:
    """One subscriber's row while it grows."""

    counts: Counter[str] = field(default_factory=Counter)
    missing: Counter[Why] = field(default_factory=Counter)

    def enter(self, due: int, heard: Heard) -> None:
        """Add one publisher's topic."""
        self.counts.update(
            due=due,
            delivered=heard.delivered,
            after_absence=heard.after_absence,
            undue=heard.undue,
            repeated=heard.repeated,
            stored=heard.stored,
            doubled=len(heard.doubled),
            out_of_order=heard.out_of_order,
        )


@dataclass(slots=True)
class Rows:
    """The rows of a ledger as it stands. In the middle of a run they find much of it missing."""

    publishers: list[SentRow]
    subscribers: list[ReceivedRow]
    outside: list[OutsideRow]
    missing: list[MissingRow]
    passages: list[Passage]


def rows_of(ledger: BulkLedger) -> Rows:
    """Draw them up."""
    sums: defaultdict[str, _Sum] = defaultdict(_Sum)
    missing: list[MissingRow] = []
    for stream in ledger.streams.values():
        for heard in stream.heard.values():
            missing += _missing(stream, heard, sums[heard.name])
            sums[heard.name].enter(stream.sent + 1 - heard.first, heard)
        for heard in stream.overheard.values():
            sums[heard.name].enter(0, heard)
    subscribers = [
        ReceivedRow(subscriber=name, missing=dict(each.missing), **each.counts) for name, each in sums.items()
    ]
    passages = [Passage(*key, times) for key, times in sorted(ledger.passages.items())]
    return Rows(
        [_sent_row(stream) for stream in ledger.streams.values()],
        subscribers,
        list(_outside(ledger)),
        missing,
        passages,
    )


def _missing(stream: Stream, heard: Heard, row: _Sum) -> Iterator[MissingRow]:
    by_reason: defaultdict[Why, Numbers] = defaultdict(Numbers)
    for number in heard.received.missing(heard.first, stream.sent + 1):
        by_reason[_why_missing(stream, heard, number)].add(number)
    for why, numbers in by_reason.items():
        row.missing[why] += len(numbers)
        yield MissingRow(heard.name, stream.publisher, stream.topic, why, numbers.bounds)


def _why_missing(stream: Stream, heard: Heard, number: int) -> Why:
    if number in stream.refused:
        return "refused"
    if not min(stream.qos, heard.qos):
        return "lost_qos0"
    if number not in stream.settled:
        return "unaccepted"
    if heard.may_miss(number):
        return "forgotten"
    return "replaced" if stream.is_state and heard.newest > number else "lost"


def _sent_row(stream: Stream) -> SentRow:
    unsettled = Numbers()
    if stream.qos:
        for number in stream.settled.missing(1, stream.sent + 1):
            unsettled.add(number)
    return SentRow(
        stream.publisher,
        stream.topic,
        stream.qos,
        stream.sent,
        len(stream.settled) - len(stream.refused),
        stream.refused.bounds,
        unsettled.bounds,
    )


def _outside(ledger: BulkLedger) -> Iterator[OutsideRow]:
    for stream in ledger.outside.values():
        for heard in stream.overheard.values():
            yield OutsideRow(
                heard.name,
                stream.publisher,
                stream.topic,
                heard.received.bounds,
                heard.repeated,
                heard.stored,
                heard.doubled,
                heard.out_of_order,
            )
