"""The forwarder's own process: it keeps namespaces and devices alive, and moves every packet.

Orders come on stdin, answers leave on stdout (`orders.py`). It ends when stdin does, and with it every device: no
network outlives its fleet.
"""

import contextlib
import os
import sys

import msgspec

from .forwarder import Forwarder
from .orders import Order, PlaceAnswer

READ_BYTES = 64 * 1024


def serve() -> None:
    """Obey orders until stdin ends. A wire does not wait for those it connects: where it may, this goes before them."""
    with contextlib.suppress(PermissionError):
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    forwarder = Forwarder()
    stdin = sys.stdin.fileno()
    rest = b""
    forwarder.run_until_readable(stdin)
    while data := os.read(stdin, READ_BYTES):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            sys.stdout.buffer.write(msgspec.json.encode(answer(forwarder, line)) + b"\n")
            sys.stdout.flush()
        forwarder.run_until_readable(stdin)


def answer(forwarder: Forwarder, line: bytes) -> PlaceAnswer:
    """What becomes of the order in `line`."""
    try:
        return forwarder.obey(msgspec.json.decode(line, type=Order))
    except KeyError as error:
        return PlaceAnswer(error=f"no place or link is called {error}")
    except (OSError, ValueError) as error:
        return PlaceAnswer(error=str(error))


if __name__ == "__main__":
    serve()
