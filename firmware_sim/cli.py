"""`oriole fleet`, `oriole demo` and `oriole bench`: argument parsing, and nothing else."""

import argparse
import os
import sys
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from firmware_sim.output import writable
from oriole.mistakes import there_are
from oriole.stdout import abandon, print_lines
from oriole.typed_yaml import ConfigError
from oriole.urls import UrlError

if TYPE_CHECKING:
    from firmware_sim.fleet.program import Wishes

FAILED, USAGE_ERROR = 1, 2
MAX_SECONDS = 86_400.0


def main_fleet(argv: list[str]) -> int:
    """`oriole fleet ...`; exit status 1 when a run went wrong (a lost message), 2 for what cannot be used."""
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
    _add_run_options(run)
    run.add_argument(
        "--compress",
        type=_factor,
        metavar="FACTOR",
        help="divide every duration of the file by this (default: the file's; 1 in virtual time)",
    )
    run.set_defaults(run=_run)

    every = commands.add_parser("all", help="run every scenario that comes along, in virtual time and on real sockets")
    every.add_argument(
        "--world",
        action="append",
        choices=("virtual", "real", "packets"),
        help="only so (default: virtual, then real); repeatable",
    )
    every.set_defaults(run=_all)

    replay = commands.add_parser("replay", help="do again what a trace says was planned, instead of what a seed plans")
    replay.add_argument("replayed", metavar="TRACE", help="what `run --trace` wrote")
    _add_run_options(replay)
    replay.add_argument(
        "--compress",
        type=_factor,
        metavar="FACTOR",
        help="divide every duration and moment of the trace by this, compressed already or not (default: 1)",
    )
    replay.set_defaults(run=_replay)

    check = commands.add_parser("check", help="read a scenario, say what it would be, and run nothing")
    check.add_argument("scenario", metavar="SCENARIO.yaml", help="a file, or a name that `list` shows")
    check.set_defaults(run=_check)

    compare = commands.add_parser("compare", help="two runs side by side, from their --json files")
    compare.add_argument("first", type=Path, metavar="A.json")
    compare.add_argument("second", type=Path, metavar="B.json")
    compare.set_defaults(run=_compare)

    schema = commands.add_parser("schema", help="print the JSON Schema of scenario files, for editors")
    schema.set_defaults(run=_schema)

    device = commands.add_parser("device", help="run one device by hand and print what it says and hears")
    device.add_argument("kind", metavar="KIND", help="lamp, thermostat, lock, meter, watch, relay, ...")
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


def _add_run_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, help="what all random choices come from (default: the file's)")
    parser.add_argument("--virtual", action="store_true", help="in virtual time, all in this process: a day in seconds")
    parser.add_argument(
        "--packets",
        action="store_true",
        help="links are networks of packets, in namespaces of their own, instead of relays (Linux, root)",
    )
    parser.add_argument(
        "--address",
        action="append",
        default=[],
        metavar="NODE=URL",
        help="let devices use URL instead of the file's node: yours, or somebody else's; repeatable",
    )
    parser.add_argument("--trace", type=writable, metavar="FILE", help="write what was planned and what happened there")
    parser.add_argument("--json", type=writable, metavar="FILE", help="write the figures there as well")
    parser.add_argument("--report", type=writable, metavar="FILE", help="write an HTML report there as well")


def _wishes(arguments: argparse.Namespace) -> "Wishes":
    from firmware_sim.fleet.program import Wishes

    if arguments.virtual and arguments.packets:
        raise _RefusedError("--virtual has no packets to carry: leave out one of --virtual and --packets")
    addresses: dict[str, list[str]] = {}
    for text in arguments.address:
        node, url = _name_and_url(text)
        addresses.setdefault(node, []).append(url)
    if addresses and arguments.virtual:
        raise _RefusedError("--address names something real: it has no virtual time")
    return Wishes(
        seed=arguments.seed,
        virtual=arguments.virtual,
        packets=arguments.packets,
        compress=arguments.compress,
        addresses=addresses,
        trace_file=arguments.trace,
        json_file=arguments.json,
        report_file=arguments.report,
    )


def _run(arguments: argparse.Namespace) -> int:
    from firmware_sim.fleet.program import load, run

    return run(load(_scenario_file(arguments.scenario)), _wishes(arguments))


def _all(arguments: argparse.Namespace) -> int:
    from firmware_sim.fleet.all import run_all

    try:
        return run_all(sorted(_shipped().glob("*.yaml")), arguments.world or ("virtual", "real"))
    except KeyboardInterrupt:
        print("oriole fleet: stopped", file=sys.stderr)
        return FAILED


def _replay(arguments: argparse.Namespace) -> int:
    from firmware_sim.fleet.program import replay

    return replay(Path(arguments.replayed), _wishes(arguments))


def _check(arguments: argparse.Namespace) -> int:
    from firmware_sim.fleet.check import describe
    from firmware_sim.fleet.program import load

    print_lines(describe(load(_scenario_file(arguments.scenario))))
    return 0


def _compare(arguments: argparse.Namespace) -> int:
    from firmware_sim.fleet.compare import compare

    return compare(arguments.first, arguments.second)


def _schema(arguments: argparse.Namespace) -> int:
    import json

    from firmware_sim.scenario.schema import schema

    print_lines(json.dumps(schema(), indent=2).splitlines())
    return 0


def _device(arguments: argparse.Namespace) -> int:
    from firmware_sim.devices.by_hand import WrongAddressError, run
    from firmware_sim.devices.kinds import KINDS
    from firmware_sim.devices.names import check_name
    from oriole.wire.topics import TopicError

    kinds = {name: kind for name, kind in KINDS.items() if kind.obeys}
    if arguments.kind not in kinds:
        choices = there_are(kinds, arguments.kind)
        raise _RefusedError(f"there is no kind `{arguments.kind}` to run by hand; {choices}")
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
    except BrokenPipeError:
        abandon(sys.stdout.buffer)
        return 0


def _list(arguments: argparse.Namespace) -> int:
    from firmware_sim.scenario.file import load

    files = sorted(_shipped().glob("*.yaml"))
    width = max(len(file.stem) for file in files)
    print_lines(f"{file.stem:{width}}  {load(file).about}" for file in files)
    return 0


def _shipped() -> Path:
    return Path(str(resources.files("firmware_sim") / "scenarios"))


def _scenario_file(name: str) -> Path:
    shipped = {file.stem: file for file in sorted(_shipped().glob("*.yaml"))}
    if name in shipped or os.access(name, os.F_OK):
        return shipped.get(name, Path(name))
    raise _RefusedError(
        f"there is no file `{name}`, and of the scenarios that come along (`oriole fleet list`) none is called so: "
        f"{there_are(shipped, name)}"
    )


def _factor(text: str) -> float:
    try:
        factor = float(text)
    except ValueError:
        factor = 0.0
    if not 1 <= factor <= 1_000_000:
        raise argparse.ArgumentTypeError(f"`{text}` is no factor from 1 to 1000000")
    return factor


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
        raise _RefusedError(f"--address {text}: write it like --address centre=mqtt://192.0.2.7:1883")
    return name, url
