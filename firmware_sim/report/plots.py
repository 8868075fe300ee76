"""The report's plots: what a story and a result look like. How lines are drawn is in `svg.py` and `rows.py`."""

from collections.abc import Sequence
from itertools import chain, pairwise

from .latency import MS_NS, Latency, Sample
from .result import Result, Spending
from .rows import Lane, Span, Stack, bars, lanes, spans, stacks
from .story import Look, Story
from .svg import Plot, Point, around
from .times import Times
from .troubles import WORDS, Trouble, troubles

COLOURS = 8  # of page.css
MAX_DOTS = 12_000  # of all ways together; of more, some are drawn, and the page says so
DOTS_PER_STRETCH = 20
MAX_MARKS = 40
MAX_LINES = 7
SECOND_NS = 1_000_000_000

KINDS = {"cut": "cut", "change": "changed", "kill": "down", "power_cut": "down", "power_off": "down"}
"""What troubles look like, as classes of page.css; `odd` what is not here."""
CAUSES = ("transmit", "receive", "tail", "wake", "handshake", "poll", "rest")
"""Of a radio's charge, each in a colour of its own; the rest follow in others."""

Legend = list[tuple[str, int]]
"""Names and their colours."""


class Plots:
    """Draws one run.

    Attributes:
        is_thinned: whether some messages were left out of the latencies that were drawn last.
    """

    def __init__(self, result: Result, story: Story) -> None:
        self.is_thinned = False
        self._result = result
        self._story = story
        self._times = Times(max(1e-3, self._second(story.ended_ns)))
        self._troubles = troubles(story)
        self._colours = {way: index % COLOURS for index, way in enumerate(result.latency)}

    # ---- Latency

    def latency_over_time(self) -> tuple[Legend, str]:
        """A dot for each message; no plot without any."""
        points = {way: self._dots(samples) for way, samples in self._story.latencies.items() if samples}
        if not points:
            return [], ""
        values_ms = [took for _, took in chain.from_iterable(points.values())]
        plot = Plot(self._times, around(values_ms), "from call to callback", log_y=True, height=320)
        self._show_troubles(plot)
        for way, dots in points.items():
            plot.dots(dots, self._colours.get(way, 0))
        return [(way, self._colours.get(way, 0)) for way in points], plot.svg()

    def _dots(self, samples: Sequence[Sample]) -> list[Point]:
        """Where there are too many, every so many, and the slowest of each stretch."""
        ways = self._story.latencies
        every = -(-len(samples) * len(ways) // MAX_DOTS)
        if every > 1 and sum(map(len, ways.values())) > MAX_DOTS:
            self.is_thinned = True
            stretch = every * DOTS_PER_STRETCH
            slowest = (max(samples[start : start + stretch], key=_took) for start in range(0, len(samples), stretch))
            samples = [*samples[::every], *slowest]
        return [(self._second(at_ns), took_ns / MS_NS) for at_ns, took_ns in samples]

    def latency_by_way_and_class(self) -> str:
        """Percentiles on one scale: ways and values asked for; classes and orders until they are confirmed."""
        result = self._result
        ways = [(way, latency, self._colours[way]) for way, latency in result.latency.items()]
        ways += [(f"value asked for, {way}", latency, 5) for way, latency in result.answers.items()]
        classes = [(of, latency, 1) for of, latency in result.classes.items()]
        groups = [_spans(ways), _spans([*classes, ("order until confirmed", result.round_trips, 3)])]
        within = around(mark for group in groups for row in group for mark in row.marks)
        return "".join(spans(group, ("p50", "p95", "p99"), within) for group in groups if group)

    # ---- Links, nodes and devices

    def fortunes(self) -> str:
        """A band for each link, with what it carried, and for whoever else was in trouble."""
        rates = {link: self._rates(link) for link in self._result.links}
        hit = dict.fromkeys(trouble.who for trouble in self._troubles)
        rows = [self._lane(link, rates[link]) for link in rates]
        rows += [self._lane(who, []) for who in hit if who not in rates]
        return lanes(rows, self._times) if rows else ""

    def _lane(self, who: str, rates: list[Point]) -> Lane:
        spells = [
            (self._second(each.start_ns), self._second(each.end_ns), KINDS.get(each.what, "odd"), each.words)
            for each in self._troubles
            if each.who == who
        ]
        high = max((rate for _, rate in rates), default=0.0)
        if high:
            return Lane(who, f"at most {high:,.3g} KiB/s", spells, rates, high)
        return Lane(who, "", spells)

    def _rates(self, link: str) -> list[Point]:
        """In KiB/s, both directions: a step from each look to the next."""
        rates: list[Point] = []
        for before, look in pairwise(self._story.looks):
            if link in before.links and link in look.links and look.at_ns > max(before.at_ns, self._story.began_ns):
                moved = look.links[link].total_bytes - before.links[link].total_bytes
                rate = max(0, moved) / 1024 / ((look.at_ns - before.at_ns) / SECOND_NS)
                rates += [(self._second(before.at_ns), rate), (self._second(look.at_ns), rate)]
        return rates

    def trouble_words(self) -> list[str]:
        """What went wrong, each once."""
        return list(dict.fromkeys(WORDS[trouble.what] for trouble in self._troubles))

    # ---- What waited

    def waiting(self) -> tuple[Legend, str]:
        """Messages that had not arrived, and those that waited at nodes; no plot where nothing ever did."""
        looks = self._looks()
        awaited = self._story.awaited[len(self._story.looks) - len(looks) :]
        lines = {"due and not there": [float(count) for count in awaited]}
        for node in dict.fromkeys(chain.from_iterable(look.queued for look in looks)):
            lines[f"waiting at {node}"] = [float(look.queued.get(node, 0)) for look in looks]
        longest = sorted((name for name in lines if any(lines[name])), key=lambda name: -max(lines[name]))[:MAX_LINES]
        if not longest:
            return [], ""
        plot = Plot(self._times, (0.0, max(lines[longest[0]]) * 1.1), "messages", height=220)
        self._show_troubles(plot)
        for colour, name in enumerate(longest):
            plot.line([(self._second(look.at_ns), at) for look, at in zip(looks, lines[name], strict=True)], colour)
        return [(name, colour) for colour, name in enumerate(longest)], plot.svg()

    # ---- Economy

    def energy(self) -> tuple[Legend, str]:
        """What radios spent it on, population by population."""
        spent = {name: each for name, each in self._result.energy.items() if any(each.microcoulombs.values())}
        causes = dict.fromkeys(chain(CAUSES, chain.from_iterable(each.microcoulombs for each in spent.values())))
        legend = [(cause, index % COLOURS) for index, cause in enumerate(causes)]
        rows = [self._stack(name, each, legend) for name, each in spent.items()]
        return legend, stacks(rows) if rows else ""

    def _stack(self, population: str, spending: Spending, legend: Legend) -> Stack:
        shares = [(cause, spending.microcoulombs.get(cause, 0.0), colour) for cause, colour in legend]
        milliwatts = spending.joules / self._result.run.seconds * 1000 if self._result.run.seconds else 0.0
        battery = f"battery {battery_words(spending.battery_days)}" if spending.battery_days else "no battery"
        return Stack(population, spending.radio, shares, f"{milliwatts:.3g} mW", battery)

    def economy(self) -> str:
        """Bytes over links against bytes delivered."""
        groups = [
            (way, [("over links", each.link_bytes / 1024, 0), ("delivered", each.delivered_bytes / 1024, 1)])
            for way, each in self._result.economy.items()
        ]
        return bars(groups, "KiB") if groups else ""

    # ---- Time

    def _show_troubles(self, plot: Plot) -> None:
        """Those of links and nodes as shades, the others as lines, if these are not too many."""
        lines: list[Trouble] = []
        for trouble in self._troubles:
            if trouble.devices or trouble.start_ns == trouble.end_ns:
                lines.append(trouble)
            else:
                start, end = self._second(trouble.start_ns), self._second(trouble.end_ns)
                plot.shade(start, end, KINDS.get(trouble.what, "odd"), trouble.words)
        for trouble in lines if len(lines) <= MAX_MARKS else ():
            plot.mark(self._second(trouble.start_ns), trouble.words)

    def _looks(self) -> list[Look]:
        return [look for look in self._story.looks if look.at_ns >= self._story.began_ns]

    def _second(self, at_ns: int) -> float:
        return max(0.0, (at_ns - self._story.began_ns) / SECOND_NS)


def battery_words(days: float) -> str:
    """How long a battery lasts."""
    return f"{days:,.1f} days" if days < 10 else f"{days:,.0f} days" if days < 1000 else f"{days / 365.25:,.1f} years"


def _took(sample: Sample) -> int:
    return sample[1]


def _spans(rows: Sequence[tuple[str, Latency, int]]) -> list[Span]:
    return [
        Span(name, (latency.p50_ms, latency.p95_ms, latency.p99_ms), colour)
        for name, latency, colour in rows
        if latency.count
    ]
