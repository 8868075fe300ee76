"""How the CoAP port in virtual time goes to sleep: what it said is answered first, if that does not take long."""

from itertools import count
from random import Random

import pytest

from firmware_sim.devices.port import Access, Delivery
from firmware_sim.links.model import LinkModel
from firmware_sim.virtual.coap import CoapPort
from firmware_sim.virtual.loop import SECOND_NS, Timeline
from firmware_sim.virtual.network import Network, Route
from oriole.link.coap import Endpoint, Exchange
from oriole.wire.coap import Code, Message, encode_tail


class Server:
    """A node's listener: it takes everything, and answers if it is there."""

    def __init__(self, network: Network, timeline: Timeline) -> None:
        self.taken: list[bytes] = []
        self.is_there = True
        self._network = network
        self._timeline = timeline
        numbers = count(1)
        self._endpoint = Endpoint(self, lambda _: next(numbers))

    def ready(self, tail: bytes, address: object, now: int) -> None:
        """Nothing is kept ready."""

    def request(self, message: Message, exchange: Exchange, now: int) -> None:
        if message.code == Code.PUT:
            self.taken.append(message.payload)
        exchange.respond(Code.CHANGED, encode_tail([], b""), now)

    def accept(self, stream: object) -> None:
        raise AssertionError("nobody connects")

    def datagram(self, datagram: bytes, sender: object) -> None:
        if self.is_there:
            self._endpoint.receive(datagram, sender, self._timeline.now_ms())
            for answer, to in self._endpoint.outgoing:
                self._network.answer(answer, to)
            self._endpoint.outgoing.clear()


class Log:
    """Writes down what the port tells its device."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def connected(self, resumed: bool) -> None:
        """It has a socket."""

    def disconnected(self, reason: str) -> None:
        self.told.append(("disconnected", reason))

    def subscribed(self, topic_filter: str) -> None:
        self.told.append(("subscribed", topic_filter))

    def delivered(self, delivery: Delivery) -> None:
        raise AssertionError("nobody says anything")

    def accepted(self, ticket: int) -> None:
        self.told.append(("accepted", ticket))

    def refused(self, ticket: int, reason: str) -> None:
        self.told.append(("refused", ticket))

    def unanswered(self, ticket: int | None, reason: str) -> None:
        self.told.append(("unanswered", ticket))

    def resent(self, tickets: list[int]) -> None:
        raise AssertionError("CoAP has no session")

    def answered(self, topic: str, payload: bytes | None) -> None:
        raise AssertionError("nothing was asked")


class Radio:
    """A meter that knows whether it is on."""

    def __init__(self) -> None:
        self.is_on = False

    def connected(self, now_ns: int) -> None:
        """It has a socket."""

    def woke(self, now_ns: int) -> None:
        self.is_on = True

    def slept(self, now_ns: int) -> None:
        self.is_on = False

    def sent(self, size_bytes: int, now_ns: int) -> None:
        assert self.is_on

    received = sent


class Scene:
    """A port, a link of 100 ms, and a server behind it."""

    def __init__(self) -> None:
        self.timeline = Timeline()
        network = Network(self.timeline, 1)
        network.add("dsl", LinkModel(delay_ms=100))
        self.link = network.links["dsl"]
        self.server = Server(network, self.timeline)
        network.doors["node", "coap"] = self.server  # type: ignore[assignment]
        self.log, self.radio = Log(), Radio()
        access = Access("lamp-1", "run", "lamp", keep_alive_s=0, meter=self.radio)
        self.port = CoapPort(network, self.timeline, access, [Route("dsl", "node", "coap")], Random(1))
        self.port.open(self.log)
        self.port.subscribe("a", 1)
        self.run(1.0)
        assert self.log.told == [("subscribed", "a")]
        self.log.told.clear()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end_ns = self.timeline.now + round(seconds * SECOND_NS)
        self.timeline.at(end_ns, lambda: None)
        while self.timeline.now < end_ns:
            self.timeline.run()


def test_what_is_said_before_the_sleep_is_answered_and_then_the_radio_is_off() -> None:
    scene = Scene()
    scene.port.publish("b", b"so", 1, True, 1)
    scene.port.publish("b", b"long", 1, True, 2)  # waits for the first (RFC 7252 §4.7)
    scene.port.sleep()
    scene.run(0.3)
    assert scene.radio.is_on
    scene.run(0.3)
    assert scene.server.taken == [b"so", b"long"]
    assert scene.log.told == [("accepted", 1), ("accepted", 2)]
    assert not scene.radio.is_on


@pytest.mark.parametrize("then", ["sleep", "fail", "open"])
def test_an_answer_that_does_not_come_is_not_awaited_for_long(then: str) -> None:
    scene = Scene()
    scene.server.is_there = False
    scene.port.publish("b", b"bye", 1, True, 1)
    scene.port.sleep()
    scene.run(0.9)
    assert scene.radio.is_on
    if then == "fail":
        scene.port.fail(keeps_state=True, silently=True)
    elif then == "open":
        scene.port.open(scene.log)
    else:
        scene.run(0.2)
    assert scene.log.told == [("unanswered", 1)]
    assert scene.radio.is_on == (then == "open")
    scene.run(10.0)
    assert scene.log.told == [("unanswered", 1)]
