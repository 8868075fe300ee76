"""The journal on a disk: batches are safe once a commit has reached them, and no one waits for it meanwhile.

`append` leaves a batch for a thread, which writes all that waits at once and asks the disk once to keep it. What comes
during a commit is the next one, so commits grow with the load by themselves. But a disk writes whole pages: where a
stream of batches fills one within `WINDOW_S`, a commit waits for more of it. The loop and the thread share a few fields
under one lock, and batches are bytes here.

A disk that fails to write or to sync has an unknown part of what it was given. All that is not committed is void then:
its positions are given again, to other batches, in a new file. Nothing is taken until the owner has taken back what
rested on it (`resume`) and a new file could be made, which is tried again and again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from math import exp
from pathlib import Path
from threading import Condition, Thread
from time import monotonic
from typing import Final

from broker.core.promises import JournalError
from broker.journal.files import (
    HEADER_BYTES,
    boottime_ms,
    create,
    drop_superseded,
    drop_unfinished,
    name,
    new_header,
    numbers,
    publish,
    write,
)
from broker.journal.frames import HEAD, head, mark
from broker.journal.places import Places
from broker.journal.reading import last_batch

SEGMENT_BYTES: Final = 64 << 20
PROBE_S: Final = 1.0
CLOSE_S: Final = 10.0

PAGE_BYTES: Final = 4096
"""What a disk writes at least. A commit shares its first and last page with others: it writes one more than it fills.
"""
WINDOW_S: Final = 0.01
"""So long a commit may wait to be worth its pages."""
ENOUGH_BYTES: Final = 3 * PAGE_BYTES
"""With so much waiting nothing is gained by more: at most a third of what is written was written before."""
GAPS: Final = 4
"""A stream that pauses for so many times its usual gap, or a tenth of the window, has ended: its senders may be waiting
for this commit.
"""

HURRY_BYTES: Final = 8 << 20
"""With so much waiting a commit begins before its time: a card that writes 10 MB/s needs a second for it."""


@dataclass(slots=True, frozen=True)
class Reach:
    """All batches up to `position` are in files up to segment number `segment`, of which they take `end` bytes."""

    position: int
    segment: int
    end: int


class Flow:
    """How much comes, and how often: sums of which the past counts for less and less, as much as `WINDOW_S` of now."""

    __slots__ = ("_at", "_batches", "_bytes")

    def __init__(self) -> None:
        self._at = 0.0
        self._bytes = 0.0
        self._batches = 0.0

    def add(self, batches: int, size: int, now_s: float) -> None:
        """So much was taken since the last time."""
        rest = exp((self._at - now_s) / WINDOW_S)
        self._at = now_s
        self._bytes = self._bytes * rest + size
        self._batches = self._batches * rest + batches

    @property
    def fills_pages(self) -> bool:
        """Whether a page comes together within `WINDOW_S`."""
        return self._bytes >= PAGE_BYTES

    @property
    def pause_s(self) -> float:
        """After so long without a batch there is no stream any more."""
        return min(GAPS / self._batches, 0.1) * WINDOW_S


class DiskJournal:
    """Appends batches to a folder; what is there already is read by `Reading(folder, before=journal.first_segment)`.

    Args:
        folder: where the files are; exists, and is held by this process alone.
        node, epoch: who writes, 16 bytes each.
        on_commit: called in the thread of the journal with the highest position that is safe, once a commit.
        on_failure: called in the thread, once when the disk fails: nothing above `committed` ever becomes safe.
            Call `resume` when nobody counts on it any more.
        on_recovery: called in the thread when batches are taken again.
        segment_bytes: how large a file grows before the next one is begun; so much room is taken in advance.
        min_interval_s: between the beginnings of two commits. What comes after a pause is committed at once.
        max_waiting_bytes: `append` refuses when so much waits for the disk.
        hurry_bytes: a commit begins before its time when so much waits.
        places: told where each batch is.

    Attributes:
        committed: the highest position known to be safe.
        first_segment: the number of the first file of this life.
        ended_torn: the last life ended during a commit. What it did not finish was promised to nobody, and is gone.

    Raises OSError when the folder cannot be used, OtherFormatError when a newer version wrote there.
    """

    __slots__ = (
        "_end",
        "_epoch",
        "_failure",
        "_file",
        "_flow",
        "_folder",
        "_has_committed",
        "_hurry_bytes",
        "_is_closing",
        "_is_ended",
        "_is_resumed",
        "_mark",
        "_max_waiting_bytes",
        "_min_interval_s",
        "_node",
        "_number",
        "_on_commit",
        "_on_failure",
        "_on_recovery",
        "_places",
        "_position",
        "_ready",
        "_segment_bytes",
        "_size",
        "_thread",
        "_waiting",
        "_waiting_bytes",
        "committed",
        "ended_torn",
        "first_segment",
    )

    def __init__(
        self,
        folder: Path,
        on_commit: Callable[[int], None],
        on_failure: Callable[[str], None],
        on_recovery: Callable[[], None],
        *,
        node: bytes,
        epoch: bytes,
        segment_bytes: int = SEGMENT_BYTES,
        min_interval_s: float = 0,
        max_waiting_bytes: int = 1 << 62,
        hurry_bytes: int = HURRY_BYTES,
        places: Places | None = None,
    ) -> None:
        self._folder = folder
        self._places = places or Places()
        self._on_commit = on_commit
        self._on_failure = on_failure
        self._on_recovery = on_recovery
        self._node = node
        self._epoch = epoch
        self._segment_bytes = segment_bytes
        self._min_interval_s = min_interval_s
        self._max_waiting_bytes = max_waiting_bytes
        self._hurry_bytes = hurry_bytes
        self._has_committed = True
        self._flow = Flow()
        self._ready = Condition()
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._failure = ""
        self._is_resumed = True
        self._is_closing = False
        self._is_ended = False
        self._file = -1
        self._mark = b""
        self._end = self._size = 0
        self.ended_torn = False
        drop_unfinished(folder)
        drop_superseded(folder)
        self.committed = self._position = self._last_position()
        self._number = max([0, *numbers(folder, "segment"), *numbers(folder, "base")])
        self.first_segment = self._number + 1
        self._begin()
        self._thread = Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    @property
    def waiting_bytes(self) -> int:
        """Of batches that are not on the disk yet."""
        return self._waiting_bytes

    @property
    def failure(self) -> str:
        """Why nothing is taken, in a user's words; empty while all is well."""
        return self._failure

    def append(self, blob: bytes) -> int:
        """Take a batch and return its position; it is safe once `committed` has reached it. Raises JournalError."""
        with self._ready:
            if self._failure:
                raise JournalError(self._failure)
            before = self._waiting_bytes
            if before >= self._max_waiting_bytes:
                raise JournalError(f"the disk is {before} bytes behind")
            self._waiting.append(blob)
            self._waiting_bytes = after = before + len(blob)
            self._position += 1
            if len(self._waiting) == 1 or before < self._hurry_bytes <= after:
                self._ready.notify()
            return self._position

    def resume(self) -> None:
        """After a failure: nobody counts on what was not committed, so its positions may be given again."""
        with self._ready:
            self._is_resumed = True
            self._ready.notify()

    def closed_segments(self) -> list[tuple[int, int]]:
        """Number and bytes of each segment that is complete, oldest first: what a base could stand for."""
        current = self._number
        return [
            (number, (self._folder / name("segment", number)).stat().st_size)
            for number in numbers(self._folder, "segment")
            if number < current
        ]

    def end_segment(self) -> int:
        """Put what is appended from now on into another file; the number of the last one before it."""
        with self._ready:
            self._is_ended = True
            return self._number

    def reach(self) -> Reach:
        """How far the files go at this moment."""
        with self._ready:
            return Reach(self.committed, self._number, self._end)

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write what waits, and end; a disk that takes longer than `timeout_s` is left alone."""
        with self._ready:
            self._is_closing = True
            self._failure = self._failure or "the journal is closed"
            self._ready.notify()
        self._thread.join(timeout_s)

    # ---- At the beginning

    def _last_position(self) -> int:
        """Of all earlier lives. What the last file has room for and does not need is given back."""
        segments, bases = numbers(self._folder, "segment"), numbers(self._folder, "base")
        last = last_batch(self._folder, "base", bases[-1])[0] if bases else 0
        for number in reversed(segments):
            position, end, is_torn = last_batch(self._folder, "segment", number)
            if number == segments[-1]:
                self.ended_torn = is_torn
                path = self._folder / name("segment", number)
                os.truncate(path, end)
                with path.open("rb") as file:  # what was read may have been in the system's memory alone
                    os.fsync(file.fileno())
            if position:
                return max(last, position)
        return last

    # ---- In the thread

    def _run(self) -> None:
        next_at = 0.0
        while batches := self._take(next_at):
            next_at = monotonic() + self._min_interval_s
            try:
                self._commit(batches)
            except Exception as error:  # also too little memory: nothing may end the thread in silence
                self._fail(error)
                self._recover()
        self._end_file()

    def _take(self, at: float) -> list[bytes]:
        """All that waits, once there is something, `at` has come, and no more is worth a wait; nothing at the end."""
        with self._ready:
            self._ready.wait_for(lambda: self._waiting or self._is_closing)
            if (pause_s := at - monotonic()) > 0:
                self._ready.wait_for(lambda: self._is_closing or self._waiting_bytes >= self._hurry_bytes, pause_s)
            if self._flow.fills_pages:
                self._gather(monotonic() + WINDOW_S)
            batches, self._waiting = self._waiting, []
            self._flow.add(len(batches), self._waiting_bytes, monotonic())
            return batches

    def _gather(self, until: float) -> None:
        """Let more come, while it does."""
        position = -1
        while position != self._position and self._waiting_bytes < ENOUGH_BYTES and monotonic() < until:
            position = self._position
            self._ready.wait(self._flow.pause_s)

    def _commit(self, batches: list[bytes]) -> None:
        now = boottime_ms()
        commit = position = self.committed + 1
        pieces: list[bytes] = []
        end = self._end
        for blob in batches:
            if self._is_ended or end + HEAD.size + len(blob) > self._size:
                if pieces:
                    self._sync(pieces, position - 1)
                    pieces.clear()
                self._begin(HEAD.size + len(blob))
                commit, end = position, self._end
            pieces += (head(self._mark, position, commit, now, blob), blob)
            self._places.add(end)
            end += HEAD.size + len(blob)
            position += 1
        self._sync(pieces, position - 1)

    def _sync(self, pieces: list[bytes], position: int) -> None:
        """Make batches up to `position` safe, and say so."""
        content = b"".join(pieces)
        write(self._file, content, self._end)
        os.fdatasync(self._file)
        self._has_committed = True
        with self._ready:
            self._end += len(content)
            self.committed = position
            self._waiting_bytes -= len(content) - HEAD.size * (len(pieces) // 2)
        self._on_commit(position)

    def _begin(self, least_bytes: int = 0) -> None:
        """A new file with room for a batch of so many bytes."""
        header = new_header(self._number + 1, self.committed + 1, self._node, self._epoch)
        file = create(self._folder, "segment", header, max(self._segment_bytes, HEADER_BYTES + least_bytes))
        try:
            publish(self._folder, "segment", header, file)
        except OSError:
            os.close(file)
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file = file
        self._places.begin(header)
        self._mark = mark("segment", header.number)
        with self._ready:
            self._is_ended = False
            self._number = header.number
            self._end = HEADER_BYTES
        self._size = os.fstat(file).st_size

    def _end_file(self) -> None:
        """Give back what the file does not need, which is also whatever a failed commit left there."""
        if self._file >= 0:
            with suppress(OSError):  # the next file says where this one ends
                os.truncate(self._file, self._end)
            os.close(self._file)
            self._file = -1

    def _fail(self, error: Exception) -> None:
        with self._ready:
            self._failure = f"{self._folder}: {_words(error)}"
            self._waiting.clear()
            self._waiting_bytes = 0
            self._position = self.committed
            self._is_resumed = False
        self._end_file()
        self._on_failure(self._failure)

    def _recover(self) -> None:
        """Until a new file could be made; not when the end comes first."""
        with self._ready:
            self._ready.wait_for(lambda: self._is_resumed or self._is_closing)
            if not self._has_committed:  # the room for a new file was not enough for what had to go into it
                self._ready.wait_for(lambda: self._is_closing, PROBE_S)
        self._has_committed = False
        while not self._is_closing:
            try:
                self._begin()
            except OSError as error:
                with self._ready:
                    self._failure = f"{self._folder}: {error.strerror}"
                    self._ready.wait_for(lambda: self._is_closing, PROBE_S)
                continue
            with self._ready:
                self._failure = ""
            self._on_recovery()
            return


def _words(error: Exception) -> str:
    """What went wrong, for a person."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
