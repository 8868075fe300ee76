"""The session that ports over Oriole's own client share: no socket, a server that does what the test says."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from firmware_sim.devices.clock import SECOND_NS
from firmware_sim.devices.port import Access, Delivery, Will
from firmware_sim.ports.session import FIRST_RETRY_S, LAST_RETRY_S, MAX_HELD_BYTES, MqttSession
from firmware_sim.virtual.loop import Timeline
from oriole.wire.mqtt import (
    V5,
    V311,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    PingReq,
    PubAck,
    Publish,
    ReasonCode,
    Splitter,
    SubAck,
    Subscribe,
    decode,
    encode,
)

KEEP_ALIVE_S = 30


class Owner:
    """Writes down what the session tells it."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def connected(self, resumed: bool) -> None:
        self.told.append(("connected", resumed))

    def disconnected(self, reason: str) -> None:
        self.told.append(("disconnected", reason))

    def subscribed(self, topic_filter: str) -> None:
        self.told.append(("subscribed", topic_filter))

    def delivered(self, delivery: Delivery) -> None:
        self.told.append(("delivered", delivery))

    def accepted(self, ticket: int) -> None:
        self.told.append(("accepted", ticket))

    def refused(self, ticket: int, reason: str) -> None:
        self.told.append(("refused", ticket, reason))

    def unanswered(self, ticket: int | None, reason: str) -> None:
        raise AssertionError("MQTT answers")

    def resent(self, tickets: list[int]) -> None:
        self.told.append(("resent", *tickets))

    def answered(self, topic: str, payload: bytes | None) -> None:
        raise AssertionError("nothing was asked")

    def news(self) -> list[tuple[object, ...]]:
        """What was told since the last time."""
        told, self.told = self.told, []
        return told


class Meter:
    """Writes down what happens to the radio."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def connected(self, now_ns: int) -> None:
        self.told.append("connected")

    def woke(self, now_ns: int) -> None:
        self.told.append("woke")

    def slept(self, now_ns: int) -> None:
        self.told.append("slept")

    def sent(self, size_bytes: int, now_ns: int) -> None:
        self.told.append("sent")

    def received(self, size_bytes: int, now_ns: int) -> None:
        self.told.append("received")


class Session(MqttSession[str]):
    """Its connections are made and lost when the test says so."""

    __slots__ = ("dialled", "hung_up", "is_broken", "is_connected", "written")

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.dialled: list[str] = []
        self.hung_up: list[str] = []
        self.is_connected = False
        self.is_broken = False
        self.written = b""

    def stall(self, stalled: bool) -> None:
        raise AssertionError("nobody stalls it")

    def _dial(self, address: str) -> None:
        assert not self.is_connected
        self.dialled.append(address)

    def _write(self, data: bytes) -> None:
        assert self.is_connected
        if self.is_broken:
            self._lost("broken")
        else:
            self.written += data

    def _hang_up(self, silently: bool) -> None:
        if self.is_connected:
            self.is_connected = False
            self.hung_up.append("silently" if silently else "in order")

    def come(self) -> None:
        """The connection is there."""
        self.is_connected = True
        self.written = b""
        self._opened()

    def go(self) -> None:
        """The other side ended it."""
        self._lost("gone")


class Bench:
    """A session that is wanted, and the server's part."""

    def __init__(self, version: int = V5, seed: int = 1, meter: Meter | None = None) -> None:
        self.version = version
        self.timeline = Timeline()
        self.owner = Owner()
        will = Will("online", b"no")
        access = Access("lamp-1", "run", "lamp", version, keep_alive_s=KEEP_ALIVE_S, will=will, meter=meter)
        self.session = Session(self.timeline, access, ["here", "there"], seed)
        self.session.open(self.owner)

    def heard(self) -> list[Packet]:
        """What the server was told since the last time."""
        data, self.session.written = self.session.written, b""
        return [decode(first, body, self.version) for first, body in Splitter().split(data)]

    def say(self, *packets: Packet) -> None:
        self.session.receive(b"".join(encode(packet, self.version) for packet in packets))

    def welcome(self, resumed: bool = False) -> Connect:
        """Let its connection be made and accepted: what it said."""
        self.session.come()
        (connect,) = self.heard()
        assert isinstance(connect, Connect)
        self.say(ConnAck(resumed))
        return connect

    def until(self, condition: Callable[[], object]) -> float:
        """Let time pass; how many seconds it took."""
        began_ns = self.timeline.now
        while not condition():
            self.timeline.run()
        return (self.timeline.now - began_ns) / SECOND_NS

    def pauses_s(self, count: int) -> list[float]:
        """How long it waits before each attempt, when none succeeds."""
        pauses = []
        for _ in range(count):
            dialled = len(self.session.dialled)
            self.session.go()
            pauses.append(self.until(lambda before=dialled: len(self.session.dialled) > before))  # type: ignore[misc]
        return pauses


