"""The settlements file: what becomes of every message at this node, a line each (docs/settlements.md).

Lines are collected during the engine's turn and written in one piece before anything that they speak of leaves the
node; so whatever kills the process, the file knows of each message that somebody was told is taken. Where they cannot
be written, messages go on: a warning in the log, a count, and the count in the file when there is one again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

import msgspec

from broker.core.message import Message, Stored
from broker.core.settlement import Outcome, Reason
from broker.core.sink import Sink
from oriole.link.uplink import SNAPSHOT_END
from oriole.logging import Log
from oriole.settlements import (
    Accepted,
    Ended,
    Line,
    Missing,
    Queued,
    Refused,
    Snapshot,
    Start,
    Stop,
    Waiting,
    digest_of,
)

MOST_LINES = 1000
"""Lines of a snapshot that are written in one piece."""

Owed = tuple[Message, Sink | None, bool]
"""A message, whom it is owed to (None: the store of retained values), and whether it was sent."""

log = Log("settlements")


class SettlementsFile:
    """A book (`broker.core.settlement`) that is a file, appended to; made where it is missing, also while it is used.

    Args:
        path: the file.
        node, kind, epoch: who writes.
        clock: the node's time, in milliseconds.
    """

    __slots__ = ("_clock", "_encode", "_epoch", "_file", "_kind", "_lines", "_missing", "_node", "_path")

    def __init__(
        self, path: Path, node: str, kind: Literal["broker", "edge"], epoch: str, clock: Callable[[], int]
    ) -> None:
        self._path = path
        self._node = node
        self._kind: Literal["broker", "edge"] = kind
        self._epoch = epoch
        self._clock = clock
        self._encode = msgspec.json.Encoder().encode
        self._lines: list[bytes] = []
        self._file: int | None = None
        self._missing = 0

    # The book

    def accepted(self, message: Message, recipients: Sequence[Sink], now: int) -> None:
        """See `Book`."""
        self._add(
            Accepted(
                at=now,
                topic=message.topic.decode(),
                digest=digest_of(message.payload),
                qos=message.qos,
                retain=message.retain,
                stored=message.replayed,
                publisher=_publisher(message),
                owed=[sink.label for sink in recipients],
            )
        )

    def refused(self, message: Message, reason: Reason, now: int) -> None:
        """See `Book`."""
        self._add(
            Refused(
                at=now,
                topic=message.topic.decode(),
                digest=digest_of(message.payload),
                qos=message.qos,
                publisher=_publisher(message),
                reason=reason,
            )
        )

    def ended(self, message: Message, sink: Sink | None, outcome: Outcome, reason: Reason | None, now: int) -> None:
        """See `Book`."""
        if not _is_mark(message):
            self._add(
                Ended(
                    at=now,
                    topic=message.topic.decode(),
                    digest=digest_of(message.payload),
                    to=_recipient(sink),
                    outcome=outcome,
                    reason=reason or "",
                    stored=isinstance(message, Stored),
                )
            )

    def turned(self) -> None:
        """See `Book`."""
        if self._lines:
            self._write()

    # What is owed

    def snapshot(self, owed: Iterable[Owed], now: int) -> None:
        """Write what everybody is owed at this moment."""
        waiting = [entry for entry in owed if not _is_mark(entry[0])]
        self._add(Snapshot(at=now, waiting=len(waiting)))
        self._add_all(Waiting, waiting, now)
        self._write()

    def close(self, owed: Iterable[Owed], now: int) -> None:
        """The node ends: write what everybody is still owed, and nothing more."""
        queued = [entry for entry in owed if not _is_mark(entry[0])]
        self._add_all(Queued, queued, now)
        self._add(Stop(at=now, wall=datetime.now(UTC), queued=len(queued)))
        self._write()
        self._close()

    def _add_all(self, kind: type[Queued], owed: Iterable[Owed], now: int) -> None:
        for message, sink, is_sent in owed:
            self._add(
                kind(
                    at=now,
                    topic=message.topic.decode(),
                    digest=digest_of(message.payload),
                    to=_recipient(sink),
                    sent=is_sent,
                    stored=isinstance(message, Stored),
                )
            )
            if len(self._lines) >= MOST_LINES:
                self._write()

    # The file

    def _add(self, line: Line) -> None:
        self._lines.append(self._encode(line))

    def _write(self) -> None:
        lines, self._lines = self._lines, []
        try:
            self._append(lines)
        except OSError as error:
            self._close()
            if not self._missing:
                reason = error.strerror or str(error)
                log.warning("cannot be written, messages go on without", file=self._path, reason=reason)
            self._missing += len(lines)

    def _append(self, lines: list[bytes]) -> None:
        """Write lines behind the others, all or none. Raises OSError."""
        head: list[Line] = []
        if self._file is None or not self._is_there(self._file):
            self._close()
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)
            head.append(self._start())
        if self._missing:
            head.append(Missing(at=self._clock(), lines=self._missing))
        size = os.fstat(self._file).st_size
        cut_off = size > 0 and os.pread(self._file, 1, size - 1) != b"\n"  # by a crash of the machine
        data = b"\n" * cut_off + b"\n".join([*map(self._encode, head), *lines, b""])
        try:
            while data:
                data = data[os.write(self._file, data) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._file, size)
            raise
        if self._missing:
            log.info("written again", file=self._path, missing=self._missing)
            self._missing = 0

    def _is_there(self, file: int) -> bool:
        """Whether the path still leads to the open file: it may have been moved away, or its folder removed."""
        with suppress(OSError):
            return os.path.samestat(self._path.stat(), os.fstat(file))
        return False

    def _start(self) -> Start:
        return Start(at=self._clock(), wall=datetime.now(UTC), node=self._node, kind=self._kind, epoch=self._epoch)

    def _close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _publisher(message: Message) -> str:
    return message.origin.label if message.origin is not None else ""


def _recipient(sink: Sink | None) -> str:
    return sink.label if sink is not None else "retained"


def _is_mark(message: Message) -> bool:
    """Whether it is no message of anybody's but a word between two nodes."""
    return message.topic == SNAPSHOT_END.encode()
