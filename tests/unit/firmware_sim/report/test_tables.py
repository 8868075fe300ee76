"""The terminal's tables: nothing is cut on 80 columns, and each figure has the report's name."""

import asyncio
from importlib import resources
from pathlib import Path

import pytest
from rich.console import Console, RenderableType

from firmware_sim.demo.live import MEANING, picture
from firmware_sim.demo.program import within
from firmware_sim.fleet.fleet import Fleet, Happening
from firmware_sim.links.link import Counters
from firmware_sim.real.world import RealWorld
from firmware_sim.report.accounts import COLUMNS, Books, close_books
from firmware_sim.report.latency import Latency
from firmware_sim.report.ledger import Ledger
from firmware_sim.report.measures import Judgement, State
from firmware_sim.report.result import Result, Run, Spending, make_result
from firmware_sim.report.story import Look
from firmware_sim.report.tables import expectations_table, summary
from firmware_sim.scenario.file import Scenario, load

WAYS = ("broadcast → direct", "edge → edge", "a_name_from_a_file → another_name")


def result() -> Result:
    ledger = Ledger("run")
    made = make_result(
        run=Run("house", "", 1, "cafe", False, "relay", 1.0, 10.0, 12.0),
        kinds=["lamp"],
        ledger=ledger,
        accounts=close_books(ledger, 1000),
        judgements=[
            Judgement("latency_p99_ms, way edge -> edge, of order: at most 40", 1234.56, State.MISSED),
            Judgement("dropped: at most 0", 4.0, State.WAITING, "issue 5, and for a second one that has a long name"),
            Judgement("lost: at most 0", 0.0, State.MET),
        ],
        windows=[],
        links={},
        economy={},
        energy={
            "a_population_with_a_long_name": Spending(
                "radio_xy", "modelled", 3, {"handshake": 9.0}, 123_400.0, 99_999.0
            )
        },
        lag=Latency(),
        incidents={},
        usage={},
    )
    made.accounts.ways = {way: Books(*range(11_110, 11_110 + len(COLUMNS))) for way in WAYS}
    made.accounts.reasons = {"dropped: a notification lost on the link (not confirmable)": 22_222}
    made.latency = {way: Latency(11_110, 1234.5, 1234.5, 1234.5, 12345.6) for way in WAYS}
    made.in_a_cut = made.answers = made.classes = made.latency
    return made


def printed(what: RenderableType, width: int) -> str:
    console = Console(width=width)
    with console.capture() as capture:
        console.print(what)
    text = capture.get()
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    return text


@pytest.mark.parametrize("width", [80, 140])
def test_nothing_is_cut(width: int) -> None:
    words = printed(summary(result()), width).split()
    for name in COLUMNS:
        assert set(name.split()) <= set(words), name
    for figure in range(11_110, 11_110 + len(COLUMNS)):
        assert words.count(str(figure)) >= len(WAYS)
    for word in ("22222", "1234.56", "1.234e+05", "radio_xy"):
        assert word in words, word


def test_every_figure_has_a_name() -> None:
    assert set(COLUMNS.values()) == set(Books.__struct_fields__), "no figure is left out"
    made = result()
    made.accounts.total = Books(lost_qos0=3, queued=4)
    assert "4 queued" in made.verdict
    assert "3 lost QoS 0" in made.verdict


def test_tables_without_rows_are_left_out() -> None:
    made = result()
    made.accounts.ways = {"edge → edge": Books(due=1, delivered=1)}
    made.accounts.reasons, made.energy, made.judgements = {}, {}, []
    words = printed(summary(made), 80)
    for title in ("not delivered", "reasons", "energy", "expectations"):
        assert title not in words


def test_what_waits_is_not_green() -> None:
    states = expectations_table(result()).columns[-1]
    assert [str(getattr(cell, "style", "")) for cell in states.cells] == ["bold red", "yellow", "green"]


# ---- The demo's live view


def houses() -> Scenario:
    return load(Path(str(resources.files("firmware_sim") / "scenarios" / "three_houses.yaml")))


@pytest.mark.parametrize("width", [80, 140])
def test_the_demos_picture_is_not_cut(width: int) -> None:
    scenario = houses()

    async def scene() -> Fleet:
        return Fleet(scenario, 1, RealWorld(scenario, 1))

    fleet = asyncio.run(scene())
    for name in MEANING:
        publisher, subscriber = name.split(" → ")
        way = fleet.ledger.ways[publisher, subscriber]
        way.due, way.first, way.samples = 12_345, 12_344, [(0, 1_234_000_000)] * 30
    links = {name: Counters(10**8, 10**8) for name in scenario.links}
    fleet.looks = [Look(0, links)]
    text = printed(picture(fleet, width), width)
    for name in MEANING:
        assert name in text
        assert (MEANING[name] in text) is (width == 140)
    for head in ("lately", "byte delivered", "asked for"):
        assert head in text
    assert text.count("carries") == 3
    fleet.happenings = [Happening(1, "cut", "dsl_a"), Happening(2, "cut", "dsl_b"), Happening(3, "heal", "dsl_a")]
    assert printed(picture(fleet, width), width).count("carries") == 2


def test_the_demo_fits_into_the_time_that_it_has() -> None:
    scenario = houses()
    cut = scenario.faults[0]
    assert cut.at is not None
    short = within(scenario, 7.5)
    assert (short.length, short.faults[0].at, short.faults[0].lasts) == (7.5, cut.at / 8, cut.lasts / 8)
    assert short.links == scenario.links
    long = within(scenario, 300.0)
    assert (long.length, long.faults, long.compress) == (300.0, scenario.faults, 1.0)
