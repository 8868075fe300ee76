"""What each step of a message costs inside the engine: no socket, no kernel, clients that are bytes.

    python benchmarks/steps.py [--repeat N]

Each line is a piece of work as a read from a client brings it, done many times over and divided by what it achieves.
The figure is the least of the repeats, in microseconds of CPU time: what else runs on the machine only adds to it.
docs/performance.md explains the steps.
"""

from __future__ import annotations

import gc
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable, Iterator
from itertools import count, cycle
from typing import Final

from broker.core.channel import Channel
from broker.core.engine import Engine
from broker.core.questions import Verdict
from broker.core.router import Router
from broker.journal.memory import MemoryJournal
from broker.mqtt.connection import Connection
from broker.mqtt.service import MqttService
from broker.mqtt.session import Session
from oriole.config import Limits
from oriole.wire.mqtt import V311, Connect, Publish, Subscribe, Subscription, encode

NOW: Final = 1_000
"""Time stands still, in milliseconds."""
WORK: Final = 20_000
"""Messages per repeat, about: some tens of milliseconds."""
PAYLOAD: Final = bytes(64)
MANY: Final = 10_000

Step = tuple[str, Callable[[], object], int]
"""What it is, the work, and by how much to divide its time."""


class MemoryChannel(Channel):
    """A peer that takes everything at once."""

    __slots__ = ()

    def flush(self) -> None:
        """Join what goes out, as a listener does before it writes."""
        b"".join(self.out)
        self.out.clear()
        self.size = 0

    def resume(self) -> None:
        """Nothing was left over."""


class Node:
    """An engine with MQTT on it."""

    def __init__(self) -> None:
        self.engine = Engine(MemoryJournal())
        self.router = Router(self.engine)
        self.service = MqttService(self.router, Limits(), lambda: "", lambda event, client, peer: None)
        self._names = count()

    def join(self, *filters: str, qos: int = 0) -> tuple[Connection, Session]:
        """A client that is in and subscribed."""
        connection = self.service.open(MemoryChannel(self.engine, None), NOW)
        connection.receive(encode(Connect(f"client-{next(self._names)}", V311, clean_start=True), V311), NOW)
        (question,), self.engine.questions = self.engine.questions, []
        self.engine.verdict(question.ticket, Verdict(True), NOW)
        self.engine.turn(NOW)
        for filter in filters:
            connection.receive(encode(Subscribe(1, [Subscription(filter, qos)]), V311), NOW)
        self.engine.turn(NOW)
        assert connection.session is not None
        return connection, connection.session


def publishes(topic: str, qos: int, count: int) -> bytes:
    """Packets as a client with a window sends them."""
    packets = (Publish(topic.encode(), PAYLOAD, qos, packet_identifier=n + 1 if qos else 0) for n in range(count))
    return b"".join(encode(packet, V311) for packet in packets)


def acknowledgements(first: int, count: int) -> bytes:
    """PUBACK (0x40), PUBREC (0x50), PUBREL (0x62) or PUBCOMP (0x70) for the identifiers 1 to `count`."""
    return b"".join(bytes((first, 2, *(number + 1).to_bytes(2))) for number in range(count))


def qos_0(burst: int, readers: int) -> Step:
    """A read full of packets on one topic, handed on."""
    node = Node()
    publisher, _ = node.join()
    for _ in range(readers):
        node.join("a/b")
    data = publishes("a/b", 0, burst)

    def work() -> None:
        publisher.receive(data, NOW)
        node.engine.turn(NOW)

    return f"QoS 0, {burst} in a read, to {readers}", work, burst * readers


def qos_1(burst: int) -> Step:
    """PUBLISH in, PUBLISH and PUBACK out, the reader's PUBACK in."""
    node = Node()
    publisher, _ = node.join()
    reader, session = node.join("a/b", qos=1)
    data = publishes("a/b", 1, burst)
    pubacks = acknowledgements(0x40, burst)

    def work() -> None:
        publisher.receive(data, NOW)
        node.engine.turn(NOW)
        reader.receive(pubacks, NOW)
        node.engine.turn(NOW)
        session.last_identifier = 0  # so that the same acknowledgements fit again

    return f"QoS 1, {burst} in a read", work, burst