def test_it_subscribes_publishes_and_receives() -> None:
    bench = Bench()
    connect = bench.welcome()
    assert (connect.client_identifier, connect.clean_start) == ("lamp-1-run", False)
    bench.session.subscribe("a/+", 1)
    bench.session.subscribe("b", 1)
    bench.session.publish("a/b", b"out", 1, False, 7, lifetime_s=3)
    first, second, publish = bench.heard()
    assert isinstance(first, Subscribe)
    assert isinstance(second, Subscribe)
    assert isinstance(publish, Publish)
    assert publish.properties.message_expiry_interval == 3
    bench.say(
        SubAck(first.packet_identifier, [ReasonCode.GRANTED_QOS_1]),
        SubAck(second.packet_identifier, [ReasonCode.NOT_AUTHORIZED]),
        Publish(b"a/b", b"in", 1, True, True, 9),
        PubAck(publish.packet_identifier),
    )
    assert bench.owner.news() == [
        ("resent",),
        ("connected", False),
        ("subscribed", "a/+"),
        ("disconnected", "the subscription to b was refused: not_authorized"),
        ("delivered", Delivery("a/b", b"in", 1, True, True)),
        ("accepted", 7),
    ]
    assert [type(packet) for packet in bench.heard()] == [PubAck]


def test_what_may_arrive_twice_is_told_and_nothing_else() -> None:
    bench = Bench()
    bench.session.publish("a", b"1", 1, False, 1)
    bench.session.come()
    bench.session.publish("a", b"2", 1, False, 2)  # the server has not answered CONNECT: it waits
    bench.session.go()
    bench.welcome()
    assert ("resent",) in bench.owner.news()
    bench.session.publish("a", b"3", 1, False, 3)
    one, *_ = bench.heard()
    assert isinstance(one, Publish)
    bench.say(PubAck(one.packet_identifier, ReasonCode.QUOTA_EXCEEDED))
    bench.session.go()
    bench.welcome(resumed=True)
    assert bench.owner.news() == [
        ("refused", 1, "quota_exceeded"),
        ("disconnected", "gone"),
        ("resent", 2, 3),
        ("connected", True),
    ]
    assert [packet.payload for packet in bench.heard() if isinstance(packet, Publish)] == [b"2", b"3"]


def test_what_it_cannot_keep_or_what_has_become_worthless_is_refused() -> None:
    bench = Bench()
    bench.session.publish("a", bytes(MAX_HELD_BYTES - 100), 1, False, 1, lifetime_s=1)
    bench.session.publish("a", bytes(200), 1, False, 2)
    bench.session.publish("a", b"", 0, False, 3)  # does not wait, and nobody is told
    bench.session.forget("a")
    bench.timeline.now += 2 * SECOND_NS
    bench.welcome()
    assert [told for told in bench.owner.news() if told[0] == "refused"] == [
        ("refused", 2, "the device's own queue is full"),
        ("refused", 1, "expired on the device"),
    ]
    assert bench.heard() == []


def test_what_was_retained_is_taken_back() -> None:
    bench = Bench()
    bench.welcome()
    bench.session.forget("a")
    (publish,) = bench.heard()
    assert isinstance(publish, Publish)
    assert (publish.payload, publish.retain, publish.qos) == (b"", True, 0)


def test_pauses_grow_and_follow_from_the_seed() -> None:
    first, again, other = Bench(seed=1).pauses_s(8), Bench(seed=1).pauses_s(8), Bench(seed=2).pauses_s(8)
    assert first == again
    assert first != other
    for number, pause_s in enumerate(first):
        whole_s = min(FIRST_RETRY_S * 2**number, LAST_RETRY_S)
        assert 0.5 * whole_s <= pause_s <= 1.5 * whole_s


@pytest.mark.parametrize("what", ["a session", "going over", "sleep"])
def test_pauses_begin_anew_after(what: str) -> None:
    bench = Bench()
    bench.pauses_s(6)
    if what == "a session":
        bench.welcome()
    elif what == "going over":
        bench.session.roam()
    else:
        bench.session.sleep()
        bench.session.open(bench.owner)
    assert bench.pauses_s(1)[0] <= 1.5 * FIRST_RETRY_S


def test_a_retry_that_nobody_waits_for_any_more_is_none() -> None:
    bench = Bench()
    bench.session.go()
    bench.session.sleep()
    bench.session.open(bench.owner)
    bench.session.go()
    bench.session.roam()
    while bench.timeline.next_ns() is not None:
        bench.timeline.run()
    assert bench.session.dialled == ["here", "here", "there"]


