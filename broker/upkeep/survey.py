"""What is in a journal: counted, and compared with what should be there. Nothing is changed.

A node may write meanwhile. What it was just writing, or letting go of, looks damaged for a moment; real damage is still
the same when it is looked at again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from broker.core.message import MESSAGE_OVERHEAD_BYTES
from broker.core.records import Asked, Met, Outline, Record, Released, Ruled, Skipped, Stream, Taking
from broker.journal.batches import Batches
from broker.journal.codec import DamagedRecordError, outline, split
from broker.journal.places import Places
from broker.journal.reading import Damage, Reading
from broker.mqtt.recollection import Recollection
from broker.mqtt.remembered import GONE, UNKNOWN
from oriole.quantities import bytes_in_words

WORDS: Final = {
    "base": "base",
    "segment": "of segments",
    "spare": "to be written over",
    "damaged": "damaged and set aside earlier",
}
RECORD_BYTES: Final = 14
"""Of a record of a message, besides what the message consists of."""
OF_AN_EDGE: Final = tuple(kind.__name__ for kind in (Stream, Skipped, Released, Ruled, Asked, Met))


@dataclass(slots=True)
class Survey:
    """What was found in a journal.

    Attributes:
        files: how many of each kind there are, and their bytes.
        batches, batch_bytes: what can be read, and is not stood for by a base.
        first, last: its positions.
        records: how many of each kind are in the batches.
        sessions: how many there are.
        queued, queued_bytes: what they and an edge's centre are owed, and about how much it is, written anew.
        retained, retained_bytes: the same of retained messages.
        damages: what cannot be read and should be there.
    """

    files: dict[str, tuple[int, int]] = field(default_factory=dict)
    batches: int = 0
    batch_bytes: int = 0
    first: int = 0
    last: int = 0
    records: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    queued: int = 0
    queued_bytes: int = 0
    retained: int = 0
    retained_bytes: int = 0
    damages: list[Damage] = field(default_factory=list)

    @property
    def is_of_an_edge(self) -> bool:
        """Whether it has what only an edge can read."""
        return any(self.records[name] for name in OF_AN_EDGE)


def survey(folder: Path, is_written: bool) -> Survey:
    """Read the journal in `folder`; `is_written`: a node may write it meanwhile. Raises OSError, OtherFormatError."""
    found = _read(folder)
    if found.damages and is_written:
        before = found.damages
        found = _read(folder)
        found.damages = [damage for damage in found.damages if damage in before]
    return found


def _read(folder: Path) -> Survey:
    found = Survey(files=_files(folder))
    places = Places()
    unknown: list[Damage] = []
    batches = Batches(folder, places, lambda frame, header: 0, unknown.append)
    recollection = Recollection(batches)
    reading = Reading(folder, set_aside=False, places=places)
    for frame in reading:
        found.batches += 1
        found.batch_bytes += frame.size
        found.first = found.first or frame.position
        try:
            rows, _ = split(frame.blob)
            for record in outline(rows, frame.position):
                found.records[_name(record)] += 1
                recollection.take(record)
        except DamagedRecordError as error:
            unknown.append(Damage(f"position {frame.position}", 0, len(frame.blob), str(error)))
    found.last = reading.position
    _count_what_lives(found, recollection, batches)
    found.damages = reading.damages + unknown
    batches.close()
    return found


def _name(record: Record | Outline | Taking) -> str:
    match record:
        case Outline():
            return "Routed" if record.taken else "Accepted"
        case Taking():
            return "Taken"
        case _:
            return type(record).__name__


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    sizes: dict[str, list[int]] = {kind: [] for kind in WORDS}
    for path in sorted(folder.iterdir()):
        if (kind := path.suffix[1:]) in sizes:
            try:
                sizes[kind].append(path.stat().st_size)
            except FileNotFoundError:  # let go of since
                continue
    return {kind: (len(each), sum(each)) for kind, each in sizes.items() if each}


def _count_what_lives(found: Survey, recollection: Recollection, batches: Batches) -> None:
    found.sessions = len(recollection.sessions)
    owed = [
        size
        for session in recollection.sessions.values()
        for place, size in zip(session.places, session.sizes, strict=True)
        if place not in (UNKNOWN, GONE)
    ]
    recollection.read()
    owed += [message.size for stream in recollection.streams.values() for message in stream.messages if message]
    kept = [batches.message(place, index) for place, index in sorted(recollection.retained.values())]
    retained = [message.size for message in kept if message is not None]
    found.queued, found.queued_bytes = len(owed), sum(map(_written_anew, owed))
    found.retained, found.retained_bytes = len(recollection.retained), sum(map(_written_anew, retained))


def _written_anew(size: int) -> int:
    """What a message of that `Message.size` takes, about, when it is written anew."""
    return RECORD_BYTES + size - MESSAGE_OVERHEAD_BYTES


def lines(folder: Path, found: Survey) -> Iterator[str]:
    """A survey for a person."""
    yield f"{folder}: {'damaged' if found.damages else 'whole'}"
    files = (f"{count} {WORDS[kind]} ({bytes_in_words(size)})" for kind, (count, size) in found.files.items())
    yield f"  files     {', '.join(files) or 'none'}"
    positions = f", positions {found.first} to {found.last}" if found.batches else ""
    yield f"  batches   {found.batches:,} ({bytes_in_words(found.batch_bytes)}){positions}"
    records = (f"{count:,} {name}" for name, count in found.records.most_common())
    yield f"  records   {found.records.total():,}: {', '.join(records)}" if found.records else "  records   none"
    owed = f"{found.queued:,} messages ({bytes_in_words(found.queued_bytes)})"
    whose = f"{found.sessions:,} sessions{' and a centre' if found.is_of_an_edge else ''}"
    retained = f"{found.retained:,} retained ({bytes_in_words(found.retained_bytes)})"
    yield f"  lives     {whose} that are owed {owed}, {retained}"
    history_bytes = max(0, found.batch_bytes - found.queued_bytes - found.retained_bytes)
    yield f"  history   about {bytes_in_words(history_bytes)} of the batches"
    yield from map(damage_in_words, found.damages)


def damage_in_words(damage: Damage) -> str:
    """One damage on a line."""
    where = f" at byte {damage.offset}, {damage.bytes} bytes" if damage.bytes else ""
    return f"  DAMAGED   {damage.file}{where}: {damage.reason}"
