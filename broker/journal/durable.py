"""A node's journal on disk: records in, positions out, and after a restart the node as it was.

It stands between the engine, which knows records and its own clock, and `DiskJournal`, which knows batches of bytes and
a thread. A disk that fails makes it refuse until the disk is well again; what the engine did meanwhile is in no record,
so it then writes the whole node anew, and goes on from there.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Final, Literal

from broker.core.promises import JournalError
from broker.core.records import Record
from broker.journal.archive import Archive
from broker.journal.bases import write_base
from broker.journal.batches import Batches
from broker.journal.codec import DamagedRecordError, encode, outline, split
from broker.journal.copies import copy_into
from broker.journal.disk import DiskJournal, Reach
from broker.journal.files import Header, Kind, boottime_ms, name, new_header, numbers, read_header
from broker.journal.frames import Frame
from broker.journal.places import Places
from broker.journal.reading import Damage, Reading
from broker.mqtt.recollection import Recollection

Durability = Literal["strict", "relaxed"]

RELAXED_S: Final = 1.0
"""Between two syncs where acknowledgements do not wait for them."""
MOST_UNSAFE_BYTES: Final = 16 << 20
"""Publishers are not read while so much waits for the disk: a card that writes 10 MB/s needs less than two seconds."""
SEGMENT_BYTES: Final = 16 << 20
"""The journal of a quiet node is never larger than two or three of these, which a small card has room for."""
PLAUSIBLE_MS: Final = 1_767_225_600_000
"""A wall clock before 2026 has not been set since the machine was switched on, and says nothing about how long ago."""


@dataclass(slots=True, frozen=True)
class History:
    """Segments that are complete: the number of the last, and the bytes of all."""

    upto: int
    bytes: int


class DurableJournal:
    """The journal in `folder`.

    Args:
        folder: made if missing; held by this process alone.
        node: who writes, as 16 bytes.
        epoch: names the order of messages that begins with an empty journal, as 16 bytes.
        durability: `strict`: a position is committed when the disk has it. `relaxed`: at once, and the disk has it
            within a second.
        call: has a function called on the engine's loop, from any thread.

    Attributes:
        committed: see `Journal`.
        archive: where its messages can be read again.
        damages: what could not be read at the start.
        epoch: names the order of messages in this journal, which goes on from life to life.
        written_bytes: how much was appended in this life.
        failures: how often batches were refused or lost.

    Raises OSError and `files.OtherFormatError`.
    """

    __slots__ = (
        "_anew_at", "_appended", "_batches", "_call", "_disk", "_files", "_folder", "_here", "_is_told", "_is_void",
        "_on_damage", "_on_safe", "_on_trouble", "_places", "_shift_ms", "_taken", "_write_anew", "archive",
        "committed", "damages", "durability", "epoch", "failures", "keeps", "written_bytes",
    )  # fmt: skip

    def __init__(
        self,
        folder: Path,
        node: bytes,
        epoch: bytes,
        durability: Durability,
        call: Callable[[Callable[[], object]], object],
    ) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.keeps = True
        self.durability = durability
        self.damages: list[Damage] = []
        self.written_bytes = 0
        self._folder = folder
        self._files = Lock()  # held by whoever drops files, or counts on them
        self._call = call
        self._is_told = False
        self._is_void = False
        self._anew_at = 0  # the position at which the whole node is written down again after trouble; 0: no trouble
        self._on_safe: Callable[[int], None] = lambda _: None
        self._on_trouble: Callable[[str], None] = lambda _: None
        self._on_damage: Callable[[Damage], None] = self.damages.append
        self._write_anew: Callable[[], int] = int
        self._taken: dict[int, int] = {}  # where messages are that are not routed yet
        self._here = new_header(0, 0, bytes(16), bytes(16))
        self._places = Places()
        self._shift_ms = boottime_ms() - time.monotonic_ns() // 1_000_000
        self.epoch = _epoch_of(folder) or epoch
        self._disk = DiskJournal(
            folder,
            self._safe,
            self._fail,
            self._recover,
            node=node,
            epoch=self.epoch,
            min_interval_s=RELAXED_S if durability == "relaxed" else 0.0,
            segment_bytes=SEGMENT_BYTES,
            hurry_bytes=MOST_UNSAFE_BYTES // 2,
            places=self._places,
        )
        self.committed = self._appended = self._disk.committed
        self._batches = Batches(folder, self._places, self._shift_of, self._damaged)
        self.archive = Archive(self._batches, call, lambda: self._disk.committed, lambda: self._appended + 1)
        self.failures = 0

    # ---- At the start

    def recollect(self) -> Recollection:
        """All that earlier lives left here. What is damaged is set aside, and told in `damages`."""
        recollection = Recollection(self._batches)
        reading = Reading(self._folder, before=self._disk.first_segment, places=self._places)
        holes = 0
        for frame in reading:
            if len(reading.damages) > holes:
                holes = len(reading.damages)
                recollection.miss()
            try:
                rows, _ = split(frame.blob)
                for record in outline(rows, frame.position, self._shift_of(frame, reading.header)):
                    recollection.take(record)
            except DamagedRecordError as error:
                self.damages.append(Damage(f"position {frame.position}", 0, len(frame.blob), str(error)))
                recollection.miss()
        self.damages += reading.damages
        self._taken = recollection.read()
        return recollection

    def _shift_of(self, frame: Frame, header: Header) -> int:
        """What makes times of a batch times of this node: how long ago it was, by whichever clock ran meanwhile."""
        here = self._here
        if header.boot == here.boot:
            return self._shift_ms
        written_ms = frame.boottime_ms - header.boottime_ms + header.wall_ms
        is_known = header.wall_ms >= PLAUSIBLE_MS and here.wall_ms >= written_ms
        ago_ms = here.wall_ms - written_ms if is_known else 0
        return frame.boottime_ms + ago_ms - (here.boottime_ms - self._shift_ms)

    def attach(
        self,
        on_safe: Callable[[int], None],
        on_trouble: Callable[[str], None],
        write_anew: Callable[[], int],
        on_damage: Callable[[Damage], None],
        wake: Callable[[], int],
    ) -> None:
        """Whom to tell what is committed, and what is wrong (empty: no more); who appends the whole node, and returns
        the position; whom to tell of messages that cannot be read any more; who is woken when some were read, and says
        what time it is. After trouble nothing that was not committed ever will be.
        """
        self._on_safe, self._on_trouble, self._write_anew = on_safe, on_trouble, write_anew
        self._on_damage = on_damage
        self.archive.wake = wake

    # ---- From the engine

    @property
    def appended(self) -> int:
        """The position of the last batch that was taken."""
        return self._appended

    @property
    def trouble(self) -> str:
        """Why nothing is taken at the moment; empty: it is."""
        return (self._disk.failure or "all that lives is being written anew") if self._is_void or self._anew_at else ""

    @property
    def is_behind(self) -> bool:
        """Whether publishers have to wait for the disk."""
        return self._disk.waiting_bytes >= MOST_UNSAFE_BYTES

    def append(self, batch: Sequence[Record]) -> int:
        """See `Journal`."""
        if self._is_void:
            self.failures += 1
            raise JournalError(self._disk.failure or "the journal is being written anew")
        blob = encode(batch, self._appended + 1, self._taken, self._shift_ms)
        self.written_bytes += len(blob)
        try:
            self._appended = self._disk.append(blob)
        except JournalError:
            self._is_void = True  # the engine goes on, and this batch is nowhere
            self.failures += 1
            raise
        if self.durability == "relaxed" and not self.is_behind:
            self.committed = self._appended
        return self._appended

    @property
    def history(self) -> History | None:
        """The segments that are complete; None: there are none."""
        closed = self._disk.closed_segments()
        return History(closed[-1][0], sum(size for _, size in closed)) if closed else None

    def forget(self, upto: int, done: Callable[[OSError | None], None]) -> None:
        """Segments up to number `upto` are no longer needed. What was asked for before is read before they go; then
        `done` is called, with what went wrong.
        """
        self.archive.do(lambda: self._forget(upto, done))

    def _forget(self, upto: int, done: Callable[[OSError | None], None]) -> None:
        trouble: OSError | None = None
        try:
            with self._files, (self._folder / name("segment", upto + 1)).open("rb") as file:
                header = read_header(file)
                if header is not None:
                    write_base(self._folder, upto, header.position - 1, (), node=header.node, epoch=header.epoch)
            with (self._folder / name("segment", upto + 1)).open("rb") as file:
                header = read_header(file)
        except OSError as error:
            trouble = error
        else:
            self._places.forget(upto)
            self._batches.forget(upto)
        self._call(partial(done, trouble))

    def end_segment(self) -> int:
        """Put what is appended from now on into another file; the number of the last one before it."""
        return self._disk.end_segment()

    @property
    def reach(self) -> Reach:
        """How far the files go: what of this journal is on the disk, whatever was promised."""
        return self._disk.reach()

    def copy_into(self, target: Path) -> Reach:
        """Make `target`, an empty folder on the same disk, a journal with all that this one has on the disk; how far
        that is. May take a while, and be called from any thread. Raises OSError.
        """
        with self._files:
            reach = self._disk.reach()
            copy_into(target, self._folder, reach)
        return reach

    def close(self) -> None:
        """Write what waits, and end."""
        self._disk.close()
        self.archive.close()

    # ---- From the thread

    def _safe(self, position: int) -> None:
        if not self._is_told:
            self._is_told = True
            self._call(self._tell)

    def _fail(self, reason: str) -> None:
        self._call(lambda: self._failed(reason))

    def _recover(self) -> None:
        self._call(self._recovered)

    def _damaged(self, damage: Damage) -> None:
        self._call(lambda: self._on_damage(damage))

    # ---- On the loop again

    def _tell(self) -> None:
        self._is_told = False
        safe = self._disk.committed
        is_ahead = self.durability == "relaxed" and not self._is_void and not self.is_behind
        self.committed = self._appended if is_ahead else safe
        self._on_safe(self.committed)
        self.archive.committed()
        if 0 < self._anew_at <= safe:
            self._anew_at = 0
            self._on_trouble("")

    def _failed(self, reason: str) -> None:
        self._is_void = True
        self._anew_at = 0
        self.failures += 1
        self._tell()  # what was safe before
        self._appended = self.committed
        self._on_trouble(reason)
        self._disk.resume()

    def _recovered(self) -> None:
        """The disk takes batches again: the whole node, as one batch, before anything else."""
        self._is_void = False
        with suppress(JournalError):  # failed again meanwhile, and will recover again
            self._anew_at = self._write_anew()
            self.archive.postpone(self._anew_at)


def _epoch_of(folder: Path) -> bytes | None:
    """What the newest file here says that can be read; None: there is none."""
    kinds: tuple[Kind, ...] = ("segment", "base")
    for kind in kinds:
        for number in reversed(numbers(folder, kind)):
            with (folder / name(kind, number)).open("rb") as file:
                if (header := read_header(file)) is not None:
                    return header.epoch
    return None
