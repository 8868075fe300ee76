"""`oriole fleet run` and `replay`: from a file to a verdict, in virtual time or real."""

import asyncio
import contextlib
import logging
import signal
import sys
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path

import msgspec

from firmware_sim.child import ENDINGS
from firmware_sim.links.network import NetworkError
from firmware_sim.output import write
from firmware_sim.report.result import Result
from firmware_sim.scenario.file import Scenario, load
from firmware_sim.scenario.nodes import Node
from firmware_sim.scenario.plan import Action
from firmware_sim.unhandled import or_raise
from oriole.mistakes import there_are
from oriole.stdout import print_lines
from oriole.typed_yaml import ConfigError

from .fleet import Fleet, FleetError
from .outcome import result_of
from .room import room_for_files
from .trace import Trace, read_plan
from .world import World, WorldError

FAILED = 1
STOPPED = 130
"""As shells have it for Ctrl-C."""


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """How a person wants a scenario run."""

    seed: int | None = None
    """Instead of the file's."""
    virtual: bool = False
    packets: bool = False
    compress: float | None = None
    """Instead of the file's factor; in virtual time nothing is compressed unless this says so. Of a trace that is
    replayed, on top of what its run was compressed by."""
    addresses: Mapping[str, list[str]] = {}
    """By node: what runs there already, instead of the node of the file."""
    trace_file: Path | None = None
    json_file: Path | None = None
    report_file: Path | None = None
    quiet: bool = False
    """No progress."""


def run(scenario: Scenario, wishes: Wishes, actions: Iterator[Action] | None = None) -> int:
    """Run the scenario and print its figures; exit status 1 when a message is unaccounted for or doubled, when an
    expectation is missed, or nothing could begin; 130 when all was well and somebody ended it early. `actions` are done
    instead of what the seed plans; the scenario is then the one that was run, compressed already.

    Raises `ConfigError` for wishes that do not go together with the file.
    """
    scenario = instead(scenario, wishes.addresses)
    if actions is None:
        factor = wishes.compress or (1.0 if wishes.virtual else scenario.compress)
        scenario = msgspec.structs.replace(scenario, compress=factor).compressed()
    try:
        fleet, result = live(scenario, wishes, actions)
    except (FleetError, WorldError, NetworkError) as error:
        print(f"oriole fleet: {error}", file=sys.stderr)
        return FAILED
    files = {}
    if wishes.json_file is not None:
        files[wishes.json_file] = msgspec.json.format(msgspec.json.encode(result))
    if wishes.report_file is not None:
        from firmware_sim.report.html import page

        files[wishes.report_file] = page(result, fleet.story()).encode()
    are_written = write("oriole fleet", files)
    show(result)
    troubles = list(fleet.endings)
    if fleet.trace.trouble:
        troubles.append(f"cannot write {wishes.trace_file}: {fleet.trace.trouble}; it holds a part of the trace")
    for trouble in troubles:
        print(f"oriole fleet: {trouble}", file=sys.stderr)
    if not are_written or not result.is_well or troubles:
        return FAILED
    return STOPPED if fleet.was_stopped else 0


def replay(trace: Path, wishes: Wishes) -> int:
    """Do what `trace` says was planned, at the times that it says, divided by the factor wished for; see `run`.

    Raises `ConfigError`.
    """
    if wishes.trace_file is not None and wishes.trace_file.exists() and wishes.trace_file.samefile(trace):
        raise ConfigError(f"--trace {wishes.trace_file}: that is the trace to replay")
    scenario, seed, actions = read_plan(trace)
    if wishes.compress is not None:
        scenario, actions = _in_less_time(scenario, actions, wishes.compress)
    seed = seed if wishes.seed is None else wishes.seed
    return run(scenario, msgspec.structs.replace(wishes, seed=seed), actions)


