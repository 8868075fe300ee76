"""Results for people at a terminal. rich is imported only here and in the demo's live view."""

from rich.console import Group
from rich.table import Table

from .accounts import COLUMNS
from .latency import Latency
from .result import Result


def summary(result: Result) -> Group:
    """Everything that a person wants to know at the end."""
    return Group(books_table(result), latency_table(result))


def books_table(result: Result) -> Table:
    """What became of every message, by way."""
    table = _table("messages", "way", *(name.replace(" ", "\n", 1) for name in COLUMNS))
    table.padding = (0, 1, 0, 0)  # eleven columns on 80: then the ways break, the figures and their names do not
    for way, books in [*result.accounts.ways.items(), ("all", result.accounts.total)]:
        counts = (_count(getattr(books, name)) for name in COLUMNS.values())
        table.add_row(way, *counts, style="bold" if way == "all" else "")
    return table


def latency_table(result: Result) -> Table:
    """How long messages took, by way; apart from them what met a cut, values asked for, and orders until confirmed."""
    table = _table("latency in ms", "what", "count", "p50", "p95", "p99", "max")
    for way, latency in result.latency.items():
        _add_latency(table, way, latency)
    for way, latency in result.in_a_cut.items():
        _add_latency(table, f"{way}, met a cut", latency)
    for way, latency in result.answers.items():
        _add_latency(table, f"value asked for, {way}", latency)
    _add_latency(table, "order until confirmed", result.round_trips)
    return table


def _table(title: str, first: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False)
    table.add_column(first, overflow="fold", vertical="bottom")
    for column in columns:
        table.add_column(column, justify="right", no_wrap=True, vertical="bottom")
    return table


def _add_latency(table: Table, what: str, latency: Latency) -> None:
    if latency.count:
        figures = (latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms)
        table.add_row(what, str(latency.count), *(f"{figure:.1f}" for figure in figures))


def _count(number: int) -> str:
    return str(number) if number else "·"
