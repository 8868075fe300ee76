"""How the MQTT port in virtual time makes and loses its connections."""

import pytest

from firmware_sim.devices.port import Access, Delivery
from firmware_sim.links.model import LinkModel
from firmware_sim.virtual.loop import SECOND_NS, Timeline
from firmware_sim.virtual.mqtt import MqttPort
from firmware_sim.virtual.network import Network, Route, Stream
from oriole.wire.mqtt import V5, ConnAck, Publish, encode


class Server:
    """A node's listener and its ends of streams: it welcomes everybody."""

    def __init__(self) -> None:
        self.streams: list[Stream] = []
        self.ended_count = 0

    def accept(self, stream: Stream) -> "Server":
        self.streams.append(stream)
        return self

    def datagram(self, datagram: bytes, sender: object) -> None:
        raise AssertionError("nobody sends any")

    def receive(self, data: bytes) -> None:
        if data[0] == 0x10:
            self.streams[-1].write(encode(ConnAck(False), V5))

    def ended(self) -> None:
        self.ended_count += 1

    def drained(self, unsent: int) -> None:
        """It does not write much."""


class Owner:
    """Writes down what its port tells it."""

    def __init__(self) -> None:
        self.told: list[object] = []

    def connected(self, resumed: bool) -> None:
        self.told.append("connected")

    def disconnected(self, reason: str) -> None:
        self.told.append(reason)

    def subscribed(self, topic_filter: str) -> None:
        raise AssertionError("nothing was asked")

    def delivered(self, delivery: Delivery) -> None:
        self.told.append(delivery.payload)

    def accepted(self, ticket: int) -> None:
        raise AssertionError("nothing was said")

    def refused(self, ticket: int, reason: str) -> None:
        raise AssertionError("nothing was said")

    def unanswered(self, ticket: int | None, reason: str) -> None:
        raise AssertionError("nothing was said")

    def resent(self, tickets: list[int]) -> None:
        assert not tickets

    def answered(self, topic: str, payload: bytes | None) -> None:
        raise AssertionError("nothing was asked")


class Scene:
    """A port, a link of 20 ms, and a server behind it."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        self.network = Network(self.timeline, 1)
        self.network.add("dsl", LinkModel(delay_ms=20))
        self.server = Server()
        self.network.doors["node", "mqtt"] = self.server
        self.owner = Owner()
        access = Access("lamp-1", "run", "lamp", keep_alive_s=0)
        self.port = MqttPort(self.network, self.timeline, access, [Route("dsl", "node", "mqtt")], 1)
        self.port.open(self.owner)

    def run(self, seconds: float) -> None:
        self.timeline.at(self.timeline.now + round(seconds * SECOND_NS), lambda: None)
        end_ns = self.timeline.now + round(seconds * SECOND_NS)
        while (next_ns := self.timeline.next_ns()) is not None and next_ns <= end_ns:
            self.timeline.run()


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_connection_that_comes_too_late_is_ended(scene: Scene) -> None:
    scene.run(0.01)
    scene.port.sleep()
    scene.run(5)
    assert (len(scene.server.streams), scene.server.ended_count) == (1, 1)
    assert scene.owner.told == []


def test_where_nobody_listens_it_tries_again(scene: Scene) -> None:
    del scene.network.doors["node", "mqtt"]
    scene.run(0.1)
    assert scene.owner.told == ["connection refused"]
    scene.network.doors["node", "mqtt"] = scene.server
    scene.run(5)
    assert scene.owner.told[-1] == "connected"


def test_a_connection_that_the_server_ends_is_made_again(scene: Scene) -> None:
    scene.run(1)
    scene.server.streams[0].end()
    scene.run(5)
    assert scene.owner.told == ["connected", "the server closed the connection", "connected"]


def test_one_that_is_stalled_reads_later_on_a_new_connection_too(scene: Scene) -> None:
    scene.port.stall(True)
    scene.run(1)
    assert scene.owner.told == []
    scene.port.stall(False)
    scene.server.streams[0].write(encode(Publish(b"a", b"1", 0), V5))
    scene.run(1)
    assert scene.owner.told == ["connected", b"1"]


@pytest.mark.parametrize("silently", [False, True])
def test_one_that_fails_says_goodbye_only_if_its_power_lasts(scene: Scene, silently: bool) -> None:
    scene.run(1)
    scene.port.fail(keeps_state=True, silently=silently)
    scene.run(5)
    assert scene.server.ended_count == (not silently)
    assert scene.owner.told == ["connected"]
