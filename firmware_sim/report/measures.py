"""What a scenario expects, measured on a run that is over."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import msgspec

from firmware_sim.scenario.expectation import Expectation

from .accounts import Accounts, Books, population_of, sum_of, way_name
from .latency import Latency, split, summarise
from .ledger import Ledger
from .story import Cut

MS_NS = 1_000_000


class State(StrEnum):
    """What became of an expectation."""

    MET = "met"
    MISSED = "missed"
    WAITING = "waiting"
    """For a named issue: measured, and never counted as met."""
    UNJUDGED = "not judged"
    """A battery where time is compressed: radios rest in seconds of their own, and there they hardly would. What might
    still have become true, where somebody ended the run early."""


class Judgement(msgspec.Struct, frozen=True):
    """An expectation and what was measured; `value` is None where there was nothing to measure, which meets nothing."""

    expectation: str
    value: float | None
    state: State
    waits_for: str = ""

    def __str__(self) -> str:
        """In a line."""
        value = "nothing to measure" if self.value is None else f"{self.value:g}"
        waits = f", waiting for {self.waits_for}" if self.waits_for else ""
        return f"{self.state.value}: {self.expectation}; it was {value}{waits}"


@dataclass(slots=True)
class Measures:
    """What there is to measure in.

    Attributes:
        planned_updates: how many devices were offered new firmware.
        batteries: days that the battery of each device lasts at this rate; None where time is compressed.
        economy: bytes over the links for each byte delivered, by connection.
        was_stopped: whether somebody ended the run early.
    """

    ledger: Ledger
    accounts: Accounts
    cuts: Sequence[Cut]
    planned_updates: int
    batteries: Mapping[str, float] | None
    economy: Mapping[str, float]
    was_stopped: bool = False

    def judge(self, expectation: Expectation) -> Judgement:
        """Measure what is expected."""
        if expectation.measure == "battery_days" and self.batteries is None:
            return Judgement(str(expectation), None, State.UNJUDGED)
        value = self._value(expectation)
        if expectation.waits_for:
            state = State.WAITING
        elif value is not None and expectation.holds(value):
            state = State.MET
        elif self.was_stopped and (expectation.at_least is not None or expectation.measure == "queued"):
            state = State.UNJUDGED
        else:
            state = State.MISSED
        return Judgement(str(expectation), value, state, expectation.waits_for)

    def _value(self, expectation: Expectation) -> float | None:
        measure = expectation.measure
        if measure.startswith("latency_"):
            sent = [(at_ns - took_ns, took_ns) for at_ns, took_ns in self._samples(expectation)]
            calm, _ = split(sent, [(cut.start_ns, cut.end_ns) for cut in self.cuts])
            latency = summarise(took_ns for _, took_ns in calm)
            value: float = getattr(latency, measure.removeprefix("latency_"))
            return value if latency.count else None
        match measure:
            case "lost" | "lost_qos0" | "doubled" | "dropped" | "expired" | "queued" | "refused":
                books = self._books(expectation)
                return float(getattr(books, measure)) if books.due else None
            case "delivered_share":
                books = self._books(expectation)
                return books.delivered / books.due if books.due else None
            case "late_share":
                books = self._books(expectation)
                return books.late / books.delivered if books.delivered else None
            case "out_of_order":
                return float(self.ledger.out_of_order)
            case "confirmed_share":
                return self.accounts.orders_confirmed / self.accounts.orders if self.accounts.orders else None
            case "updated_share":
                installed = sum(self.ledger.installed.values())
                return installed / self.planned_updates if self.planned_updates else None
            case "round_trip_p99_ms":
                return self._round_trips().p99_ms if self.ledger.confirmed_ns else None
            case "recovery_ms":
                return max(self._recoveries(expectation), default=None)
            case "battery_days":
                lives = self.batteries or {}
                days = (days for name, days in lives.items() if expectation.population in ("", population_of(name)))
                return min(days, default=None)
            case "link_bytes_per_byte":
                return (
                    self.economy.get(expectation.way) if expectation.way else max(self.economy.values(), default=None)
                )
        raise AssertionError(measure)

    def _books(self, expectation: Expectation) -> Books:
        return sum_of(
            detail.books
            for detail in self.accounts.details
            if expectation.way in ("", detail.way, detail.way.replace("→", "->"))
            and expectation.of in ("", detail.of)
            and expectation.population in ("", detail.population)
        )

    def _samples(self, expectation: Expectation) -> Iterator[tuple[int, int]]:
        """When received and how long it took, of what was due to somebody awake."""
        ledger = self.ledger
        for (name, ticket), copies in ledger.copies.items():
            message = ledger.messages[ticket]
            way = way_name(message.way, copies.way)
            if (
                copies.is_due
                and not copies.was_away
                and expectation.way in ("", way, way.replace("→", "->"))
                and expectation.of in ("", message.of)
                and expectation.population in ("", population_of(name))
            ):
                yield copies.first_ns, copies.first_ns - message.at_ns

    def _round_trips(self) -> Latency:
        return round_trips(self.ledger)

    def _recoveries(self, expectation: Expectation) -> Iterator[float]:
        """After each heal, until the first message that had waited for it."""
        waited = sorted((at_ns, at_ns - took_ns) for at_ns, took_ns in self._samples(expectation))
        for cut in self.cuts:
            first = next((at_ns for at_ns, sent_ns in waited if at_ns >= cut.end_ns > sent_ns >= cut.start_ns), None)
            if first is not None:
                yield (first - cut.end_ns) / MS_NS


def round_trips(ledger: Ledger) -> Latency:
    """From each order to the state that confirms it."""
    sent_ns = {(message.publisher, message.topic, message.number): message.at_ns for message in ledger.messages}
    return summarise(at_ns - sent_ns[order] for order, at_ns in ledger.confirmed_ns.items())


def tally(judgements: Sequence[Judgement]) -> Counter[State]:
    """How many of each state."""
    return Counter(judgement.state for judgement in judgements)
