"""What does the part around the engine cost? One engine behind four shells, the same load on each, in turn.

    pip install uvloop
    python benchmarks/shells.py [--repeat N] [--quick] [ROW ...]

`sources` is the broker's own: its sockets are sources of its loop. `uvloop` and `asyncio` run the same listener on
other loops, by `add_reader` and `call_soon`. `transports` is asyncio's Protocol and Transport on uvloop. Prints CPU
microseconds per delivery, the medians, and what they are of `sources`. Exit status 1 when a message was lost.
docs/decisions/listener-owns-its-socket.md draws on it.
"""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Callable
from itertools import count
from typing import Final, cast

import uvloop

from broker.core.channel import Channel
from broker.core.engine import Engine
from broker.core.pressure import HIGH_WATER_BYTES, LOW_WATER_BYTES
from broker.core.questions import Verdict
from broker.core.router import Router
from broker.journal.memory import MemoryJournal
from broker.listeners.host import Host
from broker.listeners.loop import READABLE, WRITABLE, Loop, Source
from broker.listeners.tcp import BACKLOG, Stream, TcpListener
from broker.mqtt.service import MqttService
from firmware_sim.bench.brokers import Broker
from firmware_sim.bench.measure import Measurement, measure
from firmware_sim.bench.rows import ROWS, quick_divisor
from firmware_sim.load.process import allow_open_files
from oriole.config import Limits
from oriole.urls import Endpoint

DEFAULT_ROWS: Final = ("quiet", "many-to-1", "1-to-1", "qos-1")
OpenStream = Callable[[Channel, int], Stream]


class Handles(asyncio.AbstractEventLoop):
    """What an ordinary loop makes of sources: a handle for each, and a queue."""

    def watch(self, number: int, events: int, source: Source) -> None:
        """Call `source` when the descriptor is ready for `events`."""
        if events & READABLE:
            self.add_reader(number, source.ready, READABLE)
        else:
            self.remove_reader(number)
        if events & WRITABLE:
            self.add_writer(number, source.ready, WRITABLE)
        else:
            self.remove_writer(number)

    def defer(self, call: Callable[[], object]) -> None:
        """Call after all that is ready now."""
        self.call_soon(call)


class Asyncio(Handles, asyncio.SelectorEventLoop):
    """asyncio's own loop."""


class Uvloop(uvloop.Loop, Handles):
    """libuv's."""


REFERENCE: Final = "sources"
LOOPS: Final[dict[str, Callable[[], asyncio.AbstractEventLoop]]] = {
    REFERENCE: Loop,
    "uvloop": Uvloop,
    "asyncio": Asyncio,
    "transports": Uvloop,
}


class TransportChannel(Channel, asyncio.Protocol):
    """A connection whose socket belongs to a transport. Reading and writing are the loop's; so is what waits unsent."""

    __slots__ = ("_host", "_open_stream", "_paused", "_stream", "_transport")

    def __init__(self, host: Host, open_stream: OpenStream) -> None:
        super().__init__(host.engine, None)
        self._host = host
        self._open_stream = open_stream
        self._paused = False
        self._transport: asyncio.Transport
        self._stream: Stream

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client is there."""
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(HIGH_WATER_BYTES, LOW_WATER_BYTES)
        self._stream = self._open_stream(self, self._host.now())

    def data_received(self, data: bytes) -> None:
        """Bytes came."""
        if not self.closing:
            self._stream.receive(data, self._host.now())
            if self.holds:
                self._transport.pause_reading()
        self._host.wake()

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self.out.clear()
        self.engine.unsent(self, 0)
        self._stream.closed(self._host.now())
        self._host.wake()

    def pause_writing(self) -> None:
        """More than the high-water mark waits in the transport."""
        self._paused = True
        self.size = self._transport.get_write_buffer_size()

    def resume_writing(self) -> None:
        """Less than the low-water mark waits."""
        self._paused = False
        self.engine.unsent(self, sum(map(len, self.out)))
        self.flush()
        self._host.wake()

    def flush(self) -> None:
        """Hand `out` to the transport, which writes it after this turn."""
        if self._paused or self._transport.is_closing():
            return
        out = self.out
        if out:
            self._transport.write(out[0] if len(out) == 1 else b"".join(out))
            out.clear()
            if not self._paused:
                self.engine.unsent(self, 0)
        if self.closing:
            self._transport.close()

    def resume(self) -> None:
        """Read again, beginning with what was left over."""
        if not self.closing:
            self._transport.resume_reading()
            self._stream.resume(self._host.now())
            if self.holds:
                self._transport.pause_reading()


def serve(shell: str, port: int) -> None:
    """Run a broker behind `shell` until SIGTERM."""
    loop = LOOPS[shell]()
    names = count()
    engine = Engine(MemoryJournal())
    service = MqttService(Router(engine), Limits(), lambda: f"auto-{next(names)}", lambda event, client, peer: None)
    host = Host(engine, cast(Loop, loop), lambda question: Verdict(True))
    if shell == "transports":
        opening = loop.create_server(lambda: TransportChannel(host, service.open), "127.0.0.1", port, backlog=BACKLOG)
        loop.run_until_complete(opening)
    else:
        TcpListener(host, Endpoint("mqtt", "127.0.0.1", port), service.open).open()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    gc.freeze()
    loop.run_forever()


def _shell(name: str) -> Broker:
    """The broker behind a shell, as the benchmark starts it."""
    return Broker(
        name=name,
        program=lambda: sys.executable,
        version=(),
        command=lambda program, folder, port: [program, __file__, "serve", name, str(port)],
    )


SHELLS: Final = tuple(map(_shell, LOOPS))


def show(measurements: list[Measurement]) -> None:
    """A line per row and shell."""
    print("| row | shell | CPU us per delivery, each run | median | of sources |\n|---|---|---|---|---|")
    reference = 0.0
    for measured in measurements:
        median = measured.median(lambda run: run.us_cpu_per_delivery)
        if measured.broker == REFERENCE:
            reference = median
        runs = " ".join(f"{run.us_cpu_per_delivery:.2f}" for run in measured.runs)
        wrong = "" if measured.correct else " ✗"
        print(f"| {measured.row} | {measured.broker}{wrong} | {runs} | {median:.2f} | {median / reference:.2f} |")


def main(argv: list[str]) -> int:
    """Measure the named rows, or the default ones; returns the exit status."""
    if argv[:1] == ["serve"]:
        serve(argv[1], int(argv[2]))
        return 0
    parser = ArgumentParser(usage="python benchmarks/shells.py [--repeat N] [--quick] [ROW ...]")
    parser.add_argument("--repeat", type=int, default=5, help="runs of each shell in each row")
    parser.add_argument("--quick", action="store_true", help="a tenth of the messages: does it work at all?")
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}")
    options = parser.parse_args(argv)
    if unknown := [name for name in options.rows if name not in ROWS]:
        parser.error(f"no such row: {', '.join(unknown)}; the rows are {', '.join(ROWS)}")
    allow_open_files()
    rows = [ROWS[name] for name in options.rows or DEFAULT_ROWS]
    divisor = quick_divisor(options.quick)
    measurements = measure(
        rows, SHELLS, repeat=options.repeat, divisor=divisor, tell=lambda text: print(text, file=sys.stderr)
    )
    if failures := [failure for measured in measurements for failure in measured.failures]:
        print("\n".join(failures), file=sys.stderr)
        return 1
    show(measurements)
    return 0 if all(measured.correct for measured in measurements) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
