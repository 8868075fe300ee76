"""The report as one HTML file: no scripts, no fonts, nothing fetched. All figures are those of a `Result`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from itertools import pairwise
from string import Template

from .accounts import COLUMNS
from .latency import MS_NS, Latency
from .result import Result
from .story import Look, Story
from .svg import Plot, Point, Span, bars, spans

COLOURS = 8  # of page.css
MAX_DOTS = 3000  # per way; of more, every so many is drawn, and the page says so
SECOND_NS = 1_000_000_000


@dataclass(slots=True, frozen=True)
class Card:
    """A figure that should be seen first, and what it is."""

    figure: str
    words: str


def page(result: Result, story: Story, cards: Sequence[Card] = (), facts: Sequence[tuple[str, str]] = ()) -> str:
    """The whole file. `facts` are lines of a last table, such as what the programs under test used."""
    colours = {way: index % COLOURS for index, way in enumerate(result.latency)}
    sections = [
        _latency_over_time(result, story, colours),
        _latency_by_way(result, colours),
        _bytes_over_time(result, story),
        _economy(result),
        _books(result),
        _latency_table(result),
        _facts(facts),
    ]
    texts = resources.files(__package__)
    devices = ", ".join(f"{count} {kind}" for kind, count in result.devices.items())
    return Template((texts / "page.html").read_text()).substitute(
        title=escape(result.scenario),
        about=escape(result.about),
        mood="" if result.accounts.is_clean else "bad",
        verdict=escape(result.verdict),
        style=(texts / "page.css").read_text(),
        cards="".join(
            f'<div class="card"><b>{escape(c.figure)}</b><span>{escape(c.words)}</span></div>' for c in cards
        ),
        sections="\n".join(filter(None, sections)),
        footer=escape(
            f"{sum(result.devices.values())} devices ({devices}), {result.seconds:.1f} s, seed {result.seed}, "
            f"run {result.run}. Latency is from the publisher's call to the subscriber's callback, on one clock. "
            f"Bytes over a link are the payload of TCP and UDP. The fleet's own lag: p50 {result.lag.p50_ms:.1f}, "
            f"p99 {result.lag.p99_ms:.1f}, at most {result.lag.max_ms:.1f} ms."
        ),
    )


def _section(title: str, words: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(words)}</p>{''.join(parts)}</section>"


def _legend(entries: Iterable[tuple[str, int]]) -> str:
    items = "".join(
        f'<span><i style="background:var(--c{colour})"></i>{escape(name)}</span>' for name, colour in entries
    )
    return f'<div class="legend">{items}</div>'


# ---- Plots


def _latency_over_time(result: Result, story: Story, colours: dict[str, int]) -> str:
    points: dict[str, list[Point]] = {}
    thinned = False
    for way, samples in story.latencies.items():
        every = max(1, len(samples) // MAX_DOTS)
        thinned |= every > 1
        points[way] = [(_second(story, at), max(took / MS_NS, 0.1)) for at, took in samples[::every]]
    everything = [took for way in points.values() for _, took in way]
    if not everything:
        return ""
    highest = max(1000.0, max(everything) * 1.3)
    plot = Plot((0, _second(story, story.ended_ns)), (0.1, highest), "seconds", "latency in ms", log_y=True)
    _shade_cuts(plot, story)
    for way, dots in points.items():
        plot.dots(dots, colours[way])
    words = "Each dot is a message that a device got, by the way it took."
    if thinned:
        words += f" Of ways with more than {MAX_DOTS} messages, some are left out here, none in the figures."
    return _section("Every push, when it was sent and how long it took", words, _legend(colours.items()), plot.svg())


def _latency_by_way(result: Result, colours: dict[str, int]) -> str:
    rows = [_span(way, latency, colours[way]) for way, latency in result.latency.items() if latency.count]
    rows += [_span(f"value asked for, {way}", latency, 5) for way, latency in result.answers.items() if latency.count]
    words = "While all links carried, to subscribers that were awake. In a cut is apart, in the table below."
    return _section("Latency by way", words, spans(rows, "ms", ("p50", "p95", "p99")))


def _span(name: str, latency: Latency, colour: int) -> Span:
    return Span(name, (latency.p50_ms, latency.p95_ms, latency.p99_ms), colour)


def _bytes_over_time(result: Result, story: Story) -> str:
    looks = [look for look in story.looks if look.at_ns >= story.began_ns]
    if len(looks) < 2 or not result.links:
        return ""
    lines = {link: _rates(story, looks, link) for link in result.links}
    highest = max((rate for line in lines.values() for _, rate in line), default=1.0) or 1.0
    plot = Plot(
        (0, _second(story, story.ended_ns)), (0, highest * 1.1), "seconds", "KiB/s, both directions", height=220
    )
    _shade_cuts(plot, story)
    for colour, line in enumerate(lines.values()):
        plot.line(line, colour % COLOURS)
    legend = _legend((link, index % COLOURS) for index, link in enumerate(lines))
    return _section(
        "What the links carried", "A cut link carries nothing, and afterwards what waited.", legend, plot.svg()
    )


def _rates(story: Story, looks: Sequence[Look], link: str) -> list[Point]:
    rates: list[Point] = []
    for before, look in pairwise(looks):
        if link in before.links and link in look.links:
            moved = look.links[link].total_bytes - before.links[link].total_bytes
            seconds = (look.at_ns - before.at_ns) / SECOND_NS
            rates.append((_second(story, look.at_ns), moved / 1024 / seconds))
    return rates


def _economy(result: Result) -> str:
    if not result.economy:
        return ""
    groups = [
        (way, [("over the link", e.link_bytes / 1024, 0), ("delivered to devices", e.delivered_bytes / 1024, 1)])
        for way, e in result.economy.items()
    ]
    words = "Payload of TCP and UDP over the links, against topics and payloads that devices received."
    return _section("Bytes over the link against bytes delivered", words, bars(groups, "KiB"))


def _shade_cuts(plot: Plot, story: Story) -> None:
    for cut in story.cuts:
        plot.shade(_second(story, cut.start_ns), _second(story, cut.end_ns), f"{cut.link} cut")


def _second(story: Story, at_ns: int) -> float:
    return max(0.0, (at_ns - story.began_ns) / SECOND_NS)


# ---- Tables


def _books(result: Result) -> str:
    rows = []
    for way, books in [*result.accounts.ways.items(), ("all", result.accounts.total)]:
        cells = "".join(_cell(getattr(books, name), is_bad=name in ("lost", "doubled")) for name in COLUMNS.values())
        rows.append(f'<tr class="{"all" if way == "all" else ""}"><td>{escape(way)}</td>{cells}</tr>')
    words = "A message counts once for each device that it was due to. Replaced: a newer state of its topic arrived."
    faults = "".join(f"<p>{escape(fault)}</p>" for fault in result.accounts.faults)
    return _section("What became of every message", words, _table(("way", *COLUMNS), rows), faults)


def _cell(count: int, is_bad: bool) -> str:
    return f'<td class="bad">{count}</td>' if count and is_bad else f"<td>{count or '·'}</td>"


def _latency_table(result: Result) -> str:
    lines = [*result.latency.items()]
    lines += [(f"{way}, met a cut", latency) for way, latency in result.in_a_cut.items()]
    lines += [(f"value asked for, {way}", latency) for way, latency in result.answers.items()]
    lines.append(("order until confirmed", result.round_trips))
    rows = []
    for what, latency in lines:
        figures = (latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms)
        cells = "".join(f"<td>{figure:.1f}</td>" for figure in figures)
        if latency.count:
            rows.append(f"<tr><td>{escape(what)}</td><td>{latency.count}</td>{cells}</tr>")
    words = "Milliseconds. What met a cut link, or the second after it, is counted apart."
    return _section("Latency in figures", words, _table(("what", "count", "p50", "p95", "p99", "max"), rows))


def _facts(facts: Sequence[tuple[str, str]]) -> str:
    rows = [f"<tr><td>{escape(name)}</td><td>{escape(value)}</td></tr>" for name, value in facts]
    return _section("The programs", "What they used, from /proc.", _table(("", ""), rows)) if rows else ""


def _table(head: Sequence[str], rows: Sequence[str]) -> str:
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{''.join(rows)}</table>"
