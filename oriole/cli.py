"""`oriole COMMAND ...`: finds the command's program and runs it.

The one module that may import every program, and it imports only the one asked for: what a command does not use
costs it neither memory nor start-up time.
"""

import difflib
import importlib
import sys
from dataclasses import dataclass

from oriole import __version__


@dataclass(frozen=True, slots=True)
class Command:
    """A command: `module:function`, called as `function(argv: list[str]) -> exit status`, and its line in the help."""

    program: str
    summary: str

    def run(self, argv: list[str]) -> int:
        module, function = self.program.split(":")
        status: int = getattr(importlib.import_module(module), function)(argv)
        return status


COMMANDS = {
    "broker": Command("broker.app:main", "run a broker"),
    "edge": Command("edge_node.app:main", "run an edge node beside the devices"),
    "pub": Command("oriole.pubsub:main_pub", "publish a message over MQTT or CoAP"),
    "sub": Command("oriole.pubsub:main_sub", "subscribe over MQTT or CoAP and print what comes"),
    "sessions": Command("oriole.sessions:main", "show whose sessions a node keeps, and who is behind"),
    "journal": Command("broker.upkeep.main:main", "check, compact, export or import what a node keeps on its disk"),
    "fleet": Command("firmware_sim.cli:main_fleet", "run simulated devices"),
    "bench": Command("firmware_sim.cli:main_bench", "measure brokers side by side"),
    "demo": Command("firmware_sim.cli:main_demo", "a broker, two edges and a house full of devices, for a minute"),
}


def main(argv: list[str] | None = None) -> int:
    """Run `oriole` with the arguments `argv` (default: the process's) and return its exit status: 2 for bad usage."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] in ("-h", "--help"):
        print(_usage(), file=sys.stdout if argv else sys.stderr)
        return 0 if argv else 2
    name, *rest = argv
    if name in ("-V", "--version"):
        print(f"oriole {__version__}")
        return 0
    if name not in COMMANDS:
        print(f"oriole: {_unknown(name)}", file=sys.stderr)
        return 2
    try:
        return COMMANDS[name].run(rest)
    except KeyboardInterrupt:
        return 130  # 128 + SIGINT, as a shell reports it


def _usage() -> str:
    commands = "\n".join(f"  {name:10}{command.summary}" for name, command in COMMANDS.items())
    return (
        "usage: oriole COMMAND [ARGUMENT]...\n"
        "       oriole --version | --help\n\n"
        f"A push broker for things.\n\n{commands}\n\n"
        "`oriole COMMAND --help` tells more."
    )


def _unknown(name: str) -> str:
    what = "option" if name.startswith("-") else "command"
    near = difflib.get_close_matches(name, COMMANDS, n=1)
    hint = f"did you mean `{near[0]}`?" if near else "`oriole --help` lists the commands"
    return f"unknown {what} `{name}`: {hint}"
