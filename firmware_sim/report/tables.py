"""Results for people at a terminal, readable on 80 columns. rich is imported only here and in the demo's live view."""

from collections.abc import Iterable, Mapping

from rich.console import Group
from rich.table import Table
from rich.text import Text

from .accounts import COLUMNS, Books
from .latency import Latency
from .measures import State
from .plots import battery_words
from .result import Result

UNDELIVERED = ("expired", "replaced", "dropped", "refused", "queued", "lost QoS 0")
"""Of `COLUMNS`, those that have a table of their own: usually there is nothing in it."""
ARRIVED = tuple(name for name in COLUMNS if name not in UNDELIVERED)
STYLES = {State.MET: "green", State.MISSED: "bold red", State.WAITING: "yellow", State.UNJUDGED: "yellow"}


def summary(result: Result) -> Group:
    """Everything that a person wants to know at the end."""
    tables = (
        books_table(result),
        undelivered_table(result),
        reasons_table(result),
        latency_table(result),
        classes_table(result),
        energy_table(result),
        expectations_table(result),
    )
    return Group(*(table for table in tables if table.row_count))


def books_table(result: Result) -> Table:
    """What became of every message, by way."""
    accounts = result.accounts
    return _books("messages", accounts.ways, accounts.total, ARRIVED)


def undelivered_table(result: Result) -> Table:
    """The other ends, of those ways that have some."""
    ways = {
        way: books
        for way, books in result.accounts.ways.items()
        if any(getattr(books, COLUMNS[name]) for name in UNDELIVERED)
    }
    return _books("not delivered", ways, result.accounts.total, UNDELIVERED)


def reasons_table(result: Result) -> Table:
    """Why messages were not delivered."""
    table = _table("reasons", "why", "messages")
    for reason, count in result.accounts.reasons.items():
        table.add_row(reason, str(count))
    return table


def latency_table(result: Result) -> Table:
    """How long messages took, by way; apart from them what met a cut, and values asked for."""
    lines: list[tuple[str, Latency]] = [*result.latency.items()]
    lines += [(f"{way}, met a cut", latency) for way, latency in result.in_a_cut.items()]
    lines += [(f"value asked for, {way}", latency) for way, latency in result.answers.items()]
    return _latencies("latency in ms", lines)


def classes_table(result: Result) -> Table:
    """The same by class of message, and orders until they are confirmed."""
    return _latencies("by class", [*result.classes.items(), ("order until confirmed", result.round_trips)])


def energy_table(result: Result) -> Table:
    """What radios spent, by population."""
    table = _table("energy, modelled", "population", "radio", "mostly", "J per\ndevice", "battery")
    for population, spending in result.energy.items():
        whole = sum(spending.microcoulombs.values())
        if whole:
            cause = max(spending.microcoulombs, key=spending.microcoulombs.__getitem__)
            share = f"{cause} {spending.microcoulombs[cause] / whole:.0%}"
            battery = battery_words(spending.battery_days) if spending.battery_days else "·"
            table.add_row(population, spending.radio, share, f"{spending.joules:.4g}", battery)
    return table


def expectations_table(result: Result) -> Table:
    """What the scenario promises, and what it was. What waits for an issue is yellow, whatever was measured."""
    table = _table("expectations", "what", "it was")
    table.add_column("", vertical="bottom", max_width=24)
    for each in result.judgements:
        waits = f" for {each.waits_for}" if each.waits_for else ""
        value = "nothing to measure" if each.value is None else f"{each.value:.6g}"
        table.add_row(Text(each.expectation), value, Text(f"{each.state}{waits}", STYLES[each.state]))
    return table


def _books(title: str, ways: Mapping[str, Books], total: Books, names: Iterable[str]) -> Table:
    names = list(names)
    table = _table(title, "way", *(name.replace(" ", "\n", 1) for name in names))
    for way, books in [*ways.items(), *([("all", total)] if ways else [])]:
        counts = (str(getattr(books, COLUMNS[name]) or "·") for name in names)
        table.add_row(way, *counts, style="bold" if way == "all" else "")
    return table


def _latencies(title: str, lines: Iterable[tuple[str, Latency]]) -> Table:
    table = _table(title, "what", "count", "p50", "p95", "p99", "max")
    for what, latency in lines:
        if latency.count:
            figures = (latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms)
            table.add_row(what, str(latency.count), *(f"{figure:.1f}" for figure in figures))
    return table


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=f"\n{title}", title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column(first, overflow="fold", vertical="bottom")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True, vertical="bottom")
    return table
