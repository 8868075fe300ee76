"""The process of the bulk devices: `python -P -m firmware_sim.bulk`, fed with orders (`orders.py`) on stdin.

It ends when stdin does: no device outlives its fleet. It is deaf to signals that are meant for the fleet (`handle.py`).
"""

import asyncio
import contextlib
import errno
import os
import sys
import time
from pathlib import Path
from typing import IO

import msgspec

from firmware_sim.devices.clock import SECOND_NS
from firmware_sim.load.process import resident_kib
from firmware_sim.report.journal import Journal
from oriole.typed_yaml import convert

from . import limits
from .config import BulkConfig
from .crowd import Crowd
from .loop import READABLE, Loop
from .orders import Answer, Begin, Closed, Do, Flush, Flushed, Order, Quiet, Refused, Stop

_MANY_BYTES = 1 << 16
_JOURNAL_BUFFER_BYTES = 1 << 18


class Server:
    """Obeys orders; a source of the loop that also carries the devices."""

    def __init__(self, crowd: Crowd, journal: Journal, loop: Loop, stdin: int, unread: bytes) -> None:
        self._crowd = crowd
        self._journal = journal
        self._loop = loop
        self._stdin = stdin
        self._unread = unread
        self._decoder = msgspec.json.Decoder(Order)
        self.is_stopped_in_order = False
        os.set_blocking(stdin, False)
        loop.watch(stdin, READABLE, self)
        crowd.connect()
        self._tell()

    def ready(self, events: int) -> None:
        """Obey what came; the end of orders is the end."""
        data = os.read(self._stdin, _MANY_BYTES)
        self._unread += data
        *lines, self._unread = self._unread.split(b"\n")
        for line in lines:
            self._obey(self._decoder.decode(line))
        if not data:
            self._loop.stop()

    def _obey(self, order: Order) -> None:
        match order:
            case Begin(at_ns):
                self._crowd.begin(at_ns)
            case Do():
                self._crowd.do(order)
            case Quiet():
                self._crowd.quiet()
            case Flush():
                at_ns = self._loop.now_ns()
                self._journal.flush()
                say(Flushed(at_ns))
            case Stop():
                self.is_stopped_in_order = True
                self._loop.stop()

    def _tell(self) -> None:
        say(self._crowd.progress())
        self._loop.at(self._loop.now_ns() + SECOND_NS, self._tell)


def say(answer: Answer) -> None:
    """One line to the fleet; where nobody listens any more, stdin ends too."""
    with contextlib.suppress(BrokenPipeError):
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.flush()


def main() -> None:
    """Carry the devices of the configuration until told to stop."""
    stdin = sys.stdin.fileno()
    line, _, unread = _first_line(stdin)
    if not line:
        return
    try:
        config = convert(msgspec.json.decode(line), BulkConfig)
        sources = limits.sources(config)
    except (msgspec.MsgspecError, limits.LimitError) as error:
        say(Refused(str(error)))
        return
    try:
        with Path(config.journal).open("wb", buffering=_JOURNAL_BUFFER_BYTES) as file:
            _carry(config, sources, file, stdin, unread)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        say(Refused(f"cannot write {config.journal}: {error.strerror}"))


def _carry(config: BulkConfig, sources: list[str], file: IO[bytes], stdin: int, unread: bytes) -> None:
    loop = Loop()
    journal = Journal(config.run, file, loop.now_ns)
    crowd = Crowd(config, loop, journal, sources)
    server = Server(crowd, journal, loop, stdin, unread)
    loop.run()
    journal.close()
    closed = Closed(crowd.lag, loop.passes, time.process_time(), resident_kib(os.getpid()) / 1024)
    loop.ignore(stdin)
    asyncio.run(crowd.close())
    loop.close()
    if server.is_stopped_in_order:
        say(closed)


def _first_line(stdin: int) -> tuple[bytes, bytes, bytes]:
    data = b""
    while b"\n" not in data and (more := os.read(stdin, _MANY_BYTES)):
        data += more
    return data.partition(b"\n")


if __name__ == "__main__":
    main()
