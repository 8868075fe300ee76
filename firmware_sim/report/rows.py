"""Plots that are rows with names: lanes of time, spans of latencies, bars, and wholes with their parts."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from .svg import RIGHT, WIDTH, Point, Scale, time_axis, time_words
from .times import Times

NAMES = 210.0  # where rows begin, beside their names


@dataclass(slots=True, frozen=True)
class Lane:
    """A row of `lanes`: how somebody fared over the time of the run."""

    name: str
    note: str = ""
    """Below the name."""
    spells: Sequence[tuple[float, float, str, str]] = ()
    """From, until, a class of page.css, and words."""
    area: Sequence[Point] = ()
    """What it carried meanwhile: seconds and a share of `high`."""
    high: float = 1.0


def lanes(rows: Sequence[Lane], times: Times) -> str:
    """Rows over one axis of time."""
    x = Scale(0.0, times.length_s, NAMES, WIDTH - RIGHT)
    parts: list[str] = []
    y = 6.0
    for row in rows:
        height = 40.0 if row.area else 20.0
        middle = y + height / 2 + (-2 if row.note else 4)
        parts.append(f'<text class="row" x="{NAMES - 12}" y="{middle:.0f}" text-anchor="end">{escape(row.name)}</text>')
        if row.note:
            where = f'x="{NAMES - 12}" y="{middle + 14:.0f}" text-anchor="end"'
            parts.append(f'<text class="tick" {where}>{escape(row.note)}</text>')
        parts.append(
            f'<rect class="well" x="{NAMES}" y="{y:.1f}" width="{WIDTH - RIGHT - NAMES:.1f}" height="{height}" rx="3"/>'
        )
        for start, end, kind, words in row.spells:
            width = max(1.5, x(end) - x(start))
            parts.append(
                f'<rect class="{kind}" x="{x(start):.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}">'
                f"<title>{escape(words)}</title></rect>"
            )
        if row.area:
            parts.append(_area(row, x, Scale(0.0, row.high, y + height, y + 3)))
        y += height + 8
    parts.append(time_axis(times, x, y))
    return f'<svg viewBox="0 0 {WIDTH:.0f} {y + 32:.0f}" role="img" aria-label="over time">{"".join(parts)}</svg>'


def _area(row: Lane, x: Scale, y: Scale) -> str:
    path = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value in row.area)
    first, last = x(row.area[0][0]), x(row.area[-1][0])
    return f'<polygon class="area" points="{first:.1f},{y.start:.1f} {path} {last:.1f},{y.start:.1f}"/>'


@dataclass(slots=True, frozen=True)
class Span:
    """A row of `spans`: a bar from the first mark to the last, each mark with its value."""

    name: str
    marks: tuple[float, ...]
    colour: int


def spans(rows: Sequence[Span], marks: Sequence[str], within: tuple[float, float]) -> str:
    """Rows of marks in milliseconds on one logarithmic scale, so that what is far apart can be compared."""
    row_height = 26.0
    x = Scale(*within, NAMES, WIDTH - 56, logarithmic=True)
    height = row_height * len(rows) + 40
    parts = [
        f'<path class="grid" d="M{x(tick):.1f} 6V{height - 34:.0f}"/>'
        f'<text class="tick" x="{x(tick):.1f}" y="{height - 20:.0f}" text-anchor="middle">{time_words(tick)}</text>'
        for tick in x.ticks()
    ]
    for index, row in enumerate(rows):
        y = row_height * index + 18
        places = [x(max(mark, x.low)) for mark in row.marks]
        parts.append(f'<text class="row" x="{NAMES - 12}" y="{y + 4:.0f}" text-anchor="end">{escape(row.name)}</text>')
        parts.append(f'<path class="span" stroke="var(--c{row.colour})" d="M{places[0]:.1f} {y}H{places[-1]:.1f}"/>')
        parts += [
            f'<circle cx="{place:.1f}" cy="{y}" r="{6 - 1.5 * n}" fill="var(--c{row.colour})">'
            f"<title>{escape(row.name)}: {name} {mark:.1f} ms</title></circle>"
            for n, (place, mark, name) in enumerate(zip(places, row.marks, marks, strict=True))
        ]
        parts.append(f'<text class="tick" x="{places[-1] + 8:.1f}" y="{y + 4:.0f}">{row.marks[0]:,.1f}</text>')
    label = f"dots: {', '.join(marks)}; the number is the {marks[0]} in ms"
    parts.append(f'<text class="label" x="{WIDTH - 40}" y="{height - 4:.0f}" text-anchor="end">{escape(label)}</text>')
    return f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label="ms">{"".join(parts)}</svg>'


def bars(rows: Sequence[tuple[str, Sequence[tuple[str, float, int]]]], unit: str) -> str:
    """Groups of horizontal bars: (group, [(name, value, colour)])."""
    bar, gap = 18.0, 10.0
    high = max((value for _, group in rows for _, value, _ in group), default=1.0) or 1.0
    parts: list[str] = []
    y = 4.0
    for title, group in rows:
        middle = y + bar * len(group) / 2 + 4
        parts.append(f'<text class="row" x="{NAMES - 12}" y="{middle:.0f}" text-anchor="end">{escape(title)}</text>')
        for name, value, colour in group:
            length = max(1.0, value / high * (WIDTH - NAMES - 190))
            words = escape(f"{value:,.0f} {unit} {name}")
            size = f'width="{length:.1f}" height="{bar - 3}"'
            parts.append(
                f'<rect x="{NAMES}" y="{y:.0f}" {size} rx="2" fill="var(--c{colour})"/>'
                f'<text class="tick" x="{NAMES + length + 6:.1f}" y="{y + 12:.0f}">{words}</text>'
            )
            y += bar
        y += gap
    return f'<svg viewBox="0 0 {WIDTH:.0f} {y:.0f}" role="img" aria-label="{escape(unit)}">{"".join(parts)}</svg>'


@dataclass(slots=True, frozen=True)
class Stack:
    """A row of `stacks`: a whole, and what it is made of."""

    name: str
    note: str
    """Below the name."""
    shares: Sequence[tuple[str, float, int]]
    """Of what, how much, and its colour."""
    total: str
    """The whole, in words."""
    under: str = ""
    """Below these."""


def stacks(rows: Sequence[Stack]) -> str:
    """Rows of one length, each divided among what it is made of."""
    row_height, right = 44.0, WIDTH - 150
    parts: list[str] = []
    for index, row in enumerate(rows):
        y = row_height * index + 6
        parts.append(
            f'<text class="row" x="{NAMES - 12}" y="{y + 13:.0f}" text-anchor="end">{escape(row.name)}</text>'
            f'<text class="tick" x="{NAMES - 12}" y="{y + 27:.0f}" text-anchor="end">{escape(row.note)}</text>'
            f'<text class="row" x="{right + 8}" y="{y + 13:.0f}">{escape(row.total)}</text>'
            f'<text class="tick" x="{right + 8}" y="{y + 27:.0f}">{escape(row.under)}</text>'
        )
        whole = sum(value for _, value, _ in row.shares) or 1.0
        x = NAMES
        for name, value, colour in row.shares:
            width = value / whole * (right - NAMES)
            words = f"{name}: {value / whole:.1%}"
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.0f}" width="{width:.1f}" height="28" fill="var(--c{colour})">'
                f"<title>{escape(words)}</title></rect>"
            )
            if width > 34:
                where = f'x="{x + width / 2:.1f}" y="{y + 18:.0f}" text-anchor="middle"'
                parts.append(f'<text class="on" {where}>{value / whole:.0%}</text>')
            x += width
    height = row_height * len(rows) + 4
    return f'<svg viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img" aria-label="shares">{"".join(parts)}</svg>'
