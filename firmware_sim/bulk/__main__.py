"""The process of the bulk devices: `python -P -m firmware_sim.bulk`, fed with orders (`orders.py`) on stdin.

It ends when stdin does: no device outlives its fleet. It is deaf to signals that are meant for the fleet (`handle.py`).
"""

import asyncio
import contextlib
import os
import sys
import time

import msgspec

from firmware_sim.devices.clock import SECOND_NS
from firmware_sim.load.process import resident_kib

from . import limits
from .closing import rows_of
from .config import BulkConfig
from .crowd import Crowd
from .loop import READABLE, Loop
from .orders import Answer, Begin, Closed, Do, Order, Quiet, Refused, Stop
from .result import BulkResult

_MANY_BYTES = 1 << 16


class Server:
    """Obeys orders; a source of the loop that also carries the devices."""

    def __init__(self, crowd: Crowd, loop: Loop, stdin: int, unread: bytes) -> None:
        self._crowd = crowd
        self._loop = loop
        self._stdin = stdin
        self._unread = unread
        self.is_asked_for_result = False
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
            self._obey(msgspec.json.decode(line, type=Order))
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
            case Stop():
                self.is_asked_for_result = True
                self._loop.stop()

    def _tell(self) -> None:
        say(self._crowd.progress())
        self._loop.at(self._loop.now_ns() + SECOND_NS, self._tell)

    def result(self) -> BulkResult:
        """The books as they stand."""
        crowd, ledger = self._crowd, self._crowd.ledger
        rows = rows_of(ledger)
        return BulkResult(
            devices=len(crowd.devices),
            seconds=(self._loop.now_ns() - crowd.began_ns) / SECOND_NS,
            sent=ledger.sent_total,
            accepted=ledger.accepted_total,
            received=ledger.received_total,
            due=ledger.due_total,
            foreign=ledger.foreign,
            not_done=crowd.not_done,
            orders=ledger.orders,
            orders_confirmed=ledger.confirmed_orders,
            publishers=rows.publishers,
            subscribers=rows.subscribers,
            outside=rows.outside,
            missing=rows.missing,
            passages=rows.passages,
            round_trips=ledger.round_trips,
            lag=crowd.lag,
            passes=self._loop.passes,
            losses=ledger.losses,
            notes=dict(ledger.notes),
            cpu_s=time.process_time(),
            resident_mib=resident_kib(os.getpid()) / 1024,
        )


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
    loop = Loop()
    try:
        config = msgspec.json.decode(line, type=BulkConfig)
        limits.check(config)
    except (msgspec.DecodeError, limits.LimitError) as error:
        say(Refused(str(error)))
        return
    crowd = Crowd(config, loop)
    server = Server(crowd, loop, stdin, unread)
    loop.run()
    loop.ignore(stdin)
    result = server.result()
    asyncio.run(crowd.close())
    loop.close()
    if server.is_asked_for_result:
        say(Closed(result))


def _first_line(stdin: int) -> tuple[bytes, bytes, bytes]:
    data = b""
    while b"\n" not in data and (more := os.read(stdin, _MANY_BYTES)):
        data += more
    return data.partition(b"\n")


if __name__ == "__main__":
    main()
