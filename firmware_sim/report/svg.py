"""Plots as SVG text: small, without a library, drawn with the page's own colours (`var(--c0)`, `var(--c1)`, ...)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

Point = tuple[float, float]

LEFT, RIGHT, TOP, BOTTOM = 64.0, 12.0, 12.0, 30.0


@dataclass(slots=True, frozen=True)
class Scale:
    """Values onto pixels, straight or logarithmic (then `low` is above 0)."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        low, high, value = self.low, self.high, min(max(value, self.low), self.high)
        if self.logarithmic:
            low, high, value = math.log10(low), math.log10(high), math.log10(value)
        return self.start + (value - low) / ((high - low) or 1.0) * (self.end - self.start)

    def ticks(self) -> list[float]:
        """Round values to label: powers of ten, or about five steps of 1, 2 or 5."""
        if self.logarithmic:
            powers = range(math.ceil(math.log10(self.low) - 1e-9), math.floor(math.log10(self.high) + 1e-9) + 1)
            return [10.0**power for power in powers]
        step = 10 ** math.floor(math.log10(max(self.high - self.low, 1e-9) / 5))
        step *= next(factor for factor in (1, 2, 5, 10) if (self.high - self.low) / (step * factor) <= 6)
        first = math.ceil(self.low / step - 1e-9)
        return [n * step for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


@dataclass(slots=True)
class Plot:
    """A frame with two axes, filled layer by layer; `svg()` is the whole."""

    x: tuple[float, float]
    y: tuple[float, float]
    x_label: str
    y_label: str
    log_y: bool = False
    width: float = 760.0
    height: float = 300.0
    _parts: list[str] = field(default_factory=list)

    @property
    def _x(self) -> Scale:
        return Scale(*self.x, LEFT, self.width - RIGHT)

    @property
    def _y(self) -> Scale:
        return Scale(*self.y, self.height - BOTTOM, TOP, self.log_y)

    def shade(self, start: float, end: float, text: str) -> None:
        """A band over the whole height: something was different meanwhile."""
        left, right = self._x(start), self._x(end)
        height = self.height - TOP - BOTTOM
        self._parts.append(
            f'<rect class="shade" x="{left:.1f}" y="{TOP}" width="{right - left:.1f}" height="{height}"/>'
            f'<text class="note" x="{(left + right) / 2:.1f}" y="{TOP + 12}" text-anchor="middle">{escape(text)}</text>'
        )

    def dots(self, points: Iterable[Point], colour: int) -> None:
        """A dot for each point."""
        x, y = self._x, self._y
        path = "".join(f"M{x(a):.1f} {y(b):.1f}h0" for a, b in points)
        self._parts.append(f'<path class="dots" stroke="var(--c{colour})" d="{path}"/>')

    def line(self, points: Sequence[Point], colour: int) -> None:
        """A line through all points."""
        x, y = self._x, self._y
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
        self._parts.append(f'<polyline class="line" stroke="var(--c{colour})" points="{path}"/>')

    def svg(self) -> str:
        """The plot."""
        return (
            f'<svg viewBox="0 0 {self.width:.0f} {self.height:.0f}" role="img" aria-label="{escape(self.y_label)}">'
            f"{self._axes()}{''.join(self._parts)}</svg>"
        )

    def _axes(self) -> str:
        x, y = self._x, self._y
        bottom, right = self.height - BOTTOM, self.width - RIGHT
        lines = [
            f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{right}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
            for tick in y.ticks()
        ]
        lines += [
            f'<text class="tick" x="{x(tick):.1f}" y="{bottom + 14:.1f}" text-anchor="middle">{tick:g}</text>'
            for tick in x.ticks()
        ]
        middle = (TOP + bottom) / 2
        lines.append(
            f'<text class="label" x="{right}" y="{self.height - 2}" text-anchor="end">{escape(self.x_label)}</text>'
        )
        lines.append(
            f'<text class="label" transform="translate(14 {middle:.0f}) rotate(-90)" text-anchor="middle">'
            f"{escape(self.y_label)}</text>"
        )
        return "".join(lines)


@dataclass(slots=True, frozen=True)
class Span:
    """A row of `spans`: a bar from the first mark to the last, each mark with its value."""

    name: str
    marks: tuple[float, ...]
    colour: int


def spans(rows: Sequence[Span], unit: str, marks: Sequence[str], width: float = 760.0) -> str:
    """Rows of marks on one logarithmic scale, so that what is far apart can be compared."""
    row_height, left = 30.0, 210.0
    values = [max(mark, 0.05) for row in rows for mark in row.marks] or [1.0]
    low, high = 10 ** math.floor(math.log10(min(values))), 10 ** math.ceil(math.log10(max(values) * 1.01))
    x = Scale(low, high, left, width - 40, logarithmic=True)
    height = row_height * len(rows) + 40
    parts = [
        f'<path class="grid" d="M{x(tick):.1f} 6V{height - 34:.0f}"/>'
        f'<text class="tick" x="{x(tick):.1f}" y="{height - 20:.0f}" text-anchor="middle">{tick:g}</text>'
        for tick in x.ticks()
    ]
    for index, row in enumerate(rows):
        y = row_height * index + 20
        places = [x(max(mark, 0.05)) for mark in row.marks]
        parts.append(f'<text class="row" x="{left - 12}" y="{y + 4:.0f}" text-anchor="end">{escape(row.name)}</text>')
        parts.append(f'<path class="span" stroke="var(--c{row.colour})" d="M{places[0]:.1f} {y}H{places[-1]:.1f}"/>')
        parts += [
            f'<circle cx="{place:.1f}" cy="{y}" r="{6 - 1.5 * n}" fill="var(--c{row.colour})">'
            f"<title>{escape(row.name)}: {name} {mark:.1f} {escape(unit)}</title></circle>"
            for n, (place, mark, name) in enumerate(zip(places, row.marks, marks, strict=True))
        ]
        parts.append(f'<text class="tick" x="{places[-1] + 8:.1f}" y="{y + 4:.0f}">{row.marks[0]:.1f}</text>')
    label = f"{unit}, logarithmic; dots: {', '.join(marks)}; the number is the {marks[0]}"
    parts.append(f'<text class="label" x="{width - 40}" y="{height - 4:.0f}" text-anchor="end">{escape(label)}</text>')
    return f'<svg viewBox="0 0 {width:.0f} {height:.0f}" role="img" aria-label="{escape(unit)}">{"".join(parts)}</svg>'


def bars(rows: Sequence[tuple[str, Sequence[tuple[str, float, int]]]], unit: str, width: float = 760.0) -> str:
    """Groups of horizontal bars: (group, [(name, value, colour)])."""
    left, bar, gap = 210.0, 18.0, 10.0
    high = max((value for _, group in rows for _, value, _ in group), default=1.0) or 1.0
    parts: list[str] = []
    y = 4.0
    for title, group in rows:
        middle = y + bar * len(group) / 2 + 4
        parts.append(f'<text class="row" x="{left - 12}" y="{middle:.0f}" text-anchor="end">{escape(title)}</text>')
        for name, value, colour in group:
            length = max(1.0, value / high * (width - left - 190))
            size = f'width="{length:.1f}" height="{bar - 3}"'
            words = escape(f"{value:,.0f} {unit} {name}")
            parts.append(
                f'<rect x="{left}" y="{y:.0f}" {size} rx="2" fill="var(--c{colour})"/>'
                f'<text class="tick" x="{left + length + 6:.1f}" y="{y + 12:.0f}">{words}</text>'
            )
            y += bar
        y += gap
    return f'<svg viewBox="0 0 {width:.0f} {y:.0f}" role="img" aria-label="{escape(unit)}">{"".join(parts)}</svg>'
