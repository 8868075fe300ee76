"""Streams, datagrams and cables in virtual time, over links and over none."""

from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.links.model import LinkModel
from firmware_sim.virtual.loop import SECOND_NS, Timeline
from firmware_sim.virtual.network import BUFFER_BYTES, CableEnd, Network, Route, Stream, cable

MS = 1_000_000
DIRECT, OVER = Route("", "node", "mqtt"), Route("dsl", "node", "mqtt")


class End:
    """Somebody at an end of a stream, who writes down what happens."""

    def __init__(self, timeline: Timeline) -> None:
        self.timeline = timeline
        self.stream: Stream | None = None
        self.heard = b""
        self.times_ms: list[int] = []
        self.is_ended = False
        self.unsent: list[int] = []
        self.refusals: list[str] = []

    def receive(self, data: bytes) -> None:
        self.heard += data
        self.times_ms.append(self.timeline.now // MS - 1000)

    def ended(self) -> None:
        self.is_ended = True

    def drained(self, unsent: int) -> None:
        self.unsent.append(unsent)

    def dialled(self, stream: Stream | None, attempt: int, reason: str = "") -> None:
        self.stream = stream
        if stream is None:
            self.refusals.append(f"{reason} after {self.timeline.now // MS - 1000}")


class Scene:
    """A network with a node that accepts."""

    def __init__(self, model: LinkModel | None = None, seed: int = 1) -> None:
        self.timeline = Timeline()
        self.network = Network(self.timeline, seed)
        self.network.add("dsl", model or LinkModel(delay_ms=20))
        self.network.doors["node", "mqtt"] = self
        self.accepted: list[tuple[End, Stream]] = []
        self.datagrams: list[tuple[bytes, Any]] = []

    def accept(self, stream: Stream) -> End:
        self.accepted.append((End(self.timeline), stream))
        return self.accepted[-1][0]

    def datagram(self, datagram: bytes, sender: Any) -> None:
        self.datagrams.append((datagram, sender))

    def pass_time(self, seconds: float) -> None:
        until = self.timeline.now + round(seconds * SECOND_NS)
        while (due := self.timeline.next_ns()) is not None and due <= until:
            self.timeline.run()
        self.timeline.now = until

    def dial(self, route: Route, seconds: float = 1) -> End:
        end = End(self.timeline)
        self.network.dial(route, end, 1)
        self.pass_time(seconds)
        return end

    def joined(self, route: Route) -> tuple[End, Stream, End, Stream]:
        near = self.dial(route)
        assert near.stream is not None
        far, far_stream = self.accepted[-1]
        return near, near.stream, far, far_stream


@pytest.mark.parametrize("route", [DIRECT, OVER], ids=["direct", "over a link"])
def test_bytes_go_both_ways_in_order_and_then_the_end(route: Route) -> None:
    scene = Scene()
    near, near_stream, far, far_stream = scene.joined(route)
    for _ in range(50):
        near_stream.write(b"up" * 1000)
        far_stream.write(b"down")
    near_stream.end()
    scene.pass_time(5)
    assert far.heard == b"up" * 50_000
    assert near.heard == b"", "it had closed"
    assert far.is_ended
    assert not near.is_ended
    assert near_stream.is_over
    assert far_stream.is_over
    near_stream.write(b"more")
    scene.pass_time(5)
    assert far.heard.endswith(b"up")


def test_the_link_takes_its_time() -> None:
    scene = Scene(LinkModel(delay_ms=20))
    near = scene.dial(OVER, seconds=0.039)
    assert near.stream is None
    scene.pass_time(0.001)
    assert near.stream is not None, "a round trip"
    _, far_stream = scene.accepted[-1]
    far_stream.write(b"hello")
    scene.pass_time(1)
    assert near.times_ms == [60]


@given(st.integers(0, 1000), st.lists(st.integers(1, 5000), min_size=1, max_size=20))
def test_loss_costs_time_and_no_byte(seed: int, sizes: list[int]) -> None:
    scene = Scene(LinkModel(delay_ms=20, loss=0.1, reorder=0.1, duplicate=0.1, jitter_ms=10), seed)
    near = scene.dial(OVER, seconds=70)
    assert near.stream is not None
    sent = b""
    for number, size in enumerate(sizes):
        piece = bytes([number]) * size
        sent += piece
        near.stream.write(piece)
    scene.pass_time(300)
    assert scene.accepted[-1][0].heard == sent


def test_a_cut_holds_everything_back_and_nobody_is_told() -> None:
    scene = Scene()
    near, near_stream, far, far_stream = scene.joined(OVER)
    link = scene.network.links["dsl"]
    link.cut()
    near_stream.write(b"up")
    far_stream.write(b"down")
    scene.pass_time(10)
    assert (near.heard, far.heard) == (b"", b"")
    assert (near.is_ended, far.is_ended) == (False, False)
    link.heal()
    scene.pass_time(20)
    assert (near.heard, far.heard) == (b"down", b"up")


def test_after_a_new_address_both_ends_hear_nothing_more_and_are_not_told() -> None:
    scene = Scene()
    near, near_stream, far, far_stream = scene.joined(OVER)
    near_stream.write(b"under way")
    scene.network.links["dsl"].readdress()
    near_stream.write(b"up")
    far_stream.write(b"down")
    near_stream.end()
    scene.pass_time(1000)
    assert (near.heard, far.heard, near.is_ended, far.is_ended) == (b"", b"", False, False)
    near, near_stream, far, _ = scene.joined(OVER)
    near_stream.write(b"anew")
    scene.pass_time(1)
    assert far.heard == b"anew"


def test_nobody_listens() -> None:
    scene = Scene()
    del scene.network.doors["node", "mqtt"]
    assert scene.dial(OVER).refusals == ["connection refused after 40"]
    assert scene.dial(DIRECT).refusals == ["connection refused after 1000"]


def test_nobody_is_even_there_to_refuse() -> None:
    scene = Scene()
    scene.network.dark["node"] = None
    near = scene.dial(OVER, seconds=62.9)
    assert near.refusals == []
    scene.pass_time(1)
    assert near.refusals == ["no answer after 63000"], "after 1 + 2 + 4 + 8 + 16 + 32 seconds, as Linux"


def test_a_call_gets_through_when_the_node_is_back() -> None:
    scene = Scene()
    scene.network.dark["node"] = None
    near = scene.dial(OVER, seconds=2)
    del scene.network.dark["node"]
    scene.pass_time(5)
    assert near.stream is not None
    assert len(scene.accepted) == 1


@pytest.mark.parametrize("route", [DIRECT, OVER], ids=["direct", "over a link"])
def test_a_deserted_node_says_goodbye_or_is_gone_without_a_word(route: Route) -> None:
    for silently in (False, True):
        scene = Scene()
        near, near_stream, far, _ = scene.joined(route)
        scene.network.deserted("node", silently)
        near_stream.write(b"hello?")
        scene.pass_time(100)
        assert near.is_ended is not silently
        assert far.heard == b""
        assert ("node", "mqtt") not in scene.network.doors


@pytest.mark.parametrize("route", [DIRECT, OVER], ids=["direct", "over a link"])
def test_who_does_not_read_makes_the_writer_wait(route: Route) -> None:
    scene = Scene()
    near, near_stream, far, far_stream = scene.joined(route)
    near_stream.stall(True)
    for _ in range(10):
        far_stream.write(b"x" * 100_000)
    scene.pass_time(10)
    assert near.heard == b""
    assert far_stream.unsent == 1_000_000 - BUFFER_BYTES
    near_stream.stall(False)
    scene.pass_time(10)
    assert near.heard == b"x" * 1_000_000
    assert far_stream.unsent == 0
    assert far.unsent[-1] == 0, "the writer is told"


def test_an_end_that_came_while_nobody_read_is_heard_after_what_came_before() -> None:
    scene = Scene()
    near, near_stream, _, far_stream = scene.joined(DIRECT)
    near_stream.stall(True)
    far_stream.write(b"last words")
    far_stream.end()
    scene.pass_time(1)
    assert (near.heard, near.is_ended) == (b"", False)
    near_stream.stall(False)
    assert (near.heard, near.is_ended) == (b"last words", True)


class Socket:
    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def receive(self, datagram: bytes) -> None:
        self.heard.append(datagram)


@pytest.mark.parametrize("link", ["", "dsl"])
def test_datagrams(link: str) -> None:
    scene = Scene()
    socket = Socket()
    scene.network.bind(("lamp", 1), socket)
    route = Route(link, "node", "mqtt")
    scene.network.send(route, b"up", ("lamp", 1))
    scene.pass_time(1)
    [(datagram, seen_as)] = scene.datagrams
    scene.network.answer(b"down", seen_as)
    scene.pass_time(1)
    assert (datagram, socket.heard) == (b"up", [b"down"])
    scene.network.unbind(("lamp", 1))
    scene.network.answer(b"nobody", seen_as)
    scene.network.send(Route(link, "elsewhere", "coap"), b"nobody", ("lamp", 1))
    scene.pass_time(1)
    assert socket.heard == [b"down"]
    assert len(scene.datagrams) == 1


def test_a_datagram_to_an_old_address_leads_nowhere() -> None:
    scene = Scene()
    socket = Socket()
    scene.network.bind(("lamp", 1), socket)
    scene.network.send(OVER, b"from before", ("lamp", 1))
    scene.network.links["dsl"].readdress()
    scene.network.send(OVER, b"from now", ("lamp", 1))
    scene.pass_time(1)
    for datagram, seen_as in scene.datagrams:
        scene.network.answer(b"to " + datagram, seen_as)
    scene.pass_time(1)
    assert [datagram for datagram, _ in scene.datagrams] == [b"from before", b"from now"]
    assert socket.heard == [b"to from now"]


def test_datagrams_are_lost_in_a_cut() -> None:
    scene = Scene()
    scene.network.links["dsl"].cut()
    scene.network.send(OVER, b"up", ("lamp", 1))
    scene.network.links["dsl"].heal()
    scene.pass_time(10)
    assert scene.datagrams == []
    assert scene.network.links["dsl"].count().lost == 1


def test_a_link_changes_and_is_as_before_again() -> None:
    scene = Scene()
    near, near_stream, _, far_stream = scene.joined(OVER)
    link = scene.network.links["dsl"]
    link.change(LinkModel(delay_ms=200))
    far_stream.write(b"slow")
    scene.pass_time(1)
    link.change(link.model)
    far_stream.write(b"fast")
    scene.pass_time(1)
    assert near.times_ms == [1200, 2020]
    assert near_stream.unsent == 0


# ---- Cables


class Ear:
    def __init__(self) -> None:
        self.heard = b""
        self.log: list[str] = []

    def receive(self, data: bytes) -> None:
        self.heard += data

    def plugged(self) -> None:
        self.log.append("plugged")

    def unplugged(self) -> None:
        self.log.append("unplugged")


def wired(seed: int = 1) -> tuple[Scene, CableEnd, Ear, CableEnd, Ear]:
    scene = Scene()
    gateway, device = cable(scene.timeline, 9600, Random(seed))
    ears = Ear(), Ear()
    gateway.listen(ears[0])
    device.listen(ears[1])
    return scene, gateway, ears[0], device, ears[1]


def test_a_cable_is_as_fast_as_its_baud_rate() -> None:
    scene, gateway, _, _, device_ear = wired()
    gateway.write(b"x" * 480)
    gateway.write(b"y" * 480)
    scene.pass_time(0.75)
    assert device_ear.heard == b"x" * 480, "960 bytes in a second"
    scene.pass_time(0.25)
    assert device_ear.heard == b"x" * 480 + b"y" * 480


def test_a_pulled_cable_loses_what_is_on_it_and_tells_both_ends_once() -> None:
    scene, gateway, gateway_ear, device, device_ear = wired()
    device.write(b"under way")
    device.plug(False)
    gateway.plug(False)
    gateway.write(b"nobody hears")
    scene.pass_time(1)
    device.plug(True)
    gateway.write(b"hello")
    scene.pass_time(1)
    assert (gateway_ear.heard, device_ear.heard) == (b"", b"hello")
    assert gateway_ear.log == device_ear.log == ["unplugged", "plugged"]


def test_noise_damages_about_the_share_that_was_asked_for() -> None:
    scene, gateway, _, _, device_ear = wired()
    gateway.set_noise(0.1)
    gateway.write(bytes(10_000))
    scene.pass_time(20)
    damaged = sum(byte != 0 for byte in device_ear.heard)
    assert len(device_ear.heard) == 10_000
    assert 850 < damaged < 1150
    gateway.set_noise(0)
    gateway.write(b"clean")
    scene.pass_time(1)
    assert device_ear.heard.endswith(b"clean")


def test_one_seed_one_fate() -> None:
    def play(seed: int) -> bytes:
        scene, gateway, _, _, device_ear = wired(seed)
        gateway.set_noise(0.5)
        gateway.write(bytes(100))
        scene.pass_time(1)
        return device_ear.heard

    assert play(1) == play(1)
    assert play(1) != play(2)
