"""`oriole demo`: starts the town, lets the fleet live in it, shows it, and says what became of every push."""

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
from firmware_sim.fleet.program import replace, result_of, show, tell
from firmware_sim.fleet.scenario import Scenario, load
from firmware_sim.links.network import Network, NetworkError
from firmware_sim.output import writable, write
from firmware_sim.report.html import Card, page
from firmware_sim.report.latency import Latency
from firmware_sim.report.result import Result

from .processes import Program, ProgramError
from .town import town

DEFAULT_SECONDS = 60.0
MIN_SECONDS = 10.0
CONNECTING_S = 1.5  # about what the devices take to connect
CLOSING_S = 2.0  # waiting for what is under way, saying good-bye, writing the report
FRAME_S = 0.25
FAILED, STOPPED = 1, 128 + signal.SIGTERM


def main(argv: list[str]) -> int:
    """Run the demo; exit status 1 when a message of QoS 1 or 2 was lost or doubled, or the programs did not start."""
    arguments = _arguments(argv)
    began_s = time.monotonic()
    scenario = load(Path(str(resources.files("firmware_sim") / "scenarios" / "three_houses.yaml")))
    try:
        fleet, facts = asyncio.run(_run(scenario, arguments.seed, began_s + arguments.seconds))
    except asyncio.CancelledError:
        return STOPPED
    except (ProgramError, FleetError, NetworkError) as error:
        print(f"oriole demo: {error}", file=sys.stderr)
        return FAILED
    result = result_of(fleet)
    show(result)
    files = {arguments.report: page(result, fleet.story(), _cards(result), facts).encode()}
    if arguments.json is not None:
        files[arguments.json] = msgspec.json.format(msgspec.json.encode(result))
    if not write("oriole demo", files):
        return FAILED
    print(f"report: {arguments.report.resolve()}")
    return 0 if result.accounts.is_clean else FAILED


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


async def _run(scenario: Scenario, seed: int, end_s: float) -> tuple[Fleet, list[tuple[str, str]]]:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None
    loop.add_signal_handler(signal.SIGTERM, task.cancel)  # until there is a fleet to stop
    async with Network() as network, town(scenario, network) as built:
        seconds = end_s - time.monotonic() - CONNECTING_S - scenario.settle_s - CLOSING_S
        fleet = Fleet(replace(scenario, seconds=max(1.0, seconds), addresses=built.addresses), seed, network)
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, fleet.stop)
        async with _shown(fleet):
            await fleet.run()
        if endings := [ending for program in built.programs if (ending := program.ending())]:
            raise ProgramError("\n".join(endings))
        return fleet, [(program.title, _usage(program)) for program in built.programs]


@contextlib.asynccontextmanager
async def _shown(fleet: Fleet) -> AsyncIterator[None]:
    showing = asyncio.create_task(_live(fleet) if sys.stdout.isatty() else tell(fleet))
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


def _usage(program: Program) -> str:
    usage = program.usage()
    return "gone" if usage is None else f"{usage.cpu_s:.1f} s of CPU, {usage.resident_mib:.0f} MiB resident"


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
