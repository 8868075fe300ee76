"""`oriole demo`: the scenario `three_houses` on real programs, shown while it runs, and what became of every push."""

import argparse
import asyncio
import contextlib
import os
import signal
import sys
import time
from collections.abc import AsyncIterator
from importlib import resources
from pathlib import Path

import msgspec

from firmware_sim.fleet.fleet import Fleet, FleetError
from firmware_sim.fleet.outcome import result_of
from firmware_sim.fleet.program import show
from firmware_sim.fleet.progress import Progress
from firmware_sim.fleet.room import room_for_files
from firmware_sim.fleet.world import WorldError
from firmware_sim.output import writable, write
from firmware_sim.real.world import RealWorld
from firmware_sim.report.html import Card, page
from firmware_sim.report.latency import Latency
from firmware_sim.report.result import Result
from firmware_sim.scenario.file import Scenario, load
from firmware_sim.scenario.values import Duration

DEFAULT_SECONDS = 60.0
MIN_SECONDS = 10.0
STARTING_S = 3.5  # about what programs take to start, devices to connect
CLOSING_S = 2.5  # waiting for what is under way, saying good-bye, writing the report
FRAME_S = 0.25
FAILED = 1


def main(argv: list[str]) -> int:
    """Run the demo; exit status 1 when a message was lost or doubled, an expectation was missed, or nothing began."""
    arguments = _arguments(argv)
    began_s = time.monotonic()
    scenario = load(Path(str(resources.files("firmware_sim") / "scenarios" / "three_houses.yaml")))
    scenario = within(scenario, arguments.seconds - STARTING_S - scenario.settle - CLOSING_S)
    try:
        with room_for_files():
            fleet = asyncio.run(_run(scenario, arguments.seed, began_s + arguments.seconds - CLOSING_S))
    except (FleetError, WorldError) as error:
        print(f"oriole demo: {error}", file=sys.stderr)
        return FAILED
    result = result_of(fleet, "relay", time.monotonic() - began_s)
    show(result)
    files = {arguments.report: page(result, fleet.story(), _cards(result)).encode()}
    if arguments.json is not None:
        files[arguments.json] = msgspec.json.format(msgspec.json.encode(result))
    if not write("oriole demo", files):
        return FAILED
    print(f"report: {arguments.report.resolve()}")
    return 0 if result.is_well else FAILED


def within(scenario: Scenario, seconds: float) -> Scenario:
    """The same story in `seconds`: squeezed where these are less, with more of everyday life at its end where more."""
    length = max(scenario.length, seconds)
    factor = float(length) / seconds
    return msgspec.structs.replace(scenario, length=Duration(length), compress=factor).compressed()


def _arguments(argv: list[str]) -> argparse.Namespace:
    """Read the command line; what it leaves out comes from DEMO_SECONDS, so that `make demo` can be told."""
    parser = _parser()
    arguments = parser.parse_args(argv)
    if arguments.seconds is None:
        try:
            arguments.seconds = _seconds(os.environ.get("DEMO_SECONDS") or str(DEFAULT_SECONDS))
        except argparse.ArgumentTypeError as error:
            parser.error(f"the environment's DEMO_SECONDS: {error}")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="oriole demo", description=__doc__)
    words = f"how long it takes in all (default: DEMO_SECONDS, or {DEFAULT_SECONDS:.0f}; at least {MIN_SECONDS:.0f})"
    parser.add_argument("--seconds", type=_seconds, metavar="S", help=words)
    parser.add_argument("--seed", type=int, default=1, help="what all random choices come from (default: 1)")
    parser.add_argument("--report", type=writable, default="demo-report.html", metavar="FILE", help="the HTML report")
    parser.add_argument("--json", type=writable, metavar="FILE", help="write the figures there as well")
    return parser


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds") from None
    if not MIN_SECONDS <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text} is not between {MIN_SECONDS:.0f} and 3600")
    return seconds


async def _run(scenario: Scenario, seed: int, end_s: float) -> Fleet:
    """Live through the scenario, and no longer than until `end_s`, however slowly it began."""
    loop = asyncio.get_running_loop()
    world = RealWorld(scenario, seed)
    fleet = Fleet(scenario, seed, world)
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, fleet.stop)
    loop.call_later(end_s - time.monotonic(), fleet.stop)
    async with _shown(fleet):
        await fleet.run()
    if fleet.endings:
        raise WorldError("\n".join(fleet.endings))
    return fleet


@contextlib.asynccontextmanager
async def _shown(fleet: Fleet) -> AsyncIterator[None]:
    """A live table on a terminal, progress elsewhere."""
    if not sys.stdout.isatty():
        progress = Progress(fleet)
        try:
            yield
        finally:
            progress.close()
        return
    showing = asyncio.create_task(_live(fleet))
    try:
        yield
    finally:
        showing.cancel()
        await asyncio.gather(showing, return_exceptions=True)


async def _live(fleet: Fleet) -> None:
    from rich.live import Live

    from .live import picture

    with Live(auto_refresh=False) as live:
        while True:
            live.update(picture(fleet, live.console.width), refresh=True)
            await asyncio.sleep(FRAME_S)


def _cards(result: Result) -> list[Card]:
    """What the demo is about, in five figures of this run."""
    total = result.accounts.total
    inside, outside = (result.latency.get(f"{way} → {way}", Latency()) for way in ("edge", "direct"))
    cards = [
        Card(f"{total.lost} lost", f"and {total.doubled} doubled, of {total.due} messages due"),
        Card(f"{inside.p50_ms:.1f} ms", f"inside a house with an edge (median); {outside.p50_ms:.1f} ms without one"),
    ]
    cut = result.in_a_cut.get("edge → edge")
    if cut:
        cards.append(Card(f"{cut.p50_ms:.1f} ms", f"the same with the link cut or recovering ({cut.count} messages)"))
    asked, asked_far = result.answers.get("edge"), result.answers.get("direct")
    if asked and asked_far:
        words = f"to read a value from an edge's cache (median); {asked_far.p50_ms:.1f} ms from the centre"
        cards.append(Card(f"{asked.p50_ms:.1f} ms", words))
    if "edge" in result.economy and "direct" in result.economy:
        near, far = result.economy["edge"].ratio, result.economy["direct"].ratio
        words = f"over the link for each byte that devices behind an edge received; {far:.2f} without one"
        cards.append(Card(f"{near:.2f} bytes", words))
    return cards
