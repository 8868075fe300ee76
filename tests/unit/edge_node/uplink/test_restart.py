"""An edge and its centre, each with a journal, killed at any moment: nothing is lost, nothing has two effects."""

from __future__ import annotations

import os
import random
from collections import Counter
from collections.abc import Sequence

import pytest
from unit.broker.mqtt.harness import Client, LateJournal, recollected
from unit.edge_node.uplink.world import Centre, Edge, Link

from broker.core.records import Record
from broker.journal.codec import encode
from broker.mqtt.snapshots import node_records
from oriole.wire.mqtt import PubAck, PubComp, Publish, PubRec, PubRel, Subscribe, Subscription

SEEDS = int(os.environ.get("RESTART_SEEDS", "60"))
SHIFT_MS = 1_000_000_007


class Disk(LateJournal):
    """What of a node outlives it: batches, as bytes, of which the last few may not be committed yet."""

    def __init__(self, past: dict[int, bytes] | None = None) -> None:
        super().__init__()
        self.blobs = dict(past or {})
        self.taken: dict[int, int] = {}

    @property
    def safe(self) -> int:
        """How many of them are committed."""
        return len(self.blobs) - (self.appended - self.committed)

    def append(self, batch: Sequence[Record]) -> int:
        position = max(self.blobs, default=0) + 1
        self.blobs[position] = encode(batch, position, self.taken, SHIFT_MS)
        return super().append(batch)


class Subscriber:
    """A persistent session with QoS 2, whose client does as MQTT says, over any number of connections."""

    def __init__(self, name: str, filter: str) -> None:
        self.name, self.filter = name, filter
        self.client: Client | None = None
        self.open: set[int] = set()  # QoS 2 exchanges that have begun
        self.last: dict[int, bytes] = {}  # what came by a packet identifier last
        self.heard: list[tuple[bytes, bytes]] = []
        self.subscribed = False

    def listen(self, node: Centre) -> None:
        """Take what has come, and answer."""
        client = self.client
        if client is None or client.closed or client.bench is not node:
            client = self.client = node.join(self.name, clean_start=not self.subscribed, session_expiry_interval=9999)
        if not self.subscribed and client.session is not None:
            client.send(Subscribe(client.next_identifier(), [Subscription(self.filter, 2)]))
            self.subscribed = True
        while packets := client.take():
            for packet in packets:
                if isinstance(packet, Publish) and packet.qos == 2:
                    if packet.packet_identifier not in self.open:
                        self.open.add(packet.packet_identifier)
                        self.heard.append((packet.topic, packet.payload))
                    client.send(PubRec(packet.packet_identifier))
                elif isinstance(packet, Publish) and packet.qos:
                    if self.last.get(packet.packet_identifier) != packet.payload:  # else the same delivery again
                        self.heard.append((packet.topic, packet.payload))
                    self.last[packet.packet_identifier] = packet.payload
                    client.send(PubAck(packet.packet_identifier))
                elif isinstance(packet, PubRel):
                    self.open.discard(packet.packet_identifier)
                    client.send(PubComp(packet.packet_identifier))


class Publisher:
    """Publishes numbers, and knows which were acknowledged."""

    def __init__(self, topics: Sequence[str], choose: random.Random) -> None:
        self.topics, self.choose = topics, choose
        self.client: Client | None = None
        self.sent: dict[int, bytes] = {}
        self.acknowledged: set[bytes] = set()
        self.number = 0

    def publish(self, node: Centre) -> None:
        """One message, or some in a row."""
        client = self.connected(node)
        topic = self.choose.choice(self.topics)
        qos = 1 + self.topics.index(topic) % 2  # MQTT keeps the order of what has one topic and one QoS
        packets = []
        for _ in range(self.choose.choice((1, 1, 2, 5))):
            self.number += 1
            payload = b"%03d" % self.number
            identifier = client.next_identifier()
            self.sent[identifier] = payload
            packets.append(Publish(topic.encode(), payload, qos, packet_identifier=identifier))
        client.send(*packets)
        self.listen(node)

    def connected(self, node: Centre) -> Client:
        client = self.client
        if client is None or client.closed or client.bench is not node:
            client = self.client = node.join("publisher")
            client.take()
            self.sent.clear()
        return client

    def listen(self, node: Centre) -> None:
        if self.client is None or self.client.bench is not node:
            return
        for packet in self.client.take():
            if isinstance(packet, PubAck | PubRec) and packet.reason_code < 0x80:
                self.acknowledged.add(self.sent[packet.packet_identifier])
            if isinstance(packet, PubRec):
                self.client.send(PubRel(packet.packet_identifier))


