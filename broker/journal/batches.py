"""Messages that were recorded, read again: by the place of their record.

Whoever reads holds the last few batches, since what is asked for together is often in one. A batch is checked whenever
it is read; its rows are decoded then, and of its messages those that somebody asks for. What cannot be read is None,
and told once for each batch.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from itertools import count
from pathlib import Path
from threading import Event
from typing import Any, Final

import msgspec

from broker.core.message import Message
from broker.core.records import ROW_BITS, Delivery, position_of
from broker.journal.codec import ACCEPTED, ROUTED, TAKEN, DamagedRecordError, Row, read_grant, read_message, split
from broker.journal.files import Header, name
from broker.journal.frames import Frame, mark, read_at
from broker.journal.places import Places
from broker.journal.reading import Damage

SCARCE: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EINTR))
"""What is missing for a read today may be there tomorrow, and the file is whole."""
RETRY_S: Final = 0.2
TRIES: Final = 5
"""Before a file that cannot be read counts as damaged."""
MOST_HELD: Final = 4
"""Batches: of messages that were taken over before they were routed, two are needed in turns."""

_ROW = (1 << ROW_BITS) - 1
_decode = msgspec.msgpack.Decoder(list[Any]).decode


class Batch:
    """The records of `blob`; `shift_ms` is subtracted from times. Raises DamagedRecordError."""

    __slots__ = ("_begin", "_blob", "_bodies", "_shift_ms", "rows")

    def __init__(self, blob: bytes, shift_ms: int) -> None:
        self.rows, self._begin = split(blob)
        self._blob = memoryview(blob)
        self._bodies: dict[int, list[Any]] = {}
        self._shift_ms = shift_ms

    def message(self, row: Row, index: int) -> Message:
        """A message of a row of `Accepted` or `Taken`."""
        offset, length = row[6:8]
        body = self._bodies.get(offset)
        if body is None:
            begin = self._begin + offset
            body = self._bodies[offset] = _decode(self._blob[begin : begin + length])
        if row[0] == TAKEN:
            topic, flags, tail = body[index]
            return read_message(topic, flags >> 1, bool(flags & 1), tail, self._shift_ms)
        _, flags, order, topic, *_ = row
        return read_message(topic, flags >> 3, bool(flags & 4), body[index], self._shift_ms, order + index)


class Batches:
    """Reads the journal in `folder`.

    Args:
        places: where its batches are.
        shift_of: what is subtracted from times in a frame, by the header of its file.
        report: told of each batch that cannot be read.

    Attributes:
        is_patient: it may wait for what is scarce, for nobody waits for it.
    """

    __slots__ = ("_files", "_folder", "_held", "_is_over", "_places", "_report", "_shift_of", "is_patient")

    def __init__(
        self,
        folder: Path,
        places: Places,
        shift_of: Callable[[Frame, Header], int],
        report: Callable[[Damage], None],
    ) -> None:
        self._folder = folder
        self._places = places
        self._shift_of = shift_of
        self._report = report
        self._held: dict[int, Batch | None] = {}
        self._files: dict[int, int] = {}
        self._is_over = Event()
        self.is_patient = False

    def message(self, place: int, index: int) -> Message | None:
        """Message no. `index`, from 0, of the record in `place`."""
        batch = self._batch(position_of(place))
        if batch is None:
            return None
        try:
            row = batch.rows[place & _ROW]
            if row[0] != ROUTED:
                return batch.message(row, index)
            return self._taken(row, index)
        except (msgspec.DecodeError, LookupError, TypeError, ValueError):
            return None  # whatever that place is, it is no message

    def delivery(self, place: int, recipient: int, number: int) -> Delivery | None:
        """Delivery no. `number` of `recipient`, from the record in `place`."""
        batch = self._batch(position_of(place))
        if batch is None or place & _ROW >= len(batch.rows):
            return None
        row = batch.rows[place & _ROW]
        if row[0] not in (ACCEPTED, ROUTED):
            return None
        *_, owed, grants = row
        for at in range(0, len(owed), 2):
            if owed[at] == recipient and owed[at + 1] <= number:
                message = self.message(place, number - owed[at + 1])
                return None if message is None else (message, *read_grant(grants, at // 2))
        return None

    def _taken(self, row: Row, index: int) -> Message | None:
        """The message that a row of `Routed` gave a place in the order."""
        _, _, order, _, _, runs, *_ = row
        before = 0
        for at in range(0, len(runs), 3):
            number, count, place = runs[at : at + 3]
            if index < before + count:
                batch = self._batch(position_of(place))
                if batch is None:
                    return None
                taken = batch.rows[place & _ROW]
                message = batch.message(taken, number + index - before - taken[1])
                message.order = order + index
                return message
            before += count
        return None

    def forget(self, upto: int) -> None:
        """Segments up to this number are gone."""
        for number in [number for number in self._files if number <= upto]:
            os.close(self._files.pop(number))

    def close(self) -> None:
        """Let go of all files."""
        self.forget(1 << 62)
        self._held.clear()

    def _batch(self, position: int) -> Batch | None:
        held = self._held
        if position in held:
            held[position] = held.pop(position)  # the last that was used
            return held[position]
        if len(held) >= MOST_HELD:
            del held[next(iter(held))]
        batch = held[position] = self._read(position)
        return batch

    def _read(self, position: int) -> Batch | None:
        where = self._places.find(position)
        if where is None:
            return None
        header, offset = where
        file = name("segment", header.number)
        try:
            frame = self._frame(header.number, offset)
            if frame is not None and frame.position == position:
                return Batch(frame.blob, self._shift_of(frame, header))
            self._report(Damage(file, offset, 0, "garbled since it was written"))
        except (OSError, DamagedRecordError) as error:
            self._report(Damage(file, offset, 0, getattr(error, "strerror", None) or str(error)))
        return None

    def _frame(self, number: int, offset: int) -> Frame | None:
        """What is in a segment there. Raises OSError for what does not pass by itself."""
        for tries in count(1):
            try:
                return read_at(self._open(number), mark("segment", number), offset)
            except OSError as error:
                passes = self.is_patient and error.errno in SCARCE
                if self._is_over.is_set() or (tries >= TRIES and not passes):
                    raise
                self._is_over.wait(RETRY_S)
        return None

    def stop(self) -> None:
        """From any thread: wait for nothing any more."""
        self._is_over.set()

    def _open(self, number: int) -> int:
        if number not in self._files:
            path = self._folder / name("segment", number)
            self._files[number] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        return self._files[number]