def _in_less_time(scenario: Scenario, actions: Iterator[Action], factor: float) -> tuple[Scenario, Iterator[Action]]:
    """Both in a fraction of the time that they take, which may be compressed already. Raises `ConfigError`."""
    shorter = msgspec.structs.replace(scenario, compress=factor).compressed()
    end_ns = shorter.length.ns
    sooner = (msgspec.structs.replace(each, at_ns=min(round(each.at_ns / factor), end_ns)) for each in actions)
    return msgspec.structs.replace(shorter, compress=scenario.compress * factor), sooner


def instead(scenario: Scenario, addresses: Mapping[str, list[str]]) -> Scenario:
    """The scenario with foreign nodes in place of some of its own. Raises `ConfigError`."""
    nodes = dict(scenario.nodes)
    for name, urls in addresses.items():
        if name not in nodes:
            raise ConfigError(f"--address {name}: the scenario has no such node; {there_are(nodes, name)}")
        try:
            nodes[name] = Node(kind="foreign", addresses=urls)
        except ValueError as error:
            raise ConfigError(f"--address {name}: {error}") from None
    try:
        return msgspec.structs.replace(scenario, nodes=nodes)
    except ValueError as error:
        what, _, key = str(error).rstrip("`").partition(" - at `$.")
        raise ConfigError(f"`{key}`: {what}") from None


def live(scenario: Scenario, wishes: Wishes, actions: Iterator[Action] | None = None) -> tuple[Fleet, Result]:
    """Run the scenario as it is. Raises `FleetError`, `WorldError`: there is no room for its files, for one."""
    seed = scenario.seed if wishes.seed is None else wishes.seed
    began_s = time.monotonic()
    file = wishes.trace_file.open("wb") if wishes.trace_file is not None else None
    with contextlib.closing(Trace(file)) as trace, room_for_files():
        fleet = _live(scenario, seed, wishes, trace, actions)
    carrier = "virtual" if wishes.virtual else "packets" if wishes.packets else "relay"
    return fleet, result_of(fleet, carrier, time.monotonic() - began_s)


def _live(scenario: Scenario, seed: int, wishes: Wishes, trace: Trace, actions: Iterator[Action] | None) -> Fleet:
    if wishes.virtual:
        from firmware_sim.virtual.loop import VirtualLoop
        from firmware_sim.virtual.loop import run as run_virtually
        from firmware_sim.virtual.world import VirtualWorld

        async def virtually(loop: VirtualLoop) -> Fleet:
            world = VirtualWorld(scenario, seed, loop, trace.decided if trace.is_on else None)
            return await _run(Fleet(scenario, seed, world, trace, actions), wishes)

        with _quiet_nodes():
            return run_virtually(virtually)

    async def really() -> Fleet:
        from firmware_sim.real.world import RealWorld

        world: World = RealWorld(scenario, seed, wishes.packets)
        return await _run(Fleet(scenario, seed, world, trace, actions), wishes)

    return asyncio.run(really())


@contextlib.contextmanager
def _quiet_nodes() -> Iterator[None]:
    """What nodes in this process warn of is what the scenario does to them: only their errors are shown."""
    logger = logging.getLogger("oriole")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


async def _run(fleet: Fleet, wishes: Wishes) -> Fleet:
    for number in ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            asyncio.get_running_loop().add_signal_handler(number, fleet.stop)
    async with _shown(fleet, wishes):
        await or_raise(fleet.run())
    return fleet


def show(result: Result) -> None:
    """Tables and the verdict, on stdout."""
    from rich.console import Console

    from firmware_sim.report.tables import summary

    console = Console(width=None if Console().is_terminal else 140)
    with console.capture() as tables:
        console.print(summary(result))
    print_lines([*tables.get().splitlines(), *result.accounts.faults, result.verdict])


@contextlib.asynccontextmanager
async def _shown(fleet: Fleet, wishes: Wishes) -> AsyncIterator[None]:
    """Progress on stderr: a bar at a terminal, a line now and then elsewhere."""
    if wishes.quiet:
        yield
        return
    from .progress import Progress

    progress = Progress(fleet)
    try:
        yield
    finally:
        progress.close()


__all__ = ["Wishes", "instead", "live", "load", "replay", "run", "show"]
