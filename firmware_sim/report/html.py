"""The report as one HTML file: no scripts, no fonts, nothing fetched. All figures are those of a `Result`."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from string import Template

from .accounts import COLUMNS, Books
from .latency import Latency
from .measures import Judgement
from .plots import Legend, Plots, battery_words
from .result import Result, Run
from .story import Story
from .times import duration
from .troubles import WORDS

CARRIERS = {
    "virtual": "virtual time",
    "relay": "real programs and sockets, links relayed",
    "packets": "real programs, links as networks of packets",
}
"""What carried bytes, in words."""
LOOKED_FOR = ("due", "delivered", "lost", "doubled")
"""Of `COLUMNS`, what is shown even where it is 0 all over."""


@dataclass(slots=True, frozen=True)
class Card:
    """A figure that should be seen first, and what it is."""

    figure: str
    words: str


def page(result: Result, story: Story, cards: Sequence[Card] = ()) -> str:
    """The whole file."""
    plots = Plots(result, story)
    sections = [
        _expectations(result.judgements),
        _latency_over_time(plots),
        _fortunes(plots),
        _waiting(plots, result.run),
        _latency_by_way(plots),
        _energy(plots, result),
        _books(result),
        _economy(plots),
        _latency_table(result),
        _besides(result),
        _programs(result),
    ]
    texts = resources.files(__package__)
    return Template((texts / "page.html").read_text()).substitute(
        title=escape(result.run.scenario),
        about=escape(result.run.about),
        mood="" if result.is_well else "bad",
        verdict=escape(result.verdict),
        style=(texts / "page.css").read_text(),
        chips="".join(f"<span>{escape(chip)}</span>" for chip in _chips(result)),
        cards="".join(
            f'<div class="card"><b>{escape(c.figure)}</b><span>{escape(c.words)}</span></div>' for c in cards
        ),
        sections="\n".join(filter(None, sections)),
        footer=escape(_footer(result)),
    )


def _chips(result: Result) -> list[str]:
    """What kind of run it was."""
    run = result.run
    chips = [CARRIERS.get(run.carrier, run.carrier)]
    chips.append(f"{duration(run.seconds)} in {duration(run.took_s)}" if run.virtual else duration(run.seconds))
    if run.compress != 1:
        chips.append(f"schedule compressed by {run.compress:.4g}")
    chips.append(f"{sum(result.devices.values()):,} devices")
    if run.bulk:
        chips.append(f"{run.bulk:,} of them in bulk, from the load generator")
    return [*chips, f"seed {run.seed}"]


def _footer(result: Result) -> str:
    run = result.run
    devices = ", ".join(f"{count:,} {kind}" for kind, count in result.devices.items())
    lag = f"p50 {result.lag.p50_ms:.1f}, p99 {result.lag.p99_ms:.1f}, at most {result.lag.max_ms:.1f} ms"
    clock = "Time is virtual: nothing in it is late, and programs take none of it." if run.virtual else ""
    clock = clock or f"The fleet's own lag: {lag}."
    bulk = " Devices in bulk have no full client each: the load generator speaks for them." if run.bulk else ""
    squeezed = f" All durations of the scenario's file were divided by {run.compress:.6g}, those of links were not."
    return (
        f"{devices}. Run {run.run}. {clock}{bulk}{squeezed if run.compress != 1 else ''} "
        "Latency is from the publisher's call to the subscriber's callback, on one clock. "
        "Bytes over a link are those of whole packets."
    )


# ---- Sections


def _section(title: str, words: str, *parts: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p>{escape(words)}</p>{''.join(parts)}</section>"


def _legend(entries: Legend) -> str:
    items = "".join(
        f'<span><i style="background:var(--c{colour})"></i>{escape(name)}</span>' for name, colour in entries
    )
    return f'<div class="legend">{items}</div>'


def _expectations(judgements: Sequence[Judgement]) -> str:
    rows = []
    for each in judgements:
        value = "nothing to measure" if each.value is None else f"{each.value:,.4g}"
        waits = f"<small>for {escape(each.waits_for)}</small>" if each.waits_for else ""
        state = f'<td><span class="state {each.state}">{each.state}</span>{waits}</td>'
        rows.append(f'<tr>{state}<td class="text">{escape(each.expectation)}</td><td>{escape(value)}</td></tr>')
    if not rows:
        return ""
    words = "What the scenario promises. What waits for work to come is measured, and not counted as met."
    return _section("Expectations", words, _table(("", "what", "it was"), rows, texts=2))


def _latency_over_time(plots: Plots) -> str:
    legend, plot = plots.latency_over_time()
    if not plot:
        return ""
    words = "Each dot is a message that a device got while it was awake, by the way it took."
    if plots.is_thinned:
        words += " Where there are many, only some are drawn, the slowest among them; none is left out of the figures."
    return _section("Every push, when it was sent and how long it took", words, _legend(legend), plot)


def _fortunes(plots: Plots) -> str:
    drawn = plots.fortunes()
    happened = plots.trouble_words()
    words = "What each link carried, both directions."
    if happened:
        words += f" In colour: {', '.join(happened)}."
    return _section("Links, and what went wrong", words, drawn) if drawn else ""


def _waiting(plots: Plots, run: Run) -> str:
    legend, plot = plots.waiting()
    words = "Messages that were due to somebody and not there yet, for whatever reason: on their way, or for a sleeper."
    words += " And those that waited at nodes." if run.virtual else " What waits inside a program, nobody sees."
    return _section("What waited", words, _legend(legend), plot) if plot else ""


def _latency_by_way(plots: Plots) -> str:
    plot = plots.latency_by_way_and_class()
    words = "While all links carried, to subscribers that were awake. What met a cut is apart, in the figures below."
    return _section("Latency by way and by class", words, plot) if plot else ""


def _energy(plots: Plots, result: Result) -> str:
    legend, plot = plots.energy()
    if not plot:
        return ""
    rows = [
        f"<tr>{_text(name)}{_text(f'{each.radio}, {each.basis}')}<td>{each.devices:,}</td>"
        f"<td>{_figure(sum(each.microcoulombs.values()) / 1000)}</td><td>{_figure(each.joules)}</td>"
        f"<td>{battery_words(each.battery_days) if each.battery_days else '·'}</td></tr>"
        for name, each in result.energy.items()
    ]
    words = "What the radio of a device spends its charge on: modelled from what was sent and received and when."
    head = ("population", "radio", "devices", "mC per device", "J per device", "battery, at worst")
    return _section("Energy, modelled", words, _legend(legend), plot, _table(head, rows, texts=2))


def _economy(plots: Plots) -> str:
    words = "Whole packets over the links, against topics and payloads that devices received."
    plot = plots.economy()
    return _section("Bytes over links against bytes delivered", words, plot) if plot else ""


# ---- Tables


def _books(result: Result) -> str:
    accounts = result.accounts
    words = "A message counts once for each device that it was due to. Late and after sleep are among the delivered."
    parts = [_books_table("way", {**accounts.ways, "all": accounts.total}), _books_table("class", accounts.classes)]
    if accounts.reasons:
        rows = [f"<tr>{_text(reason)}<td>{count:,}</td></tr>" for reason, count in accounts.reasons.items()]
        parts.append(_table(("why not delivered", "messages"), rows))
    parts += [f'<p class="bad">{escape(fault)}</p>' for fault in accounts.faults]
    return _section("What became of every message", words, *parts)


def _books_table(first: str, books: Mapping[str, Books]) -> str:
    """Without the columns in which there is nothing, but those that everybody looks for."""
    names = [
        name
        for name, figure in COLUMNS.items()
        if name in LOOKED_FOR or any(getattr(each, figure) for each in books.values())
    ]
    rows = []
    for row, each in books.items():
        cells = (_cell(getattr(each, COLUMNS[name]), is_bad=name in ("lost", "doubled")) for name in names)
        rows.append(f"<tr{' class=all' if row == 'all' else ''}>{_text(row)}{''.join(cells)}</tr>")
    return _table((first, *names), rows)


def _cell(count: int, is_bad: bool) -> str:
    return f'<td class="bad">{count:,}</td>' if count and is_bad else f"<td>{f'{count:,}' if count else '·'}</td>"


def _latency_table(result: Result) -> str:
    lines: list[tuple[str, Latency]] = [*result.latency.items(), *result.classes.items()]
    lines += [(f"{way}, met a cut", latency) for way, latency in result.in_a_cut.items()]
    lines += [(f"value asked for, {way}", latency) for way, latency in result.answers.items()]
    lines.append(("order until confirmed", result.round_trips))
    rows = []
    for what, latency in lines:
        figures = (latency.p50_ms, latency.p95_ms, latency.p99_ms, latency.max_ms)
        cells = "".join(f"<td>{_figure(figure)}</td>" for figure in figures)
        if latency.count:
            rows.append(f"<tr>{_text(what)}<td>{latency.count:,}</td>{cells}</tr>")
    words = "Milliseconds. What met a cut link, or the second after it, is counted apart."
    return _section("Latency in figures", words, _table(("what", "count", "p50", "p95", "p99", "max"), rows))


def _besides(result: Result) -> str:
    """What was done, and what happened that is no message."""
    lines: list[tuple[str, int]] = [(WORDS[what], n) for what, n in result.incidents.items() if what in WORDS]
    lines += [(f"installed firmware {version}", count) for version, count in result.installed.items()]
    lines += [(what, count) for what, count in result.notes.items()]
    if result.answers_without_value:
        lines.append(("values asked for that were not there", result.answers_without_value))
    rows = [f"<tr>{_text(what)}<td>{count:,}</td></tr>" for what, count in lines]
    words = "What was done to nodes, links and devices, and what happened that is no message."
    return _section("Besides", words, _table(("what", "times"), rows)) if rows else ""


def _programs(result: Result) -> str:
    rows = [f"<tr>{_text(n)}<td>{cpu_s:.1f}</td><td>{mib:.0f}</td></tr>" for n, (cpu_s, mib) in result.usage.items()]
    head = ("node", "CPU in s", "MiB resident")
    return _section("The programs", "What each used, from /proc.", _table(head, rows)) if rows else ""


def _figure(value: float) -> str:
    """With as many digits as somebody reads."""
    return f"{value:,.1f}" if abs(value) < 10_000 else f"{value:,.0f}"


def _text(words: str) -> str:
    return f'<td class="text">{escape(words)}</td>'


def _table(head: Iterable[str], rows: Sequence[str], texts: int = 1) -> str:
    """`texts`: so many columns at the left are words."""
    cells = (
        f'<th class="text">{escape(name)}</th>' if index < texts else f"<th>{escape(name)}</th>"
        for index, name in enumerate(head)
    )
    return f"<table><tr>{''.join(cells)}</tr>{''.join(rows)}</table>"
