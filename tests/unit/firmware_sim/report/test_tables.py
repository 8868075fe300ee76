"""The terminal's tables: nothing is cut on 80 columns, and each figure has the report's name."""

import asyncio
import re
from importlib import resources
from pathlib import Path

import pytest
from rich.console import Console

from firmware_sim.demo.live import MEANING, picture
from firmware_sim.fleet.fleet import Fleet
from firmware_sim.fleet.scenario import load
from firmware_sim.links.link import Counters
from firmware_sim.links.network import Network
from firmware_sim.report.accounts import COLUMNS, Books, close_books
from firmware_sim.report.html import page
from firmware_sim.report.latency import Latency
from firmware_sim.report.ledger import Ledger
from firmware_sim.report.result import Result, make_result
from firmware_sim.report.story import Look, Story
from firmware_sim.report.tables import summary

WAYS = ("broadcast → direct", "edge → edge", "a_name_from_a_file → another_name")


def result() -> Result:
    ledger = Ledger("run")
    made = make_result(
        scenario=("house", ""),
        seed=1,
        seconds=10,
        kinds=["lamp"],
        ledger=ledger,
        accounts=close_books(ledger, 1000),
        windows=[],
        links={"dsl": Counters()},
        carriers={},
        lag=Latency(),
    )
    made.accounts.ways = {way: Books(*range(11_110, 11_120)) for way in WAYS}
    made.latency = {way: Latency(11_110, 1234.5, 1234.5, 1234.5, 12345.6) for way in WAYS}
    made.in_a_cut = made.answers = made.latency
    return made


@pytest.mark.parametrize("width", [80, 140])
def test_nothing_is_cut(width: int) -> None:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(summary(result()))
    text = capture.get()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    words = text.split()
    for name in COLUMNS:
        assert set(name.split()) <= set(words), name
    for figure in range(11_110, 11_120):
        assert words.count(str(figure)) >= len(WAYS)


def test_terminal_and_report_have_one_name_for_each_figure() -> None:
    made = result()
    heads = re.findall(r"<tr><th>way</th>(.*?)</tr>", page(made, Story(0, 1, [], [], {})))
    assert [re.findall(r"<th>(.*?)</th>", head) for head in heads] == [list(COLUMNS)]
    assert set(COLUMNS.values()) == set(Books.__struct_fields__), "no figure is left out"
    made.accounts.total = Books(lost_qos0=3, repeated=4)
    assert "4 repeats" in made.verdict
    assert "3 lost QoS 0" in made.verdict


@pytest.mark.parametrize("width", [80, 140])
def test_the_demos_picture_is_not_cut(width: int) -> None:
    scenario = load(Path(str(resources.files("firmware_sim") / "scenarios" / "three_houses.yaml")))

    async def scene() -> Fleet:
        return Fleet(scenario, 1, Network())

    fleet = asyncio.run(scene())
    for name in MEANING:
        publisher, subscriber = name.split(" → ")
        way = fleet.ledger.ways[publisher, subscriber]
        way.due, way.first, way.samples = 12_345, 12_344, [(0, 1_234_000_000)] * 30
    links = {name: Counters(10**8, 10**8) for name in scenario.links}
    fleet.looks = [Look(0, links, dict.fromkeys(scenario.carriers(), 10**7))]
    console = Console(width=width)
    with console.capture() as capture:
        console.print(picture(fleet, width))
    text = capture.get()
    assert "…" not in text
    for name in MEANING:
        assert name in text
        assert (MEANING[name] in text) is (width == 140)
    for head in ("lately", "byte delivered", "asked for"):
        assert head in text
