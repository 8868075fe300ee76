"""`oriole fleet run`: from a file to a verdict."""

import asyncio
import contextlib
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

from firmware_sim.links.network import Network, NetworkError
from firmware_sim.output import write
from firmware_sim.report.result import Result, make_result
from oriole.typed_yaml import ConfigError

from .fleet import Fleet, FleetError
from .scenario import Scenario, load

PROGRESS_S = 5.0
CONNECTING_S = 2.0  # who waits for a connection wants to know sooner why there is none
FAILED = 1


def run(
    file: Path,
    *,
    seed: int | None = None,
    seconds: float | None = None,
    addresses: Mapping[str, str] | None = None,
    json_file: Path | None = None,
    report_file: Path | None = None,
) -> int:
    """Run the scenario and print its figures; exit status 1 when messages were lost or doubled, or nothing could begin.

    Raises `ConfigError` for what is wrong with the file or what replaces parts of it.
    """
    scenario = replace(load(file), seconds=seconds, addresses=addresses)
    try:
        fleet, result = asyncio.run(_run(scenario, scenario.seed if seed is None else seed))
    except (FleetError, NetworkError) as error:
        print(f"oriole fleet: {error}", file=sys.stderr)
        return FAILED
    show(result)
    files = {}
    if json_file is not None:
        files[json_file] = msgspec.json.format(msgspec.json.encode(result))
    if report_file is not None:
        from firmware_sim.report.html import page

        files[report_file] = page(result, fleet.story()).encode()
    return 0 if write("oriole fleet", files) and result.accounts.is_clean else FAILED


def replace(
    scenario: Scenario, *, seconds: float | None = None, addresses: Mapping[str, str | list[str]] | None = None
) -> Scenario:
    """The scenario with other addresses, and its schedule stretched or squeezed to `seconds`. Raises `ConfigError`."""
    addresses = addresses or {}
    for name in addresses:
        if name not in scenario.addresses:
            raise ConfigError(f"--address {name}: the scenario has only {', '.join(scenario.addresses)}")
    seconds = scenario.seconds if seconds is None else seconds
    factor = seconds / scenario.seconds
    schedule = [msgspec.structs.replace(event, at_s=min(event.at_s * factor, seconds)) for event in scenario.schedule]
    try:
        return msgspec.structs.replace(
            scenario, addresses={**scenario.addresses, **addresses}, seconds=seconds, schedule=schedule
        )
    except ValueError as error:
        what, _, key = str(error).rstrip("`").partition(" - at `$.")
        raise ConfigError(f"`{key}`: {what}") from None


def result_of(fleet: Fleet) -> Result:
    """The figures of a fleet that has run."""
    return make_result(
        scenario=(fleet.scenario.name, fleet.scenario.about),
        seed=fleet.seed,
        seconds=(fleet.ended_ns - fleet.began_ns) / 1e9,
        kinds=[device.kind for device in fleet.devices],
        ledger=fleet.ledger,
        accounts=fleet.books or fleet.accounts(),
        windows=[(cut.start_ns, cut.end_ns) for cut in fleet.cuts()],
        links={name: count for name, count in fleet.looks[-1].links.items() if name in fleet.scenario.links},
        carriers=fleet.scenario.carriers(),
        lag=fleet.lag(),
    )


def show(result: Result) -> None:
    """Tables and the verdict, on stdout."""
    from rich.console import Console

    from firmware_sim.report.tables import summary

    console = Console()
    Console(width=None if console.is_terminal else 140).print(summary(result))
    print(result.verdict)


async def _run(scenario: Scenario, seed: int) -> tuple[Fleet, Result]:
    async with Network() as network:
        fleet = Fleet(scenario, seed, network)
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, fleet.stop)
        telling = asyncio.create_task(tell(fleet))
        try:
            await fleet.run()
        finally:
            telling.cancel()
    return fleet, result_of(fleet)


async def tell(fleet: Fleet) -> None:
    """A line of progress on stderr now and then."""
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            await asyncio.sleep(CONNECTING_S if fleet.phase == "connecting" else PROGRESS_S)
            print(fleet.progress(), file=sys.stderr, flush=True)
