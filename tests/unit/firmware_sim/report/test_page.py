"""The report: figures that are the result's, plots that are well-formed, and nothing fetched from anywhere."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Sequence

import msgspec
import pytest

from firmware_sim.links.link import Counters
from firmware_sim.report.accounts import COLUMNS, Books, close_books
from firmware_sim.report.html import Card, page
from firmware_sim.report.latency import Latency, Sample
from firmware_sim.report.ledger import Ledger, Message
from firmware_sim.report.measures import Judgement, State
from firmware_sim.report.result import Economy, Result, Run, Spending, make_result
from firmware_sim.report.rows import Lane, Span, Stack, bars, lanes, spans, stacks
from firmware_sim.report.story import Cut, Incident, Look, Story
from firmware_sim.report.svg import Plot, Scale, around
from firmware_sim.report.times import Times

SECOND = 1_000_000_000
RUN = Run(
    scenario="A <b>bold</b> house",
    about="about & so on",
    seed=1,
    run="cafe",
    virtual=True,
    carrier="virtual",
    compress=1.0,
    seconds=10.0,
    took_s=0.5,
)
MET, MISSED = Judgement("lost: at most 0", 0.0, State.MET), Judgement("doubled: at most 0", 3.0, State.MISSED)
WAITING = Judgement("dropped: at most 9", 4.0, State.WAITING, "issue <5>")
CALM = [(n * SECOND // 10, (n % 7 + 1) * SECOND // 100) for n in range(100)]


def result(
    samples: Sequence[Sample] = CALM,
    run: Run = RUN,
    judgements: Sequence[Judgement] = (MET,),
    lag_ms: float = 1.0,
    incidents: Sequence[Incident] = (),
) -> tuple[Result, Story]:
    ledger = Ledger("run")
    ledger.listens("phone", "#", 1, "<centre>", latest_only=False, now_ns=0)
    ledger.sent(Message("lamp-1", "a", 1, SECOND, 1, False, "state", b"", "edge"))
    ledger.ways["edge", "<centre>"].samples += samples
    looks = [Look(n * SECOND, {"dsl": Counters(n * 1024, n * 2048)}, {"house": n}) for n in range(11)]
    made = make_result(
        run=run,
        kinds=["lamp", "lamp", "watch"],
        ledger=ledger,
        accounts=close_books(ledger, 1000),
        judgements=[*judgements],
        windows=[(2 * SECOND, 3 * SECOND)],
        links={"dsl": Counters(10_240, 20_480)},
        economy={"edge": Economy(30_720, 10_240)},
        energy={"lamp": Spending("wifi", "modelled", 2, {"rest": 750.0, "tail": 250.0, "warmth": 0.0}, 2.5, 400.0)},
        lag=Latency(10, lag_ms, lag_ms, lag_ms, lag_ms),
        incidents={"cut": 1, "heal": 1},
        usage={"house": [1.5, 30.0]},
    )
    cuts = [Cut("dsl", 2 * SECOND, 3 * SECOND)]
    awaited = [3 * n for n in range(len(looks))]
    return made, Story(0, 10 * SECOND, looks, cuts, {"edge → <centre>": [*samples]}, [*incidents], awaited)


def sections(text: str) -> dict[str, str]:
    """By title."""
    return {part.partition("</h2>")[0]: part for part in text.split("<section><h2>")[1:]}


def test_the_page_fetches_nothing_and_escapes_everything() -> None:
    text = page(*result(judgements=[WAITING]), [Card("12 <ms>", "words & figures")])
    assert not re.search(r"https?:|//|@import|<script|<link|src=", text)
    assert "<b>bold</b>" not in text
    assert "<centre>" not in text
    assert "<5>" not in text
    assert "12 &lt;ms&gt;" in text


def test_every_plot_is_well_formed_xml() -> None:
    plots = re.findall(r"<svg.*?</svg>", page(*result()), re.DOTALL)
    assert len(plots) == 6
    for plot in plots:
        ET.fromstring(plot)


def test_the_figures_are_the_results() -> None:
    made, story = result()
    text = page(made, story)
    parts = sections(text)
    assert "1 messages due: 0 delivered" in text
    assert 'class="verdict bad"' in text, "a lost message is shown as one"
    latency = made.latency["edge → <centre>"]
    assert f"<td>{latency.count}</td><td>{latency.p50_ms:.1f}</td>" in parts["Latency in figures"]
    assert "30 KiB over links" in parts["Bytes over links against bytes delivered"]
    assert "at most 3 KiB/s" in parts["Links, and what went wrong"]
    assert "dsl cut" in parts["Links, and what went wrong"]
    for words in ("75%", "25%", "wifi, modelled", "400 days", "<td>2.5</td>"):
        assert words in parts["Energy, modelled"], words
    assert "waiting at house" in parts["What waited"]
    assert "<td>1.5</td><td>30</td>" in parts["The programs"]


def test_what_waits_is_not_green() -> None:
    rows = re.findall(r"<tr><td>(.*?)</tr>", sections(page(*result(judgements=[MET, MISSED, WAITING])))["Expectations"])
    assert [re.findall(r'class="state (\w+)"', row) for row in rows] == [["met"], ["missed"], ["waiting"]]
    assert "issue &lt;5&gt;" in rows[2]
    nothing = Judgement("doubled: at most 0", None, State.MISSED)
    assert "nothing to measure" in page(*result(judgements=[nothing]))


def test_the_verdicts_colour_is_that_of_the_exit_status() -> None:
    made, story = result(judgements=[MET])
    made.accounts.total.lost = 0
    assert 'class="verdict bad"' not in page(made, story)
    made.judgements.append(MISSED)
    assert 'class="verdict bad"' in page(made, story)


def test_the_kind_of_run_is_said() -> None:
    virtual = page(*result())
    assert "virtual time" in virtual
    assert "compressed" not in virtual
    real = msgspec.structs.replace(RUN, virtual=False, carrier="packets", compress=60.0, bulk=10_000)
    text = page(*result(run=real))
    for words in ("networks of packets", "compressed by 60", "10,000 of them in bulk", "own lag: p50 1.0"):
        assert words in text, words


def test_a_slow_generator_blames_nobody() -> None:
    real = msgspec.structs.replace(RUN, virtual=False)
    assert "too slow to blame" not in result(run=real, lag_ms=20)[0].verdict
    assert "too slow to blame" in result(run=real, lag_ms=21)[0].verdict


def test_columns_without_figures_are_left_out() -> None:
    made, story = result()
    made.accounts.total = Books(lost=1)
    made.accounts.ways = {"edge → edge": Books(expired=4)}
    books = sections(page(made, story))["What became of every message"]
    first = re.findall(r"<th.*?>(.*?)</th>", books.partition("</tr>")[0])
    assert first == ["way", "due", "delivered", "expired", "lost", "doubled"]
    made.accounts.total = Books(*[7] * len(Books.__struct_fields__))
    books = sections(page(made, story))["What became of every message"]
    assert re.findall(r"<th.*?>(.*?)</th>", books.partition("</tr>")[0]) == ["way", *COLUMNS]


def test_a_large_run_is_a_small_file_and_its_slowest_message_is_drawn() -> None:
    samples = [(n * SECOND // 20_000, (n % 97 + 1) * SECOND // 1000) for n in range(200_000)]
    samples[123_457] = (samples[123_457][0], 500 * SECOND)
    devices = [
        Incident(n * SECOND // 200, what, f"lamp-{n}") for n in range(1000) for what in ("power_cut", "power_on")
    ]
    made, story = result(samples, incidents=devices)
    text = page(made, story)
    assert len(text) < 300_000
    assert "only some are drawn" in text
    plot = ET.fromstring(re.findall(r"<svg.*?</svg>", text, re.DOTALL)[0])
    dots = next(each.attrib["d"] for each in plot if each.attrib.get("class") == "dots")
    heights = [float(y) for y in re.findall(r"M\S+ (\S+)h0", dots)]
    assert min(heights) < sorted(heights)[1] - 50, "one stands out"


def test_a_run_in_which_nothing_happened_has_a_page() -> None:
    made, _ = result()
    made.latency, made.classes, made.links, made.energy, made.economy, made.judgements = {}, {}, {}, {}, {}, []
    text = page(made, Story(0, 0, [], [], {}))
    assert "<svg" not in text
    assert "What became of every message" in text


@pytest.mark.parametrize("high", [0.001, 0.9, 1, 7, 60, 99, 1e6])
def test_straight_scales_have_a_handful_of_ticks(high: float) -> None:
    ticks = Scale(0, high, 0, 100).ticks()
    assert 3 <= len(ticks) <= 8
    assert ticks[0] == 0
    assert ticks[-1] <= high * 1.001


def test_logarithmic_scales_tick_at_powers_of_ten() -> None:
    scale = Scale(0.1, 1000, 300, 0, logarithmic=True)
    assert scale.ticks() == [0.1, 1, 10, 100, 1000]
    assert scale(10) == pytest.approx(150)
    assert scale(0) == 300, "what is below the scale lies on its edge"
    assert around([0.0, 73.0]) == (0.1, 100)
    assert around([5.0]) == (1, 10)
    assert around([]) == (1, 10)


def test_plots_without_values_are_still_plots() -> None:
    times = Times(0.001)
    for plot in (
        Plot(times, (0, 0), "y").svg(),
        spans([], ("p50",), (1, 10)),
        bars([], "KiB"),
        lanes([], times),
        stacks([]),
    ):
        ET.fromstring(plot)
    ET.fromstring(spans([Span("one", (0.0,), 1)], ("p50",), (1, 10)))
    ET.fromstring(stacks([Stack("one", "", [("rest", 0.0, 1)], "")]))
    ET.fromstring(lanes([Lane("one", area=[(0.0, 0.0)])], times))


def test_dots_at_one_place_are_one_and_notes_do_not_overlap() -> None:
    plot = Plot(Times(60), (0, 10), "y")
    plot.dots([(30, 5)] * 1000, 0)
    plot.shade(10, 20, "cut", "dsl cut")
    plot.mark(15, "house new address")
    plot.mark(50, "house killed")
    drawn = plot.svg()
    assert drawn.count("h0") == 1
    assert re.findall(r'class="note".*?>(.*?)<', drawn) == ["dsl cut", "house killed"]
