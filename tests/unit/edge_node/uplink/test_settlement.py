"""A centre and its edges, with links that break: at every node each message ends once for each of its recipients."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest
from unit.broker.book import Pages
from unit.broker.mqtt.harness import Client
from unit.edge_node.uplink.world import Centre, Edge, World

from broker.core.message import Message
from broker.core.settlement import Outcome, Reason
from broker.core.sink import Sink
from oriole.wire.mqtt import V5, V311, Properties, PubAck, PubComp, Publish, PubRec, PubRel

TOPICS = ("a", "a/b", "state/1", "state/2")


class Country:
    """Two edges below a centre, a client at each, and whatever happens there, by a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random = Random(seed)
        limits = {"max_queue_messages": random.choice((6, 100)), "max_retained_messages": random.choice((1, 100))}
        self.centre = Centre(**limits)
        self.edges = [Edge(f"edge-{n}", random.choice((500, 1 << 20)), random.random() < 0.8, **limits) for n in "ab"]
        self.world = World(self.centre, *self.edges, piece=lambda size: random.randint(1, size))
        self.books = {bench.name: Pages(bench.engine) for bench in self.world.benches}
        self.clients = {bench.name: self.come(bench) for bench in self.world.benches}
        self.said = 0

    def come(self, bench: Centre) -> Client:
        version = self.random.choice((V311, V5))
        client = bench.join(f"client-of-{bench.name}", version, clean_start=False, session_expiry_interval=1_000)
        client.subscribe(self.random.choice(("#", "a", "a/#", "state/+")), self.random.randrange(3))
        return client

    def step(self) -> None:
        random = self.random
        bench = random.choice(self.world.benches)
        action = random.choice((self.say, self.say, self.say, self.answer, self.relink, self.come_and_go))
        action(bench)
        for link in self.world.links:
            for _ in range(random.randrange(4)):
                link.step()
        if random.random() < 0.2:
            self.world.settle()
        if random.random() < 0.2:
            self.world.advance(random.choice((100, 1_500, 5_000)))
        self.check()

    def check(self) -> None:
        for bench in self.world.benches:
            self.books[bench.name].check(owed(bench))

    def say(self, bench: Centre) -> None:
        random = self.random
        client = self.clients[bench.name]
        topic = random.choice(TOPICS)
        qos = random.randrange(3)
        self.said += 1
        properties = Properties()
        if client.version == V5 and random.random() < 0.2:
            properties.message_expiry_interval = 2
        identifier = client.next_identifier() if qos else 0
        retain = topic.startswith("state")
        client.send(Publish(topic.encode(), b"%d" % self.said, qos, retain, False, identifier, properties))
        if qos == 2:
            client.send(PubRel(identifier))

    def answer(self, bench: Centre) -> None:
        client = self.clients[bench.name]
        for packet in client.take():
            if isinstance(packet, Publish) and packet.qos:
                client.send((PubAck if packet.qos == 1 else PubRec)(packet.packet_identifier))
            elif isinstance(packet, PubRel):
                client.send(PubComp(packet.packet_identifier))

    def relink(self, bench: Centre) -> None:
        """Cut the link of an edge, or join it again."""
        if not isinstance(bench, Edge):
            return
        link = next((link for link in self.world.links if link.up.bench is bench and link.alive), None)
        if link is not None:
            link.cut()
        else:
            self.world.connect(bench, self.centre, settle=self.random.random() < 0.5)

    def come_and_go(self, bench: Centre) -> None:
        self.clients[bench.name].lose()
        self.clients[bench.name] = self.come(bench)


def owed(bench: Centre) -> Iterator[tuple[Message, Sink | None, bool]]:
    yield from bench.service.owed()
    if isinstance(bench, Edge):
        yield from bench.uplink.owed()


@pytest.mark.parametrize("seed", range(40))
def test_the_books_add_up_at_every_node(seed: int) -> None:
    country = Country(seed)
    for _ in range(80):
        country.step()
    for edge in country.edges:
        if not edge.uplink.connected:
            country.relink(edge)
    country.world.settle()
    country.world.advance(10_000)
    country.check()
    above = country.books["centre"]
    for edge in country.edges:
        below = country.books[edge.name]
        greets = edge.greets
        label = f"node:{edge.name}" if greets else f"client:oriole-edge-{edge.name}"
        up = Counter(message.payload for message in above.taken if message.origin and message.origin.label == label)
        assert acknowledged(below, "uplink") <= up.keys()
        if greets:
            assert max(up.values(), default=1) == 1  # whatever was sent twice: it was taken once
        down = {message.payload for message in below.taken if message.origin is edge.uplink}
        down |= {payload for payload, origin, _ in below.turned_away if origin == "uplink"}
        down |= {message.payload for message, sink, _ in edge.uplink.owed() if sink is None}
        assert acknowledged(above, label) <= down


def acknowledged(book: Pages, to: str) -> set[bytes]:
    return {end.payload for end in book.ends if end.to == to and end.outcome is Outcome.ACKNOWLEDGED}


def test_every_kind_of_end_is_met() -> None:
    """The test above means something."""
    upwards: set[tuple[Outcome, Reason | None]] = set()
    refused: set[Reason] = set()
    for seed in range(40):
        country = Country(seed)
        for _ in range(80):
            country.step()
        for book in country.books.values():
            upwards |= {(end.outcome, end.reason) for end in book.ends if end.to == "uplink"}
            refused |= {reason for _, _, reason in book.turned_away}
    assert upwards == {
        (Outcome.ACKNOWLEDGED, None),
        (Outcome.SENT, None),
        (Outcome.EXPIRED, None),
        (Outcome.DROPPED, Reason.LINK_DOWN),
        (Outcome.DROPPED, Reason.QUEUE_FULL),
    }
    assert refused >= {Reason.REPEAT, Reason.SUPERSEDED, Reason.QUEUE_FULL}
