"""`oriole fleet`, `oriole demo` and `oriole bench`: argument parsing, and nothing else."""

import argparse
import os
import sys
from importlib import resources
from pathlib import Path

from firmware_sim.output import writable
from oriole.typed_yaml import ConfigError
from oriole.urls import UrlError

FAILED, USAGE_ERROR = 1, 2
MAX_SECONDS = 86_400.0


def main_fleet(argv: list[str]) -> int:
    """`oriole fleet run|device|list`; exit status 1 when a message was lost or doubled, 2 for what cannot be used."""
    arguments = _fleet_parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except (ConfigError, UrlError, _RefusedError) as error:
        print(f"oriole fleet: {error}", file=sys.stderr)
        return USAGE_ERROR
    return status


def main_demo(argv: list[str]) -> int:
    """`oriole demo`: a broker, two edges and their houses for a minute; exit status 1 when a message was lost."""
    from firmware_sim.demo.program import main

    return main(argv)


def main_bench(argv: list[str]) -> int:
    """`oriole bench`: measures brokers side by side."""
    from firmware_sim.bench import main

    return main(argv)


class _RefusedError(ValueError):
    """Arguments that do not go together."""


def _fleet_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="oriole fleet", description="Simulated devices, and what became of messages.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="run a scenario and account for every message")
    run.add_argument("scenario", metavar="SCENARIO.yaml", help="a file, or a name that `list` shows")
    run.add_argument("--seed", type=int, help="what all random choices come from (default: the file's)")
    run.add_argument(
        "--seconds",
        type=_seconds,
        help="how long the devices act (default: the file's); the schedule is squeezed or stretched with it",
    )
    run.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="NAME=URL",
        help="use URL for the file's address; repeatable",
    )
    run.add_argument("--json", type=writable, metavar="FILE", help="write the figures there as well")
    run.add_argument("--report", type=writable, metavar="FILE", help="write an HTML report there as well")
    run.set_defaults(run=_run)

    device = commands.add_parser("device", help="run one device by hand and print what it says and hears")
    device.add_argument("kind", metavar="KIND", help="lamp, watch, thermostat, relay")
    device.add_argument(
        "address", metavar="ADDRESS", help="mqtt://HOST[:PORT], coap://HOST[:PORT] or serial:///dev/..."
    )
    device.add_argument("--name", help="its name (default: its kind)")
    device.add_argument("--place", default="home", help="the topic level above its name (default: home)")
    device.add_argument("--every", type=_beat, default=10.0, metavar="SECONDS", help="report this often (default: 10)")
    device.set_defaults(run=_device)

    listing = commands.add_parser("list", help="list the scenarios that come along")
    listing.set_defaults(run=_list)
    return parser


def _run(arguments: argparse.Namespace) -> int:
    from firmware_sim.fleet.program import run

    return run(
        _scenario_file(arguments.scenario),
        seed=arguments.seed,
        seconds=arguments.seconds,
        addresses=dict(_name_and_url(text) for text in arguments.address),
        json_file=arguments.json,
        report_file=arguments.report,
    )


def _device(arguments: argparse.Namespace) -> int:
    from firmware_sim.devices.by_hand import run
    from firmware_sim.devices.kinds import KINDS, WrongAddressError
    from firmware_sim.devices.names import check_name
    from oriole.wire.topics import TopicError

    kinds = {name: kind for name, kind in KINDS.items() if kind.obeys}
    if arguments.kind not in kinds:
        raise _RefusedError(f"there is no kind `{arguments.kind}` to run by hand; there are {', '.join(kinds)}")
    kind = kinds[arguments.kind]
    name = arguments.kind if arguments.name is None else arguments.name
    for option, text in (("--name", name), ("--place", arguments.place)):
        try:
            check_name(text)
        except TopicError as error:
            raise _RefusedError(f"{option}: {error}") from error
    try:
        return run(kind, arguments.address, name, arguments.place, arguments.every)
    except WrongAddressError as error:
        raise _RefusedError(str(error)) from error


def _list(arguments: argparse.Namespace) -> int:
    from firmware_sim.fleet.scenario import load

    for file in sorted(_shipped().glob("*.yaml")):
        print(f"{file.stem:16}{load(file).about}")
    return 0


def _shipped() -> Path:
    return Path(str(resources.files("firmware_sim") / "scenarios"))


def _scenario_file(name: str) -> Path:
    shipped = {file.stem: file for file in sorted(_shipped().glob("*.yaml"))}
    if name in shipped or os.access(name, os.F_OK):
        return shipped.get(name, Path(name))
    raise _RefusedError(
        f"there is no file `{name}`, and of the scenarios that come along none is called so: there are "
        f"{', '.join(shipped)} (`oriole fleet list` tells more)"
    )


def _seconds(text: str) -> float:
    return _number_of_seconds(text, 0.0)


def _beat(text: str) -> float:
    from firmware_sim.devices.device import MIN_BEAT_S

    return _number_of_seconds(text, MIN_BEAT_S)


def _number_of_seconds(text: str, least: float) -> float:
    try:
        seconds = float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"`{text}` is no number of seconds") from None
    if not (seconds > 0 and least <= seconds <= MAX_SECONDS):  # which nan is not
        bound = f"at least {least:g}" if least else "above 0"
        raise argparse.ArgumentTypeError(f"`{text}` is not {bound} and at most {MAX_SECONDS:.0f} seconds")
    return seconds


def _name_and_url(text: str) -> tuple[str, str]:
    name, equals, url = text.partition("=")
    if not equals:
        raise _RefusedError(f"--address {text}: write it like --address centre=mqtt://127.0.0.1:1883")
    return name, url
