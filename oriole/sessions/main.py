"""`oriole sessions`: asks the node that runs on a data folder, sorts what it says, prints it."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec

from oriole.control import Control, ControlError
from oriole.sessions.row import SessionRow, Totals
from oriole.sessions.table import lines, shown
from oriole.stdout import print_lines

FAILED = 1


def main(argv: list[str]) -> int:
    """0 when the node answered, 1 when it could not be asked or refused, 2 for bad usage."""
    parser = _parser()
    arguments = parser.parse_intermixed_args(argv)
    is_end = arguments.clients[:1] == ["end"]
    if is_end and (len(arguments.clients) != 2 or arguments.behind or arguments.json):
        parser.error("say whose session is to end, as in `oriole sessions end CLIENT`")
    try:
        with Control(arguments.data) as control:
            return _end(control, arguments.clients[1], arguments.yes) if is_end else _show(control, arguments)
    except ControlError as error:
        print(f"oriole sessions: {error}", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "oriole sessions",
        usage="oriole sessions [--data DIR] [--behind] [--json] [CLIENT]...\n"
        "       oriole sessions end [--data DIR] [--yes] CLIENT",
        description="Show the sessions of the node that runs on a data folder, most behind first. `end` ends one, with "
        "all that waits for it: for a client that will never come back.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--data", type=Path, default=Path(), metavar="DIR", help="the node's data folder (default: the current folder)"
    )
    parser.add_argument("--behind", action="store_true", help="only those that messages wait for")
    parser.add_argument("--json", action="store_true", help="one JSON object with `sessions` and `totals`")
    parser.add_argument("--yes", action="store_true", help="with `end`: do not ask first")
    parser.add_argument("clients", nargs="*", metavar="CLIENT", help="client identifiers (default: all)")
    return parser


def _rows(control: Control, clients: list[str], behind: bool = False) -> list[SessionRow]:
    rows = control.ask("sessions", clients=clients, behind=behind)
    return sorted((msgspec.convert(row, SessionRow) for row in rows), key=lambda row: row.rank)


def _show(control: Control, arguments: argparse.Namespace) -> int:
    rows = _rows(control, arguments.clients, arguments.behind)
    totals = Totals.of(rows)
    if arguments.json:
        print_lines([msgspec.json.encode({"sessions": rows, "totals": totals}).decode()])
    else:
        print_lines(_told(rows, totals, arguments.behind, control.done["sessions"]))
    return 0


def _told(rows: list[SessionRow], totals: Totals, behind: bool, of_all: int) -> Iterator[str]:
    yield from lines(rows, totals)
    if behind:
        yield f"{of_all - len(rows):,} others have all that was for them"


def _end(control: Control, client: str, is_sure: bool) -> int:
    (row,) = _rows(control, [client])
    if not is_sure:
        if not sys.stdin.isatty():
            raise ControlError("there is nobody to confirm it: say --yes")
        print(*lines([row], Totals.of([row])), sep="\n")
        try:
            answer = input("All of that would be gone for good. End the session? [y/N] ")
        except EOFError:
            answer = ""
        if answer.strip().lower() not in ("y", "yes"):
            print("nothing was done")
            return FAILED
    for _ in control.ask("end session", client=client):
        print(f"the session of {shown(client)} has ended")
    return 0