class House:
    """A centre and an edge, each on a disk, and the link between them."""

    def __init__(self, seed: int) -> None:
        self.choose = random.Random(seed)
        self.disks = [Disk(), Disk()]
        self.now = 10**6
        self.centre = Centre(journal=self.disks[0], epoch="of the centre")
        self.lives = 0
        self.edge = self.make_edge(self.disks[1])
        self.edge.uplink.recall(recollected({}))
        for node in (self.centre, self.edge):
            node.turn()
        self.link: Link | None = None
        self.above, self.below = Subscriber("above", "u/#"), Subscriber("below", "d/#")
        self.up = Publisher(["u/a", "u/b", "u/alarm", "u/bulk"], self.choose)
        self.down = Publisher(["d/a", "d/b"], self.choose)

    def make_edge(self, disk: Disk) -> Edge:
        self.lives += 1
        life = f"life {self.lives:03}"
        return Edge(journal=disk, epoch="of the edge", life=life, alarms=["u/alarm"], bulk=["u/bulk"])

    @property
    def nodes(self) -> tuple[Centre, Edge]:
        return self.centre, self.edge

    def cut(self) -> None:
        if self.link is not None:
            self.link.cut()
            self.link = None

    def connect(self) -> None:
        self.cut()
        self.link = Link(self.edge, self.centre, lambda size: self.choose.randint(1, size))

    def step(self, count: int) -> None:
        for _ in range(count):
            if self.link is not None and not self.link.alive:
                self.link = None
            if self.link is not None:
                self.link.step()

    def commit(self, node: Centre) -> None:
        """The disk has some more of what it was given."""
        journal = node.journal
        assert isinstance(journal, Disk)
        if journal.committed < journal.appended:
            node.commit(self.choose.randint(journal.committed + 1, journal.appended))

    def rewrite(self, node: Centre) -> None:
        """The node writes down all that lives, and what was before it goes once that is safe."""
        journal = node.journal
        assert isinstance(journal, Disk)
        beside = node.uplink.records if isinstance(node, Edge) else lambda: iter(())
        node.turn()
        before = [*journal.blobs]
        node.engine.promises.write_anew([*node_records(node.service, node.now, beside)])
        node.commit()
        for position in before:
            del journal.blobs[position]

    def kill(self, node: Centre) -> None:
        """The process is gone; of what was not committed, the disk may have got the first part."""
        self.cut()
        journal = node.journal
        assert isinstance(journal, Disk)
        there = [*journal.blobs.items()]
        disk = Disk(dict(there[: self.choose.randint(journal.safe, len(there))]))
        recollection = recollected(disk.blobs, SHIFT_MS, disk.taken)
        if isinstance(node, Edge):
            reborn = self.make_edge(disk)
            reborn.now = node.now
            reborn.uplink.recall(recollection)
            recollection.restore(reborn.service, reborn.now)
            reborn.uplink.go_on(recollection, reborn.now)
            self.edge = reborn
            reborn.turn()
        else:
            self.centre = Centre(journal=disk, epoch="of the centre")
            self.centre.now = node.now
            recollection.restore(self.centre.service, self.centre.now)
            self.centre.turn()

    def listen(self) -> None:
        self.above.listen(self.centre)
        self.below.listen(self.edge)
        self.up.listen(self.edge)
        self.down.listen(self.centre)

    def trouble(self) -> None:
        """Something else happens, be it only that time passes."""
        node = self.choose.choice(self.nodes)
        steps = self.choose.randrange(12)
        happenings = {
            "step": lambda: self.step(steps),
            "commit": lambda: self.commit(node),
            "listen": self.listen,
            "cut": self.cut,
            "connect": self.connect,
            "rewrite": lambda: self.rewrite(node),
            "kill": lambda: self.kill(node),
        }
        happenings[self.choose.choices(list(happenings), (8, 8, 4, 1, 2, 0.4, 1))[0]]()

    def calm(self) -> None:
        """No more trouble, until all has arrived."""
        quiet = 0
        while quiet < 3:
            if self.link is None or not self.link.alive:
                self.connect()
            assert self.link is not None
            moved = self.link.step()
            for node in self.nodes:
                assert isinstance(node.journal, Disk)
                moved = moved or node.journal.committed < node.journal.appended
                node.commit()
            before = len(self.above.heard), len(self.below.heard)
            self.listen()
            moved = moved or before != (len(self.above.heard), len(self.below.heard))
            if not moved:
                quiet += 1
                for node in self.nodes:
                    node.advance(1_100)  # retries
            else:
                quiet = 0


def values(bench: Centre) -> dict[bytes, bytes]:
    return {message.topic: message.payload for message in bench.router.retained.matching(b"#", bench.now)}


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_is_lost_and_nothing_has_two_effects(seed: int) -> None:
    house = House(seed)
    choose = house.choose
    house.calm()
    for _ in range(choose.randint(20, 150)):
        match choose.choices(("up", "down", "trouble"), (5, 5, 24))[0]:
            case "up":
                house.up.publish(house.edge)
            case "down":
                house.down.publish(house.centre)
            case _:
                house.trouble()
    house.calm()
    for publisher, subscriber in ((house.up, house.above), (house.down, house.below)):
        counts = Counter(payload for _, payload in subscriber.heard)
        assert [payload for payload in publisher.acknowledged if not counts[payload]] == []
        assert [payload for payload, count in counts.items() if count > 1] == []
        for topic in publisher.topics:
            numbers = [int(payload) for on, payload in subscriber.heard if on == topic.encode()]
            assert numbers == sorted(numbers)


@pytest.mark.parametrize("seed", range(SEEDS))
def test_values_converge_whoever_is_killed(seed: int) -> None:
    house = House(seed)
    choose = house.choose
    house.below.filter = "#"
    house.calm()
    for number in range(choose.randint(20, 100)):
        if choose.random() < 0.75:
            house.trouble()
            continue
        talker = choose.choice(house.nodes).join("talker")
        topic, payload = choose.choice("abc"), choose.choice((b"", b"%d" % number))
        talker.publish(topic, payload, choose.choice((0, 1, 2)), retain=True)
        talker.send(*(PubRel(packet.packet_identifier) for packet in talker.take() if isinstance(packet, PubRec)))
    house.calm()
    assert values(house.centre) == values(house.edge)
