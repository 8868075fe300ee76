"""The client and a small server with a session, joined by links that are whole, slow, or cut at any byte.

However often the link is cut: QoS 2 arrives exactly once, QoS 1 at least once, each in its order, both ways.
"""

from random import Random

import pytest

from oriole.link.mqtt import Client, ClientConfig, Connected, MessageReceived, Published
from oriole.wire.mqtt import (
    V5,
    V311,
    ConnAck,
    Connect,
    Packet,
    Properties,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    Splitter,
    decode,
    encode,
)

MESSAGES = 40


class Server:
    """One session: takes messages, and sends its own with QoS 1 and 2, by the book and simply."""

    def __init__(self, version: int) -> None:
        self.version = version
        self.taken: list[bytes] = []
        self.unreleased: dict[int, None] = {}
        self.unacknowledged = {
            number + 1: Publish(b"down", b"%d" % number, 1 + number % 2, packet_identifier=number + 1)
            for number in range(MESSAGES)
        }
        self.released: dict[int, None] = {}
        self.session = False

    def connect(self) -> None:
        self.splitter = Splitter()
        self.output = b""

    def receive(self, data: bytes) -> None:
        for first, body in self.splitter.split(data):
            self.handle(decode(first, body, self.version))

    def send(self, packet: Packet) -> None:
        self.output += encode(packet, self.version)

    def handle(self, packet: Packet) -> None:
        match packet:
            case Connect():
                limits = Properties(receive_maximum=5) if self.version == V5 else Properties()
                self.send(ConnAck(self.session, properties=limits))
                self.session = True
                for identifier in self.released:
                    self.send(PubRel(identifier))
                for publish in self.unacknowledged.values():
                    self.send(publish)
                    publish.dup = True
            case Publish(qos=1):
                self.taken.append(packet.payload)
                self.send(PubAck(packet.packet_identifier))
            case Publish(qos=2):
                if packet.packet_identifier not in self.unreleased:
                    self.taken.append(packet.payload)
                self.unreleased[packet.packet_identifier] = None
                self.send(PubRec(packet.packet_identifier))
            case PubRel():
                self.unreleased.pop(packet.packet_identifier, None)
                self.send(PubComp(packet.packet_identifier))
            case PubAck():
                self.unacknowledged.pop(packet.packet_identifier, None)
            case PubRec():
                self.unacknowledged.pop(packet.packet_identifier, None)
                self.released[packet.packet_identifier] = None
                self.send(PubRel(packet.packet_identifier))
            case PubComp():
                self.released.pop(packet.packet_identifier, None)


def run(
    version: int, chunk: int, cuts: int, seed: int, manual: bool
) -> tuple[Server, list[MessageReceived], list[int]]:
    """Everything through the link, `chunk` bytes at a time; the link is cut `cuts` times, somewhere."""
    random = Random(seed)
    server = Server(version)
    client = Client(
        ClientConfig("c", version, clean_start=False, session_expiry_interval=60, manual_acknowledgement=manual)
    )
    for number in range(MESSAGES):
        client.publish("up", b"%d" % number, 1 + number % 2, now=0)
    messages: list[MessageReceived] = []
    settled: list[int] = []
    now = 0
    for connection in range(cuts + 1):
        left = random.randrange(1_500) if connection < cuts else 1 << 30
        server.connect()
        client.connect(now)
        to_server = to_client = b""
        quiet = False
        while not quiet and left > 0:
            to_server += client.outgoing()
            to_client += server.output
            server.output = b""
            quiet = not to_server and not to_client
            take = min(chunk, left)
            server.receive(to_server[:take])
            events = client.receive(to_client[:take], now)
            left -= len(to_server[:take]) + len(to_client[:take])
            to_server, to_client = to_server[take:], to_client[take:]
            for event in events:
                assert isinstance(event, Connected | MessageReceived | Published), event
                if isinstance(event, MessageReceived):
                    messages.append(event)
                    if manual:
                        client.acknowledge(event, now=now)
                elif isinstance(event, Published):
                    settled.append(event.packet_identifier)
            now += 1
        client.closed(now)
    assert client.unsettled == 0
    return server, messages, settled


def check_order(payloads: list[bytes], qos: int) -> None:
    """First arrivals are complete and in order; with QoS 2 there are no others."""
    numbers = [int(payload) for payload in payloads if 1 + int(payload) % 2 == qos]
    assert list(dict.fromkeys(numbers)) == [number for number in range(MESSAGES) if 1 + number % 2 == qos]
    if qos == 2:
        assert len(numbers) == MESSAGES // 2


@pytest.mark.parametrize("manual", [False, True])
@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("chunk", [1, 7, 65_536])
def test_whole_link(version: int, chunk: int, manual: bool) -> None:
    server, messages, settled = run(version, chunk, 0, 0, manual)
    assert server.taken == [b"%d" % number for number in range(MESSAGES)]
    assert [message.payload for message in messages] == server.taken
    assert sorted(settled) == list(range(1, MESSAGES + 1))
    assert not server.unacknowledged
    assert not server.released


@pytest.mark.parametrize("seed", range(40))
def test_link_that_is_cut_at_any_byte(seed: int) -> None:
    version = (V311, V5)[seed % 2]
    server, messages, settled = run(version, (1, 13, 200)[seed % 3], 12, seed, manual=bool(seed & 4))
    assert sorted(settled) == list(range(1, MESSAGES + 1))
    assert not server.unacknowledged
    assert not server.released
    for payloads in (server.taken, [message.payload for message in messages]):
        check_order(payloads, 1)
        check_order(payloads, 2)