def test_it_roams_without_a_word() -> None:
    bench = Bench()
    bench.welcome()
    bench.owner.news()
    bench.session.roam()
    assert bench.heard() == []
    assert (bench.session.dialled, bench.session.hung_up) == (["here", "there"], ["silently"])
    assert bench.owner.news() == [("disconnected", "went over to another node")]
    bench.welcome()
    bench.session.sleep()
    bench.session.roam()
    bench.session.open(bench.owner)
    assert bench.session.dialled == ["here", "there", "here"]


def test_its_radio_sleeps_after_the_last_word() -> None:
    meter = Meter()
    bench = Bench(meter=meter)
    bench.welcome()
    bench.owner.news()
    bench.session.publish("online", b"no", 1, True, 1)
    bench.session.sleep()
    assert [type(packet) for packet in bench.heard()] == [Publish, Disconnect]
    assert bench.session.hung_up == ["in order"]
    assert meter.told == ["woke", "sent", "received", "connected", "sent", "sent", "slept"]
    assert bench.owner.news() == []
    bench.session.open(bench.owner)
    bench.session.fail(keeps_state=True, silently=True)
    assert meter.told[-2:] == ["woke", "slept"]


def test_that_its_last_word_could_not_leave_is_no_trouble() -> None:
    bench = Bench()
    bench.welcome()
    bench.owner.news()
    bench.session.is_broken = True
    bench.session.sleep()
    assert bench.owner.news() == []
    while bench.timeline.next_ns() is not None:
        bench.timeline.run()
    assert bench.session.dialled == ["here"]


def test_closed_for_good_its_session_ends() -> None:
    bench = Bench()
    bench.welcome()
    asyncio.run(bench.session.close())
    (disconnect,) = bench.heard()
    assert isinstance(disconnect, Disconnect)
    assert disconnect.properties.session_expiry_interval == 0


def test_with_its_state_it_resumes() -> None:
    bench = Bench()
    bench.welcome()
    bench.session.publish("a", b"1", 1, False, 1)
    bench.session.fail(keeps_state=True, silently=False)
    bench.session.open(bench.owner)
    assert not bench.welcome(resumed=True).clean_start
    assert ("resent", 1) in bench.owner.told


def test_without_its_state_mqtt_5_begins_with_a_clean_start_once() -> None:
    bench = Bench()
    bench.welcome()
    bench.session.publish("a", b"1", 1, False, 1)
    bench.session.fail(keeps_state=False, silently=True)
    assert bench.session.hung_up == ["silently"]
    bench.session.open(bench.owner)
    bench.owner.news()
    assert bench.welcome().clean_start
    assert bench.owner.news() == [("resent",), ("connected", False)]
    bench.session.go()
    assert not bench.welcome(resumed=True).clean_start


def test_without_its_state_mqtt_311_ends_the_old_session_by_a_clean_one() -> None:
    bench = Bench(V311)
    assert not bench.welcome().clean_start
    bench.session.fail(keeps_state=False, silently=False)
    bench.owner.news()
    bench.session.open(bench.owner)
    bench.session.publish("a", b"1", 1, False, 1)
    connect = bench.welcome()
    assert (connect.clean_start, connect.will) == (True, None)
    assert [type(packet) for packet in bench.heard()] == [Disconnect]
    assert bench.owner.news() == []
    bench.until(lambda: len(bench.session.dialled) == 3)
    connect = bench.welcome()
    assert not connect.clean_start
    assert connect.will is not None
    assert [type(packet) for packet in bench.heard()] == [Publish]
    assert bench.owner.news() == [("resent",), ("connected", False)]


def test_who_is_refused_tries_again() -> None:
    bench = Bench()
    bench.session.come()
    bench.say(ConnAck(False, ReasonCode.SERVER_BUSY))
    assert bench.owner.news() == [("disconnected", "refused: server_busy")]
    assert bench.session.hung_up == ["in order"]
    bench.until(lambda: len(bench.session.dialled) == 2)


def test_a_quiet_server_is_asked_and_then_given_up() -> None:
    bench = Bench()
    bench.welcome()
    bench.owner.news()
    assert bench.until(lambda: bench.session.written) == KEEP_ALIVE_S
    assert [type(packet) for packet in bench.heard()] == [PingReq]
    assert bench.until(lambda: bench.session.hung_up) == KEEP_ALIVE_S / 2
    assert bench.owner.news() == [("disconnected", "the server did not answer a ping in time")]
    bench.until(lambda: len(bench.session.dialled) == 2)


def test_a_server_that_does_not_answer_connect_is_given_up() -> None:
    bench = Bench()
    bench.session.come()
    bench.until(lambda: bench.session.hung_up)
    assert bench.owner.news() == [("disconnected", "the server did not answer CONNECT in time")]
