"""A router with serial devices, and ends of lines to play them on; time by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import count

from unit.broker.book import Pages

from broker.core.channel import Channel
from broker.core.engine import Engine
from broker.core.message import Message
from broker.core.promises import JournalError
from broker.core.records import Record
from broker.core.router import Router
from edge_node.devices.line import Line
from edge_node.devices.registry import DeviceLimits, Devices
from oriole.link.serial import Config, DeviceEndpoint, Event, Received
from oriole.wire.serial import (
    Deliver,
    Error,
)


class Journal:
    """Commits when it is told to, or fails; at once by default."""

    def __init__(self) -> None:
        self.position = 0
        self.keeps = True
        self.is_behind = False
        self.archive = None
        self.committed = 0
        self.late = False
        self.is_full = False
        self.records: list[Record] = []

    def append(self, batch: Sequence[Record]) -> int:
        if self.is_full:
            raise JournalError("disk full")
        self.records += batch
        self.position += 1
        if not self.late:
            self.committed = self.position
        return self.position

    def replay(self, position: int) -> Iterator[tuple[int, Sequence[Record]]]:
        return iter(())

    def checkpoint(self, state: bytes) -> int:
        return self.position

    def trim(self, position: int) -> None:
        pass


class Wire(Channel):
    """A port without a system behind it; `blocked` takes no bytes."""

    def __init__(self, engine: Engine, name: str) -> None:
        super().__init__(engine, name)
        self.line: Line
        self.written = b""
        self.blocked = False
        self.now = 0

    def flush(self) -> None:
        if not self.blocked:
            self.written += b"".join(self.out)
            self.out.clear()
            self.size = 0
            self.line.written(self.now)

    def resume(self) -> None:
        self.line.resume(self.now)


class Listener:
    """A sink and its form at once: remembers what it got."""

    takes = 0

    def __init__(self, persistent: bool = False) -> None:
        self.full = False
        self.persistent = persistent
        self.remote = False
        self.got: list[Message] = []

    def merge(self, other: Listener) -> Listener:
        return self

    def recipients(self, message: Message, sinks: Sequence[Listener]) -> Sequence[Listener]:
        return ()

    def deliver(self, message: Message, sinks: Sequence[Listener], now: int) -> None:
        self.got.append(message)

    def deliver_all(self, messages: Sequence[Message], sinks: Sequence[Listener], now: int) -> None:
        raise AssertionError

    def forward(self, packets: bytes, count: int, sinks: Sequence[Listener], now: int) -> None:
        raise AssertionError


class Node:
    """An engine, its serial devices, and ends of lines to play devices on."""

    def __init__(
        self,
        limits: DeviceLimits | None = None,
        config: Config | None = None,
        make_boot_id: Callable[[], bytes] | None = None,
    ) -> None:
        self.now = 1000
        self.journal = Journal()
        self.engine = Engine(self.journal)
        self.router = Router(self.engine)
        ids = count(1)
        self.noise: list[object] = []
        self.devices = Devices(
            "edge",
            self.router,
            make_boot_id or (lambda: b"edge%d" % next(ids)),
            lambda *what: self.noise.append(what),
            limits,
            config,
        )
        self.book = Pages(self.engine)
        self.plugged: list[Plug] = []

    def listen(self, filter: str, persistent: bool = False) -> Listener:
        listener = Listener(persistent)
        self.router.subscribe(filter.encode(), listener, listener, self.now)
        return listener

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False, expires_at: int = 0) -> None:
        self.router.publish(Message(topic.encode(), payload, qos, retain, expires_at=expires_at), self.now)
        self.run()

    def run(self, ms: int = 0) -> None:
        """Lets bytes flow and time pass."""
        end = self.now + ms
        while True:
            while sum(plug.move() for plug in self.plugged):
                self.engine.turn(self.now)
            due = [plug.endpoint.deadline() for plug in self.plugged] + [self.engine.next_deadline()]
            soonest = min((at for at in due if at is not None), default=end + 1)
            if soonest > end:
                break
            self.now = max(self.now, soonest)
            for plug in self.plugged:
                plug.wire.now = self.now
                plug.heard += plug.endpoint.tick(self.now)
            self.engine.tick(self.now)
            self.engine.turn(self.now)
        self.now = end

    def commit(self) -> None:
        self.engine.committed(self.journal.position, self.now)
        self.engine.turn(self.now)
        self.run()


class Plug:
    """A device on a line of the node."""

    def __init__(self, node: Node, endpoint: DeviceEndpoint, port: str = "port1") -> None:
        self.node = node
        self.endpoint = endpoint
        self.wire = Wire(node.engine, port)
        self.wire.now = node.now
        self.line = self.wire.line = node.devices.open(self.wire)
        self.heard: list[Event] = []
        node.plugged.append(self)
        self.line.opened(node.now)
        endpoint.opened(node.now)
        node.run()

    def move(self) -> bool:
        up = self.endpoint.outgoing()
        self.node.engine.turn(self.node.now)
        down, self.wire.written = self.wire.written, b""
        if up:
            self.line.receive(up, self.node.now)
        if down:
            self.heard += self.endpoint.receive(down, self.node.now)
        return bool(up or down)

    def pull(self) -> None:
        self.node.plugged.remove(self)
        self.line.closed(self.node.now)
        self.endpoint.closed(self.node.now)

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        self.endpoint.publish(topic, payload, self.node.now, qos, retain)
        self.node.run()

    def subscribe(self, filter: str, qos: int = 1) -> None:
        self.endpoint.subscribe(filter, self.node.now, qos)
        self.node.run()

    @property
    def frames(self) -> list[object]:
        return [event.frame for event in self.heard if isinstance(event, Received)]

    @property
    def payloads(self) -> list[bytes]:
        return [frame.payload for frame in self.frames if isinstance(frame, Deliver)]

    @property
    def errors(self) -> list[int]:
        return [frame.reason for frame in self.frames if isinstance(frame, Error)]


def relay(boot_id: bytes = b"boot-1", name: str = "relay-1") -> DeviceEndpoint:
    return DeviceEndpoint(name, boot_id, "relay")
