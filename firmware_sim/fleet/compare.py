"""`oriole fleet compare A.json B.json`: two runs side by side."""

import sys
from pathlib import Path

import msgspec

from firmware_sim.report.result import FORMAT, Result
from oriole.stdout import print_lines
from oriole.typed_yaml import ConfigError


def read(path: Path) -> Result:
    """The figures that `oriole fleet run --json` wrote. Raises `ConfigError`."""
    try:
        data = path.read_bytes()
        if msgspec.json.decode(data, type=_Format).format != FORMAT:
            raise ConfigError(f"{path}: written by another version of `oriole fleet run --json`")
        return msgspec.json.decode(data, type=Result)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not what `oriole fleet run --json` writes: {error}") from error


class _Format(msgspec.Struct):
    format: int = 0


def compare(first: Path, second: Path) -> int:
    """Print what differs; exit status 1 when the second lost or doubled more, or misses what the first met."""
    a, b = read(first), read(second)
    if a.run.scenario != b.run.scenario:
        print(f"oriole fleet: these are different scenarios: {a.run.scenario} and {b.run.scenario}", file=sys.stderr)
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{a.run.scenario}: {first.name} and {second.name}", box=None, title_justify="left")
    table.add_column("")
    for name in (first.name, second.name, "ratio"):
        table.add_column(name, justify="right")
    for what, left, right in _figures(a, b):
        ratio = f"{right / left:.2f}" if left else ""
        table.add_row(what, f"{left:g}", f"{right:g}", ratio)
    console = Console(width=None if Console().is_terminal else 140)
    with console.capture() as figures:
        console.print(table)
    before = {judgement.expectation: judgement.state for judgement in a.judgements}
    worse = [each for each in b.judgements if each.state == "missed" and before.get(each.expectation) == "met"]
    print_lines([*figures.get().splitlines(), *(f"worse: {judgement}" for judgement in worse)])
    total_a, total_b = a.accounts.total, b.accounts.total
    return int(bool(worse) or total_b.lost > total_a.lost or total_b.doubled > total_a.doubled)


def _figures(a: Result, b: Result) -> list[tuple[str, float, float]]:
    rows: list[tuple[str, float, float]] = [
        (name.replace("_", " "), getattr(a.accounts.total, name), getattr(b.accounts.total, name))
        for name in a.accounts.total.__struct_fields__
    ]
    for title, left, right in (("", a.latency, b.latency), ("class ", a.classes, b.classes)):
        rows += [
            (f"{title}{way}, {part.replace('_', ' ')}", getattr(left[way], part), getattr(right[way], part))
            for way in left
            if way in right
            for part in ("p50_ms", "p99_ms")
        ]
    rows += [
        (f"{way}: bytes over links for each delivered", a.economy[way].ratio, b.economy[way].ratio)
        for way in a.economy
        if way in b.economy
    ]
    rows += [
        (f"{population}: joules per device, modelled", a.energy[population].joules, b.energy[population].joules)
        for population in a.energy
        if population in b.energy
    ]
    return rows