def qos_2(burst: int) -> Step:
    """The two handshakes: with the publisher, and with the reader."""
    node = Node()
    publisher, _ = node.join()
    reader, session = node.join("a/b", qos=2)
    data = publishes("a/b", 2, burst)
    pubrecs, pubrels, pubcomps = (acknowledgements(first, burst) for first in (0x50, 0x62, 0x70))

    def work() -> None:
        publisher.receive(data, NOW)
        node.engine.turn(NOW)
        publisher.receive(pubrels, NOW)
        reader.receive(pubrecs, NOW)
        node.engine.turn(NOW)
        reader.receive(pubcomps, NOW)
        node.engine.turn(NOW)
        session.last_identifier = 0

    return f"QoS 2, {burst} in a read", work, burst


def retained() -> Step:
    """A retained value replaced, among many."""
    node = Node()
    publisher, _ = node.join()
    packets = cycle([encode(Publish(b"room/%d" % n, PAYLOAD, retain=True), V311) for n in range(MANY)])

    def work() -> None:
        publisher.receive(next(packets), NOW)
        node.engine.turn(NOW)

    for _ in range(MANY):
        work()
    return f"retained value set, one of {MANY:,}", work, 1


def route_miss() -> Step:
    """A topic that is not in the cache, beside many filters, every second one with a wildcard."""
    node = Node()
    node.join(*(f"home/{n}/{'+' if n % 2 else 'lamp'}" for n in range(MANY)))
    topics = (b"home/%d/lamp" % n for n in count())
    return f"route looked up in {MANY:,} filters", lambda: node.router.routes.resolve(next(topics)), 1


def subscription(filter: str, forgotten: int) -> Step:
    """Subscribe and unsubscribe beside many cached routes, and look up again what that made the cache forget."""
    node = Node()
    node.join("home/#")
    _, session = node.join()
    topics = [b"home/%d/lamp" % n for n in range(MANY)]
    for topic in topics:
        node.router.routes.resolve(topic)

    def work() -> None:
        node.router.subscribe(filter.encode(), session, session.encoding, NOW)
        node.router.unsubscribe(filter.encode(), session, NOW)
        for topic in topics[:forgotten]:
            node.router.routes.resolve(topic)

    each = ", per route" if forgotten > 1 else ""
    return f"`{filter}` comes and goes, {forgotten:,} of {MANY:,} cached routes match{each}", work, max(1, forgotten)


def steps() -> Iterator[Step]:
    """All of them, each made when its turn comes."""
    for readers in (1, 100):
        for burst in (1, 8, 64):
            yield qos_0(burst, readers)
    for make in (qos_1, qos_2):
        for burst in (1, 8, 64):
            yield make(burst)
    yield retained()
    yield route_miss()
    yield subscription("other/+/lamp", 0)
    yield subscription("home/0/+", 1)
    yield subscription("home/+/lamp", MANY)


def microseconds(work: Callable[[], object], times: int) -> float:
    """What `work` takes, on average."""
    started = time.process_time_ns()
    for _ in range(times):
        work()
    return (time.process_time_ns() - started) / times / 1000


def main(argv: list[str]) -> int:
    """Print every step; returns the exit status."""
    parser = ArgumentParser(usage="python benchmarks/steps.py [--repeat N]")
    parser.add_argument("--repeat", type=int, default=9)
    repeat = parser.parse_args(argv).repeat
    print("| step | us |\n|---|---|")
    for name, work, share in steps():
        times = max(1, WORK // share)
        gc.freeze()  # as the broker does after its start
        least = min(microseconds(work, times) for _ in range(repeat))
        print(f"| {name} | {least / share:.3g} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
