"""`oriole journal`: arguments in, exit status out, and every failure a sentence on standard error."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from broker.journal.files import OtherFormatError
from broker.journal.reading import Damage
from broker.upkeep.folder import FAILED, USAGE, UpkeepError, is_held, journal_in
from broker.upkeep.survey import damage_in_words, lines, survey
from oriole.logging import set_up
from oriole.quantities import bytes_in_words
from oriole.stdout import print_lines


def main(argv: list[str]) -> int:
    """0 when it is done, and what was read is whole; 1 when not, or when some of it is damaged; 2 for bad usage."""
    arguments = _parser().parse_args(argv)
    set_up("warning")
    try:
        status: int = arguments.run(arguments)
    except UpkeepError as error:
        print(f"oriole journal: {error}", file=sys.stderr)
        return error.status
    except (OSError, OtherFormatError) as error:
        print(f"oriole journal: {error}", file=sys.stderr)
        return FAILED
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "oriole journal", description="Look after what a node keeps on its disk, while it runs or not."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    check = commands.add_parser("check", help="read all of it, and say what is there and what is damaged")
    check.set_defaults(run=_check)
    compact = commands.add_parser("compact", help="write anew what lives, and let go of the rest")
    compact.set_defaults(run=_compact)
    export = commands.add_parser("export", help="write a consistent copy of it to a file")
    export.add_argument("file", metavar="FILE", help="where to; `-` is standard output")
    export.set_defaults(run=_export)
    import_ = commands.add_parser("import", help="make a node's folder of such a copy")
    import_.add_argument("file", metavar="FILE", help="what `export` wrote; `-` is standard input")
    import_.set_defaults(run=_import)
    for command in (check, compact, export, import_):
        command.add_argument(
            "--data", type=Path, default=Path(), metavar="DIR", help="the data folder (default: the current folder)"
        )
    return parser


def _check(arguments: argparse.Namespace) -> int:
    folder = journal_in(arguments.data)
    found = survey(folder, is_held(arguments.data))
    print_lines(lines(folder, found))
    return FAILED if found.damages else 0


def _compact(arguments: argparse.Namespace) -> int:
    from broker.upkeep.compacting import compact

    progress = _Progress()
    used, spare = compact(arguments.data, lambda count: progress(count, 0))
    progress.end()
    print(f"{bytes_in_words(used)} are in use now, and {bytes_in_words(spare)} are kept to be written over")
    return 0


def _export(arguments: argparse.Namespace) -> int:
    from broker.upkeep.moving import export

    target = _file(arguments.file)
    if target is None and sys.stdout.isatty():
        raise UpkeepError("an export is nothing for a terminal: name a file, or pipe it somewhere", USAGE)
    progress = _Progress()
    about, damages = export(arguments.data, target, progress)
    progress.end()
    print(f"exported {bytes_in_words(about.total_bytes)}, up to position {about.position}", file=sys.stderr)
    return _tell(damages, "was damaged before, and is so in the copy")


def _import(arguments: argparse.Namespace) -> int:
    from broker.upkeep.moving import import_

    progress = _Progress()
    about, damages = import_(arguments.data, _file(arguments.file), progress)
    progress.end()
    made_at = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(about.made_at))
    size = bytes_in_words(about.total_bytes)
    print(f"imported {size}, which node {about.node} had at {made_at}: start it with --data {arguments.data}")
    return _tell(damages, "was damaged before it was exported, and is missing")


def _tell(damages: list[Damage], what: str) -> int:
    """Say what is damaged; the exit status."""
    if not damages:
        return 0
    print(f"oriole journal: some of it {what}:", *map(damage_in_words, damages), sep="\n", file=sys.stderr)
    return FAILED


def _file(name: str) -> Path | None:
    return None if name == "-" else Path(name)


class _Progress:
    """How far it is, for a person at a terminal."""

    __slots__ = ("_is_shown", "_next_at")

    def __init__(self) -> None:
        self._is_shown = sys.stderr.isatty()
        self._next_at = 0.0

    def __call__(self, done: int, of: int) -> None:
        """So many bytes are done, of so many; 0: nobody knows."""
        if self._is_shown and (now := time.monotonic()) >= self._next_at:
            self._next_at = now + 0.2
            total = f" of {bytes_in_words(of)}" if of else ""
            print(f"\r{bytes_in_words(done)}{total}\x1b[K", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Give the line back."""
        if self._is_shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
