"""Plots as SVG text: small, without a library, drawn with the page's own colours (`var(--c0)`, `var(--c1)`, ...)."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape

from .times import Times

Point = tuple[float, float]

WIDTH = 760.0
LEFT, RIGHT, TOP, BOTTOM = 64.0, 12.0, 22.0, 30.0
LETTER = 5.6  # about as wide as one is


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


def around(values_ms: Iterable[float]) -> tuple[float, float]:
    """Powers of ten around times in milliseconds, from a tenth of one upwards."""
    values = [max(value, 0.1) for value in values_ms] or [1.0]
    low, high = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values) * 1.01))
    return 10.0**low, 10.0 ** max(high, low + 1)


def time_words(ms: float) -> str:
    """Milliseconds on an axis: `10 ms`, `100 s`."""
    return f"{ms:g} ms" if ms < 1000 else f"{ms / 1000:,.0f} s"


@dataclass(slots=True)
class Plot:
    """A frame over the time of a run, filled layer by layer; `svg()` is the whole. Time is in seconds.

    Attributes:
        y: lowest and highest value.
        y_label: what the values are. Those on a logarithmic axis are milliseconds.
    """

    times: Times
    y: tuple[float, float]
    y_label: str
    log_y: bool = False
    height: float = 300.0
    _parts: list[str] = field(default_factory=list)
    _written: list[tuple[float, float]] = field(default_factory=list)

    @property
    def _x(self) -> Scale:
        return Scale(0.0, self.times.length_s, LEFT, WIDTH - RIGHT)

    @property
    def _y(self) -> Scale:
        return Scale(*self.y, self.height - BOTTOM, TOP, self.log_y)

    def shade(self, start: float, end: float, kind: str, text: str) -> None:
        """A band over the whole height: something was different meanwhile. `kind` is a class of page.css."""
        left, right = self._x(start), self._x(end)
        height = self.height - TOP - BOTTOM
        self._parts.append(
            f'<rect class="{kind}" x="{left:.1f}" y="{TOP}" width="{max(1.0, right - left):.1f}" height="{height}">'
            f"<title>{escape(text)}</title></rect>"
        )
        self._write((left + right) / 2, text)

    def mark(self, at: float, text: str) -> None:
        """A line over the whole height: something happened."""
        x = self._x(at)
        self._parts.append(
            f'<path class="mark" d="M{x:.1f} {TOP}V{self.height - BOTTOM}"><title>{escape(text)}</title></path>'
        )
        self._write(x, text)

    def _write(self, middle: float, text: str) -> None:
        """A note above the frame, unless another one is there already."""
        half = len(text) * LETTER / 2
        middle = min(max(middle, LEFT + half), WIDTH - RIGHT - half)
        if all(middle + half < left or middle - half > right for left, right in self._written):
            self._written.append((middle - half, middle + half))
            self._parts.append(
                f'<text class="note" x="{middle:.1f}" y="{TOP - 7}" text-anchor="middle">{escape(text)}</text>'
            )

    def dots(self, points: Iterable[Point], colour: int) -> None:
        """A dot for each point; of those at one place, one."""
        x, y = self._x, self._y
        places = dict.fromkeys((round(x(a) * 2), round(y(b) * 2)) for a, b in points)
        path = "".join(f"M{a / 2:g} {b / 2:g}h0" for a, b in places)
        self._parts.append(f'<path class="dots" stroke="var(--c{colour})" d="{path}"/>')

    def line(self, points: Sequence[Point], colour: int) -> None:
        """A line through all points."""
        x, y = self._x, self._y
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
        self._parts.append(f'<polyline class="line" stroke="var(--c{colour})" points="{path}"/>')

    def svg(self) -> str:
        """The plot."""
        return (
            f'<svg viewBox="0 0 {WIDTH:.0f} {self.height:.0f}" role="img" aria-label="{escape(self.y_label)}">'
            f"{self._axes()}{''.join(self._parts)}</svg>"
        )

    def _axes(self) -> str:
        y = self._y
        bottom, right = self.height - BOTTOM, WIDTH - RIGHT
        lines = [
            f'<path class="grid" d="M{LEFT} {y(tick):.1f}H{right}"/>'
            f'<text class="tick" x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">'
            f"{time_words(tick) if self.log_y else f'{tick:,g}'}</text>"
            for tick in y.ticks()
        ]
        middle = (TOP + bottom) / 2
        turned = f'transform="translate(12 {middle:.0f}) rotate(-90)" text-anchor="middle"'
        lines.append(f'<text class="label" {turned}>{escape(self.y_label)}</text>')
        return time_axis(self.times, self._x, bottom) + "".join(lines)


def time_axis(times: Times, x: Scale, bottom: float) -> str:
    """Ticks below a plot that ends at `bottom`."""
    ticks = [
        f'<text class="tick" x="{x(at):.1f}" y="{bottom + 14:.1f}" text-anchor="middle">{text}</text>'
        for at, text in times.ticks()
    ]
    label = f'<text class="label" x="{x.end}" y="{bottom + 28:.0f}" text-anchor="end">{times.unit[1]}</text>'
    return "".join(ticks) + label
