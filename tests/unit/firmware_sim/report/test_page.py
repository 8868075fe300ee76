"""The report: figures that are the result's, plots that are well-formed, and nothing fetched from anywhere."""

import re
import xml.etree.ElementTree as ET

import pytest

from firmware_sim.links.link import Counters
from firmware_sim.report.accounts import close_books
from firmware_sim.report.html import Card, page
from firmware_sim.report.latency import Latency
from firmware_sim.report.ledger import Ledger, Message
from firmware_sim.report.result import Result, make_result
from firmware_sim.report.story import Cut, Look, Story
from firmware_sim.report.svg import Plot, Scale, Span, bars, spans

SECOND = 1_000_000_000


def result(lag_ms: float = 1.0) -> tuple[Result, Story]:
    ledger = Ledger("run")
    ledger.listens("phone", "#", 1, "<centre>", latest_only=False)
    ledger.sent(Message("lamp", "a", 1, SECOND, 1, False, False, 10, "edge"))
    samples = [(n * SECOND // 10, (n % 7 + 1) * SECOND // 100) for n in range(100)]
    ledger.ways["edge", "<centre>"].samples += samples
    looks = [Look(n * SECOND, {"dsl": Counters(n * 1000, n * 2000, 0, 0)}, {"edge": n * 900}) for n in range(11)]
    made = make_result(
        scenario=("A <b>bold</b> house", "about & so on"),
        seed=1,
        seconds=10,
        kinds=["lamp", "lamp", "watch"],
        ledger=ledger,
        accounts=close_books(ledger, 1000),
        windows=[(2 * SECOND, 3 * SECOND)],
        links={"dsl": Counters(10_000, 20_000, 0, 0)},
        carriers={"edge": ["dsl"]},
        lag=Latency(10, lag_ms, lag_ms, lag_ms, lag_ms),
    )
    way = "edge → <centre>"
    return made, Story(0, 10 * SECOND, looks, [Cut("dsl", 2 * SECOND, 3 * SECOND)], {way: samples})


def test_the_page_fetches_nothing_and_escapes_everything() -> None:
    text = page(*result(), [Card("12 <ms>", "words & figures")], [("broker", "30 MiB")])
    assert not re.search(r"https?:|//|@import|<script|<link|src=", text)
    assert "<b>bold</b>" not in text
    assert "12 &lt;ms&gt;" in text
    assert "dsl cut" in text


def test_every_plot_is_well_formed_xml() -> None:
    plots = re.findall(r"<svg.*?</svg>", page(*result()), re.DOTALL)
    assert len(plots) == 4
    for plot in plots:
        ET.fromstring(plot)


def test_the_figures_are_the_results() -> None:
    made, story = result()
    text = page(made, story)
    assert "1 messages due: 0 delivered" in text
    assert 'class="verdict bad"' in text, "a lost message is shown as one"
    assert f"<td>{made.latency['edge → <centre>'].count}</td><td>{40.0}</td>" in text
    assert "29 KiB over the link" in text


def test_a_slow_generator_blames_nobody() -> None:
    assert "too slow to blame" not in result(lag_ms=20)[0].verdict
    assert "too slow to blame" in result(lag_ms=21)[0].verdict


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


def test_plots_without_values_are_still_plots() -> None:
    for plot in (Plot((0, 0), (0, 0), "x", "y").svg(), spans([], "ms", ("p50",)), bars([], "KiB")):
        ET.fromstring(plot)
    ET.fromstring(spans([Span("one", (0.0,), 1)], "ms", ("p50",)))
