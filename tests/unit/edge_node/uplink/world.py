"""Edges and centres in memory, real engines on both sides, with links whose bytes are carried by hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from unit.broker.mqtt.harness import Bench, LateJournal

from broker.core.channel import Channel
from broker.listeners.tcp import Stream
from edge_node.cache import HeldPushes
from edge_node.uplink.classes import Classes
from edge_node.uplink.uplink import Uplink
from oriole.link.mqtt import Client, ClientConfig
from oriole.link.uplink import Greeting

MOST_STEPS = 20_000
"""A world that still talks after so many pieces talks in circles."""

epochs = (f"epoch-{number}" for number in count(1))


class Centre(Bench):
    """A broker."""

    def __init__(
        self, name: str = "centre", journal: LateJournal | None = None, epoch: str = "", **limits: int
    ) -> None:
        super().__init__(journal, **limits)
        self.name = name
        self.service.name = name
        self.service.epoch = epoch or next(epochs)


class Edge(Centre):
    """An edge: the same with a cache and an uplink."""

    def __init__(
        self,
        name: str = "edge",
        max_bytes: int = 1 << 20,
        greets: bool = True,
        alarms: Sequence[str] = (),
        bulk: Sequence[str] = (),
        journal: LateJournal | None = None,
        epoch: str = "",
        life: str = "",
        **limits: int,
    ) -> None:
        super().__init__(name, journal, epoch, **limits)
        self.greets = greets
        self.cache = HeldPushes(self.router)
        greeting = (Greeting if greets else Mute)(name, self.service.epoch, life=life or next(epochs))
        config = ClientConfig(
            client_identifier=f"oriole-edge-{name}",
            clean_start=False,
            session_expiry_interval=3600,
            keep_alive=4,
            max_held_bytes=2 * max_bytes,
            manual_acknowledgement=True,
        )
        self.said: list[str] = []
        self.uplink = Uplink(
            self.router,
            Client(config),
            greeting,
            Classes(alarms, bulk),
            max_bytes,
            lambda: next(epochs),
            lambda event, serious: self.said.append(event),
        )


class Mute(Greeting):
    """Makes of every centre one of another make."""

    def pairs(self) -> list[tuple[str, str]]:
        return []


class End(Channel):
    """One end of a link."""

    __slots__ = ("bench", "ended", "pending", "stream")

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.engine, "link")
        self.bench = bench
        self.stream: Stream
        self.pending = b""
        self.ended = False

    def flush(self) -> None:
        self.pending += b"".join(self.out)
        self.out.clear()
        self.engine.unsent(self, 0)
        self.ended = self.ended or self.closing

    def resume(self) -> None:
        self.stream.resume(self.bench.now)


class Link:
    """The byte stream from an edge to a centre. `piece` says how many of so many bytes are carried next."""

    def __init__(self, edge: Edge, centre: Centre, piece: Callable[[int], int]) -> None:
        self.up, self.down = End(edge), End(centre)
        self.piece = piece
        self.alive = True
        self.down.stream = centre.service.open(self.down, centre.now)
        self.up.stream = edge.uplink
        edge.uplink.open(self.up, edge.now)
        edge.turn()

    def step(self) -> bool:
        """Carry one piece each way. False when there was nothing to carry."""
        moved = False
        for source, sink in ((self.up, self.down), (self.down, self.up)):
            if not self.alive or sink.holds:
                continue
            if source.pending:
                size = self.piece(len(source.pending))
                data, source.pending = source.pending[:size], source.pending[size:]
                if not sink.closing:
                    sink.stream.receive(data, sink.bench.now)
                    sink.bench.turn()
                moved = True
            elif source.ended:
                self.cut()
                moved = True
        return moved

    def cut(self) -> None:
        """The byte stream ends; what was under way is lost."""
        if self.alive:
            self.alive = False
            for end in (self.up, self.down):
                end.stream.closed(end.bench.now)
                end.bench.turn()


class World:
    """Benches that share a clock, and the links between them."""

    def __init__(self, *benches: Centre, piece: Callable[[int], int] = lambda size: size) -> None:
        self.benches = benches
        self.piece = piece
        self.links: list[Link] = []

    def connect(self, edge: Edge, centre: Centre, settle: bool = True) -> Link:
        """A new link from `edge` to `centre`."""
        link = Link(edge, centre, self.piece)
        self.links.append(link)
        if settle:
            self.settle()
        return link

    def settle(self) -> None:
        """Carry bytes until nobody has anything to say."""
        for _ in range(MOST_STEPS):
            moved = [link.step() for link in self.links]
            if not any(moved):
                return
        raise AssertionError("they talk in circles")

    def advance(self, milliseconds: int) -> None:
        """Let time pass on every bench, in steps of at most 100 ms."""
        while milliseconds > 0:
            step = min(100, milliseconds)
            milliseconds -= step
            for bench in self.benches:
                bench.advance(step)
            self.settle()
