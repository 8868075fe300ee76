"""Prints a benchmark for people. rich is imported here and nowhere else in the benchmark."""

from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from firmware_sim.bench.memory import Memory
from firmware_sim.bench.verdict import REFERENCE, Bound, Verdict

_FILE_COLUMNS = 160
"""Width when the output is no terminal: nothing is cut there."""


def print_results(verdicts: Sequence[Verdict], memory: Iterable[Memory]) -> None:
    """The rows, what went wrong in them, and the memory of idle nodes."""
    console = Console()
    if not console.is_terminal:
        console = Console(width=_FILE_COLUMNS)
    console.print(_rows(verdicts))
    for verdict in verdicts:
        who = f"{verdict.row}, {verdict.broker}"
        if not verdict.correct:
            console.print(f"{who}: {verdict.problem}", style="red", markup=False)
        if verdict.limit == "generator":
            console.print(f"{who}: the generator was the limit: no figure of the broker's speed", style="yellow")
    if any(verdict.loop == "Python" for verdict in verdicts):
        console.print("No C compiler: brokers that write packet by packet look cheaper than they are", style="yellow")
    console.print(_memory(memory))


def _rows(verdicts: Iterable[Verdict]) -> Table:
    table = Table(title="medians; CPU is the broker's, latency only at a fixed rate")
    table.add_column("row", no_wrap=True)
    table.add_column("broker", no_wrap=True)
    for heading in (
        *("CPU us per\ndelivery", f"of\n{REFERENCE}", "deliveries\nper s", "p50\nus", "p99\nus"),
        *("KiB per\nconnection", "broker\nCPU", "generator\nCPU"),
    ):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("limit", no_wrap=True)
    table.add_column("bounds", no_wrap=True)
    last = ""
    for verdict in verdicts:
        if last and verdict.row != last:
            table.add_section()
        table.add_row(
            verdict.row if verdict.row != last else "",
            verdict.broker if verdict.correct else f"[red]{verdict.broker} ✗[/]",
            _number(verdict.cpu_us, ".3g"),
            _number(verdict.ratio, ".3f"),
            _number(verdict.deliveries_per_s, ",.0f"),
            _number(verdict.p50_us, ",.0f"),
            _number(verdict.p99_us, ",.0f"),
            _number(verdict.kib_per_connection, ".2f"),
            _number(verdict.broker_cpu_percent, ".0f", " %"),
            _number(verdict.generator_cpu_percent, ".0f", " %"),
            verdict.limit,
            _bounds(verdict.bounds),
        )
        last = verdict.row
    return table


def _memory(memory: Iterable[Memory]) -> Table:
    table = Table(title="memory of an idle node")
    table.add_column("node")
    table.add_column("resident", justify="right")
    table.add_column("bound")
    for node in memory:
        outcome = escape(node.problem) or _bounds(node.bounds)
        table.add_row(node.node, _number(node.resident_mib, ".1f", " MiB"), outcome)
    return table


def _bounds(bounds: Iterable[Bound]) -> str:
    return "\n".join(f"[green]{bound.text} ✓[/]" if bound.kept else f"[red]{bound.text} missed[/]" for bound in bounds)


def _number(value: float | None, form: str, unit: str = "") -> str:
    return "–" if value is None else f"{value:{form}}{unit}"
