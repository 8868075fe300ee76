"""Sessions for a person: an aligned table, with totals below it."""

import unicodedata
from collections.abc import Iterator, Sequence
from typing import Final

from oriole.quantities import bytes_in_words, duration_in_words
from oriole.sessions.row import SessionRow, Totals

MOST_COLUMNS: Final = 48
"""Of a client identifier; --json shows all of it."""

HEAD: Final = ("CLIENT", "STATE", "ENDS IN", "SUBSCRIPTIONS", "QUEUED", "BYTES", "IN FLIGHT", "")
TO_THE_RIGHT: Final = (False, False, True, True, True, True, True, False)


def lines(rows: Sequence[SessionRow], totals: Totals) -> Iterator[str]:
    """The table of `rows`, most behind first as they are given, and `totals`."""
    cells = [HEAD, *(_cells(row) for row in rows)]
    widths = [max(map(width, column)) for column in zip(*cells, strict=True)]
    if rows:
        for line in cells:
            aligned = zip(line, widths, TO_THE_RIGHT, strict=True)
            yield "  ".join(_aligned(text, room, right) for text, room, right in aligned).rstrip()
        yield ""
    waiting = f"{totals.queued:,} queued ({bytes_in_words(totals.queued_bytes)}), {totals.in_flight:,} in flight"
    full = f"; {totals.full:,} full: nothing more is taken for them" if totals.full else ""
    yield f"{totals.sessions:,} sessions, {totals.connected:,} connected; {waiting}{full}"


def _cells(row: SessionRow) -> tuple[str, ...]:
    away = "" if row.away_s is None else f"away for {duration_in_words(row.away_s)}"
    ends = "" if row.is_connected else "never" if row.ends_in_s is None else duration_in_words(row.ends_in_s)
    return (
        _shortened(shown(row.client)),
        away or "connected",
        ends,
        f"{row.subscriptions:,}",
        f"{row.queued:,}",
        bytes_in_words(row.queued_bytes),
        f"{row.in_flight:,}",
        " ".join(filter(None, ("full" if row.is_full else "", "" if row.node is None else f"node {shown(row.node)}"))),
    )


def shown(name: str) -> str:
    """A name that a peer chose, as it can neither end its line nor move the cursor nor pass for another."""
    if name and "\\" not in name and name.isprintable() and not any(map(unicodedata.combining, name)):
        return name if " " not in name else f'"{name}"'
    escaped = "".join(
        character
        if character.isprintable() and character != "\\" and not unicodedata.combining(character)
        else character.encode("unicode_escape").decode()
        for character in name
    )
    return f'"{escaped}"'


def width(text: str) -> int:
    """Columns that printable `text` takes on a terminal."""
    return len(text) if text.isascii() else sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _shortened(text: str) -> str:
    if width(text) <= MOST_COLUMNS:
        return text
    room, kept = MOST_COLUMNS - 1, ""
    for character in text:
        room -= _columns(character)
        if room < 0:
            break
        kept += character
    return f"{kept}…"


def _aligned(text: str, room: int, to_the_right: bool) -> str:
    padding = " " * (room - width(text))
    return padding + text if to_the_right else text + padding
