"""An uplink between real engines: nothing is lost, doubled, overtaken, or goes in circles."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from unit.broker.mqtt.harness import Bench, Client, LateJournal
from unit.edge_node.uplink.world import Centre, Edge, End, World

from broker.core.message import Message
from broker.core.questions import Verdict
from broker.core.records import Accepted
from broker.core.settlement import Reason
from broker.listeners.tcp import Stream
from broker.mqtt.service import MqttService
from edge_node.uplink.spool import MOST_LOST
from oriole.config import Limits
from oriole.link.uplink import Mark
from oriole.wire.mqtt import V5, V311, ConnAck, PubAck, Publish, PubRec, PubRel, ReasonCode, SubAck, Unsubscribe, encode

Piece = Callable[[int], int]


def pieces(seed: int) -> Piece:
    choose = random.Random(seed)
    return lambda size: choose.randint(1, min(size, 40))


@pytest.fixture(params=["whole", "byte by byte", "at random"])
def piece(request: pytest.FixtureRequest) -> Piece:
    return {"whole": lambda size: size, "byte by byte": lambda size: 1, "at random": pieces(1)}[request.param]


class House:
    """A centre and an edge, joined, with a device at each."""

    def __init__(self, piece: Piece = lambda size: size, **limits: Any) -> None:
        """`limits` are the edge's."""
        self.centre, self.edge = Centre(), Edge(**limits)
        self.world = World(self.centre, self.edge, piece=piece)
        self.link = self.world.connect(self.edge, self.centre)

    def reconnect(self) -> None:
        self.link.cut()
        self.link = self.world.connect(self.edge, self.centre)

    def hear(self, bench: Bench, filter: str, qos: int = 2, version: int = V5) -> Listener:
        listener = Listener(bench, filter, qos, version)
        self.world.settle()
        return listener

    def values(self) -> list[dict[bytes, bytes]]:
        return [retained(self.centre), retained(self.edge)]

    def say(
        self, bench: Bench, topic: str, payload: bytes, qos: int = 1, retain: bool = False, **facts: object
    ) -> None:
        talker = bench.member("talker")
        talker.publish(topic, payload, qos, retain, **facts)
        talker.take()
        self.world.settle()


class Listener:
    """A subscriber that acknowledges by QoS 1, so that its window never closes."""

    def __init__(self, bench: Bench, filter: str, qos: int, version: int) -> None:
        self.client: Client = bench.subscriber(f"listener-{filter}-{version}", filter, min(qos, 1), version)
        self.packets: list[Publish] = []

    def heard(self) -> list[bytes]:
        """The payloads so far, in order."""
        while packets := [packet for packet in self.client.take() if isinstance(packet, Publish)]:
            self.packets += packets
            self.client.send(*(PubAck(packet.packet_identifier) for packet in packets if packet.qos))
        return [packet.payload for packet in self.packets]


def retained(bench: Bench) -> dict[bytes, bytes]:
    return {message.topic: message.payload for message in bench.router.retained.matching(b"#", bench.now)}


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("version", [V311, V5])
def test_each_side_hears_the_other_once(piece: Piece, qos: int, version: int) -> None:
    house = House(piece)
    above = house.hear(house.centre, "a/#", version=version)
    below = house.hear(house.edge, "a/#", version=version)
    house.say(house.edge, "a/up", b"up", qos)
    house.say(house.centre, "a/down", b"down", qos)
    assert above.heard() == [b"up", b"down"]
    assert below.heard() == [b"up", b"down"]


def test_one_copy_comes_down_for_overlapping_filters() -> None:
    house = House()
    listeners = [house.hear(house.edge, filter) for filter in ("a/b", "a/+", "a/#", "+/b", "#")]
    before = len(house.edge.uplink.wanted)
    carried: list[bytes] = []
    house.link.up.stream = Counting(house.edge.uplink, carried)
    house.say(house.centre, "a/b", b"only one")
    assert sum(data.count(b"only one") for data in carried) == 1
    assert [listener.heard() for listener in listeners] == [[b"only one"]] * 5
    assert before == 1


class Counting:
    """A stream that notes what it receives."""

    def __init__(self, stream: Stream, carried: list[bytes]) -> None:
        self.stream, self.carried = stream, carried

    def receive(self, data: bytes, now: int) -> None:
        self.carried.append(data)
        self.stream.receive(data, now)

    def resume(self, now: int) -> None:
        self.stream.resume(now)

    def closed(self, now: int) -> None:
        self.stream.closed(now)


def test_what_nobody_wants_here_does_not_come_down() -> None:
    house = House()
    carried: list[bytes] = []
    house.link.up.stream = Counting(house.edge.uplink, carried)
    house.hear(house.edge, "mine")
    house.say(house.centre, "yours", b"not for you")
    assert not any(b"not for you" in data for data in carried)


def test_a_filter_that_nobody_wants_any_more_lingers_and_goes() -> None:
    house = House()
    client = house.edge.subscriber("s", "a/#")
    house.world.settle()
    session = house.centre.service.sessions["oriole-edge-edge"]
    client.send(Unsubscribe(9, ["a/#"]))
    house.world.advance(29_000)
    assert list(session.subscriptions) == [b"a/#"]
    house.world.advance(2_000)
    assert list(session.subscriptions) == []


def test_a_value_is_fetched_again_for_whoever_comes_after_it_was_let_go() -> None:
    house = House()
    house.say(house.centre, "lamp", b"on", retain=True)
    client = house.edge.subscriber("s", "lamp")
    house.world.settle()
    client.send(Unsubscribe(9, ["lamp"]))
    house.world.advance(31_000)
    assert retained(house.edge) == {}
    assert house.hear(house.edge, "lamp").heard() == [b"on"]


def test_what_waits_for_the_centre_is_shown_like_what_waits_for_a_session() -> None:
    house = House(alarms=["fire"])
    house.link.cut()
    house.edge.advance(5_000)
    for topic in ("fire", "news", "news"):
        house.say(house.edge, topic, b"x")
    rows = [(row.client, row.is_connected, row.queued, row.away_s) for row in house.edge.uplink.rows(house.edge.now)]
    assert rows == [("uplink alarm", False, 1, 5), ("uplink normal", False, 2, 5), ("uplink bulk", False, 0, 5)]
    house.link = house.world.connect(house.edge, house.centre)
    assert [(row.is_connected, row.queued) for row in house.edge.uplink.rows(house.edge.now)] == [(True, 0)] * 3


def test_reserved_topics_stay() -> None:
    house = House()
    above, below = house.hear(house.centre, "$SYS/#"), house.hear(house.edge, "$SYS/#")
    for bench in (house.centre, house.edge):
        bench.router.publish(Message(b"$SYS/x", b"mine", 1), bench.now)
        bench.turn()
    house.world.settle()
    assert above.heard() == below.heard() == [b"mine"]


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_two_edges_above_each_other_do_not_talk_in_circles(qos: int, retain: bool) -> None:
    one, two = Edge("one"), Edge("two")
    world = World(one, two)
    world.connect(one, two)
    world.connect(two, one)
    listeners = [Listener(edge, "#", 1, V5) for edge in (one, two)]
    world.settle()
    one.member("talker").publish("t", b"x", qos, retain)
    world.settle()
    assert all(b"x" in listener.heard() for listener in listeners)
    assert all(len(listener.heard()) <= 3 for listener in listeners)


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("retain", [False, True])
def test_an_edge_below_itself_keeps_to_itself(qos: int, retain: bool) -> None:
    edge = Edge()
    world = World(edge)
    link = world.connect(edge, edge)
    listener = Listener(edge, "#", 1, V5)
    edge.member("talker").publish("t", b"x", qos, retain)
    world.settle()
    assert listener.heard() == [b"x"]
    assert not link.alive
    assert "is this edge" in edge.said[-1]


def test_an_edge_below_an_edge_below_a_centre() -> None:
    centre, middle, edge = Centre(), Edge("middle"), Edge()
    world = World(centre, middle, edge)
    world.connect(middle, centre)
    world.connect(edge, middle)
    above, below = Listener(centre, "#", 1, V5), Listener(edge, "#", 1, V5)
    world.settle()
    edge.member("talker").publish("up", b"1", 1)
    world.settle()
    centre.member("talker").publish("down", b"2", 1)
    world.settle()
    assert above.heard() == below.heard() == [b"1", b"2"]


@pytest.mark.parametrize("seed", range(12))
def test_nothing_is_lost_doubled_or_overtaken_however_often_the_link_is_cut(seed: int) -> None:
    choose = random.Random(seed)
    house = House(pieces(seed))
    above, below = house.hear(house.centre, "u/#"), house.hear(house.edge, "d/#")
    up, down = house.edge.member("up"), house.centre.member("down")
    for number in range(60):
        topic, qos = choose.choice("ab"), choose.choice((1, 2))
        release(up, f"u/{topic}", b"%d" % number, qos)
        release(down, f"d/{topic}", b"%d" % number, qos)
        for _ in range(choose.randrange(12)):
            house.link.step()
        if choose.random() < 0.3:
            house.link.cut()
            house.link = house.world.connect(house.edge, house.centre, settle=choose.random() < 0.3)
        above.heard()
        below.heard()
    house.world.settle()
    for listener in (above, below):
        heard = listener.heard()
        assert sorted(map(int, heard)) == list(range(60))
        for topic in {packet.topic for packet in listener.packets}:
            numbers = [int(packet.payload) for packet in listener.packets if packet.topic == topic]
            assert numbers == sorted(numbers)


def release(client: Client, topic: str, payload: bytes, qos: int) -> None:
    """Publish and complete the exchange."""
    client.publish(topic, payload, qos)
    client.send(*(PubRel(packet.packet_identifier) for packet in client.take() if isinstance(packet, PubRec)))


@pytest.mark.parametrize("first", ["edge", "centre"])
@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize(("above", "below"), [(b"A", b"B"), (b"", b"B"), (b"A", b""), (b"", b"")])
def test_what_was_set_on_both_sides_of_a_cut_converges(first: str, qos: int, above: bytes, below: bytes) -> None:
    house = House()
    house.hear(house.edge, "#")
    house.say(house.centre, "lamp", b"before", retain=True)
    house.link.cut()
    sides = [(house.edge, below), (house.centre, above)]
    for bench, payload in sides if first == "edge" else sides[::-1]:
        house.say(bench, "lamp", payload, qos, retain=True)
    house.world.connect(house.edge, house.centre)
    centre, edge = house.values()
    assert centre == edge == ({b"lamp": below} if below else {})  # the centre heard of it last


@pytest.mark.parametrize("seed", range(20))
def test_values_converge_whatever_is_set_and_cut_when(seed: int) -> None:
    choose = random.Random(seed)
    house = House(pieces(seed))
    house.hear(house.edge, "#", qos=0)
    talkers = [house.edge.member("talker"), house.centre.member("talker")]
    for number in range(80):
        talker = choose.choice(talkers)
        talker.publish(choose.choice("abc"), choose.choice((b"", b"%d" % number)), choose.choice((0, 1)), retain=True)
        talker.take()
        for _ in range(choose.randrange(8)):
            house.link.step()
        if choose.random() < 0.2:
            house.link.cut()
            house.link = house.world.connect(house.edge, house.centre, settle=False)
    house.world.settle()
    centre, edge = house.values()
    assert centre == edge


def test_a_value_set_here_survives_a_snapshot_that_names_us() -> None:
    house = House()
    house.say(house.edge, "lamp", b"on", retain=True)
    house.hear(house.edge, "#")
    assert house.values() == [{b"lamp": b"on"}] * 2


def test_the_end_of_a_snapshot_deletes_what_the_centre_no_longer_has() -> None:
    house = House()
    house.hear(house.edge, "#")
    house.say(house.centre, "lamp", b"on", retain=True)
    house.link.cut()
    del house.centre.service.sessions["oriole-edge-edge"]  # the session ends, and with it what was owed
    house.say(house.centre, "lamp", b"", retain=True)
    house.world.connect(house.edge, house.centre)
    assert house.values() == [{}, {}]


def test_an_edge_that_lost_its_memory_gets_its_values_back() -> None:
    house = House()
    house.say(house.edge, "lamp", b"on", retain=True)
    house.link.cut()
    again = Edge()
    world = World(house.centre, again)
    world.connect(again, house.centre)
    listener = Listener(again, "#", 1, V5)
    world.settle()
    assert retained(again) == {b"lamp": b"on"}
    assert listener.heard() == [b"on"]
    assert listener.packets[0].retain
    world.links[0].cut()
    new = Centre()
    World(new, again).connect(again, new)
    assert retained(new) == {b"lamp": b"on"}, "it knows the value for its own"


def test_a_centre_that_lost_its_memory_gets_the_values_set_here_back() -> None:
    house = House()
    below = house.hear(house.edge, "#")
    house.say(house.edge, "lamp", b"on", retain=True)
    house.say(house.centre, "price", b"7", retain=True)
    house.link.cut()
    new = Centre()
    world = World(new, house.edge)
    world.connect(house.edge, new)
    assert retained(new) == retained(house.edge) == {b"lamp": b"on"}
    new.member("talker").publish("news", b"!", 1)
    world.settle()
    assert below.heard()[-1] == b"!"


def test_a_centre_that_went_back_in_time_and_its_edge_agree_again() -> None:
    """Restored from a copy: it knows the edge's session, and an older past, in an order of its own."""
    house = House()
    house.hear(house.edge, "#")
    house.say(house.centre, "tariff", b"old", retain=True)
    house.say(house.centre, "tariff", b"new", retain=True)
    house.say(house.edge, "lamp", b"on", retain=True)
    house.link.cut()
    house.centre.service.epoch = "of the copy"
    house.centre.router.order = 1
    for topic, payload in ((b"tariff", b"old"), (b"lamp", b"")):
        house.centre.router.publish(Message(topic, payload, 1, True), house.centre.now)
    house.centre.router.retained.remove(b"lamp")
    session = house.centre.service.sessions["oriole-edge-edge"]
    session.queue = None  # nothing waits there
    house.world.connect(house.edge, house.centre)
    assert house.values() == [{b"tariff": b"old", b"lamp": b"on"}] * 2


def test_the_end_of_an_earlier_snapshot_deletes_nothing_that_it_named() -> None:
    house = House()
    house.say(house.centre, "lamp", b"on", retain=True)
    device = house.edge.subscriber("device", "lamp", 1)
    for _ in range(2):  # SUBSCRIBE goes up, the snapshot comes down
        house.link.step()
    down, now = house.edge.uplink._down, house.edge.now
    down._unwant(b"lamp")
    down.ask(now)
    down.wanted(b"lamp", now)
    house.edge.turn()
    house.world.settle()
    assert device.payloads()
    assert house.values() == [{b"lamp": b"on"}] * 2
    assert not down._enquiries.awaiting_snapshot


def test_a_subscription_is_asked_for_again_when_nobody_knows_whether_it_was_heard() -> None:
    house = House()
    house.edge.subscriber("s", "a", 1)  # its SUBSCRIBE is in the air
    house.link.up.pending = b""
    house.reconnect()
    assert list(house.centre.service.sessions["oriole-edge-edge"].subscriptions) == [b"a"]


def test_an_unsubscription_is_repeated_too() -> None:
    house = House()
    client = house.edge.subscriber("s", "a", 1)
    house.world.settle()
    client.send(Unsubscribe(9, ["a"]))
    house.edge.advance(31_000)
    house.link.up.pending = b""
    house.reconnect()
    assert list(house.centre.service.sessions["oriole-edge-edge"].subscriptions) == []


def test_qos_0_does_not_wait_for_a_link() -> None:
    house = House()
    house.link.cut()
    house.say(house.edge, "a", b"x", 0)
    assert house.edge.engine.settlement.dropped == {Reason.LINK_DOWN: 1}
    assert house.edge.uplink.waiting == 0


@pytest.mark.parametrize("retain", [False, True])
def test_a_burst_of_one_client_is_owed_once_and_goes_up_once(retain: bool) -> None:
    journal = LateJournal()
    centre, edge = Centre(), Edge(journal=journal)
    world = World(centre, edge)
    listener = Listener(centre, "#", 1, V5)
    talker = edge.member("talker")
    payloads = [b"%d" % number for number in range(50)]
    talker.send(*(Publish(b"t", payload, 1, retain, packet_identifier=n) for n, payload in enumerate(payloads, 1)))
    accepted = [record for batch in journal.batches for record in batch if isinstance(record, Accepted)]
    assert [message.payload for record in accepted for message in record.messages] == payloads
    assert all(len(record.owed) == 1 for record in accepted)
    assert edge.uplink.waiting == 50
    for _ in range(3):  # what is accepted, what the welcome needs, what is left
        edge.commit()
        if not world.links:
            world.connect(edge, centre)
        world.settle()
    assert listener.heard() == payloads
    assert edge.uplink.waiting == 0
    assert centre.engine.settlement.refused == {}


def test_a_full_outbox_refuses_5_and_holds_3_1_1_and_loses_nothing() -> None:
    house = House(max_bytes=2_000)
    above = house.hear(house.centre, "#")
    house.link.cut()
    modern, old = house.edge.member("5", V5), house.edge.member("311", V311)
    codes = []
    for number in range(12):
        modern.publish("t", b"%d" % number, 1)
        codes += [packet.reason_code for packet in modern.take() if isinstance(packet, PubAck)]
    taken = codes.count(ReasonCode.NO_MATCHING_SUBSCRIBERS) + codes.count(ReasonCode.SUCCESS)
    assert 0 < taken < 12
    assert codes[taken:] == [ReasonCode.QUOTA_EXCEEDED] * (12 - taken)
    old.publish("t", b"old", 1)
    assert old.take() == []
    assert old.channel.holds == 1
    house.world.connect(house.edge, house.centre)
    house.edge.turn()
    house.world.settle()
    assert [type(packet) for packet in old.take()] == [PubAck]
    assert above.heard() == [*(b"%d" % number for number in range(taken)), b"old"]
    assert house.edge.uplink.waiting == 0


@pytest.mark.parametrize("seed", range(5))
def test_a_centre_without_room_gets_everything_later_and_in_order(seed: int) -> None:
    house = House(pieces(seed))
    house.centre.service.limits = Limits(max_queue_messages=3)
    sleeper = house.centre.subscriber("sleeper", "t/#", 1, V5, clean_start=True, session_expiry_interval=99)
    sleeper.lose()
    talker = house.edge.member("talker")
    for number in range(10):
        talker.publish("t/a", b"%d" % number, 1)
    talker.take()
    house.world.settle()
    assert 0 < house.edge.uplink.waiting < 10
    woken = house.centre.join("sleeper", V5, clean_start=False, session_expiry_interval=99)
    heard: list[int] = []
    for _ in range(6):
        heard += drain(woken)
        house.world.advance(1_000)
    heard += drain(woken)
    assert heard == list(range(10))


def test_what_was_refused_is_not_sent_again_while_others_are_on_their_way() -> None:
    house = House()
    house.centre.service.limits = Limits(max_queue_messages=1)
    house.centre.subscriber("sleeper", "t", 1, V5, session_expiry_interval=99).lose()
    talker = house.edge.member("talker")
    talker.publish("t", b"0", 1)
    house.world.settle()
    carried: list[bytes] = []
    house.link.down.stream = Counting(house.link.down.stream, carried)
    talker.publish("t", b"one", 1)
    one = len(house.link.up.pending)
    talker.publish("t", b"two", 1)
    both = len(house.link.up.pending)
    house.link.piece = lambda size: one  # the first is answered, the second is slow
    house.link.step()
    assert house.link.down.pending == b"", "the answer"
    house.edge.advance(1_000)
    assert len(house.link.up.pending) == both - one
    house.world.settle()
    assert times_carried(carried) == (1, 1)
    talker.publish("t", b"3", 1)
    assert house.link.up.pending == b"", "nothing overtakes them"
    house.world.advance(1_000)
    assert times_carried(carried) == (2, 2), "both, in their order, once there is a new chance"
    assert house.edge.uplink.waiting == 3


def times_carried(carried: list[bytes]) -> tuple[int, int]:
    data = b"".join(carried)
    return data.count(b"one"), data.count(b"two")


def drain(client: Client) -> list[int]:
    heard = []
    while packets := [packet for packet in client.take() if isinstance(packet, Publish)]:
        heard += [int(packet.payload) for packet in packets]
        client.send(*(PubAck(packet.packet_identifier) for packet in packets))
    return heard


def test_a_full_queue_here_loses_for_itself_alone_and_says_so() -> None:
    house = House(max_queue_messages=2)
    awake = house.hear(house.edge, "t")
    house.edge.subscriber("sleeper", "t", 1, V5, session_expiry_interval=99).lose()
    for number in range(10):
        house.say(house.centre, "t", b"%d" % number)
        awake.heard()
    assert awake.heard() == [b"%d" % number for number in range(10)]
    assert house.edge.engine.settlement.dropped == {Reason.QUEUE_FULL: 6}


def test_late_comers_get_state_and_held_pushes_and_no_events() -> None:
    house = House()
    house.hear(house.edge, "#")
    house.say(house.centre, "lamp", b"state", retain=True)
    house.say(house.centre, "lamp", b"event")
    house.say(house.centre, "lamp", b"held", message_expiry_interval=10)
    assert house.hear(house.edge, "lamp").heard() == [b"state", b"held"]
    house.world.advance(11_000)
    assert house.hear(house.edge, "lamp/#").heard() == [b"state"]


def test_a_silent_centre_is_doubted_after_an_overdue_answer() -> None:
    house = House()
    house.edge.advance(4_000)  # a ping leaves and nobody carries it
    assert not house.edge.uplink.silent(house.edge.now + 1_000)
    assert house.edge.uplink.silent(house.edge.now + 1_001)
    house.world.settle()
    assert not house.edge.uplink.silent(house.edge.now + 1_001)


def test_a_largest_message_goes_up_and_down() -> None:
    house = House(max_packet_bytes=2_000)
    house.centre.service.limits = house.edge.limits
    house.reconnect()
    above = house.hear(house.centre, "t")
    house.say(house.edge, "t", b"x" * 1_990)
    assert [len(payload) for payload in above.heard()] == [1_990]


class TestForeign:
    """A broker of another make: it knows nothing of nodes."""

    def house(self) -> House:
        return House(greets=False)  # then ours treats the edge as any client, and answers like any broker

    @pytest.mark.parametrize("qos", [0, 1, 2])
    def test_each_side_hears_the_other_once(self, qos: int) -> None:
        house = self.house()
        assert house.edge.uplink.centre is None
        above, below = house.hear(house.centre, "a/#"), house.hear(house.edge, "a/#")
        house.say(house.edge, "a/up", b"up", qos)
        house.say(house.centre, "a/down", b"down", qos)
        assert above.heard() == below.heard() == [b"up", b"down"]

    def test_what_is_set_here_during_a_cut_wins(self) -> None:
        house = self.house()
        house.hear(house.edge, "#")
        house.link.cut()
        house.say(house.centre, "lamp", b"A", retain=True)
        house.say(house.edge, "lamp", b"B", retain=True)
        house.world.connect(house.edge, house.centre)
        assert house.values() == [{b"lamp": b"B"}] * 2

    def test_what_is_set_there_during_a_cut_arrives(self) -> None:
        house = self.house()
        house.hear(house.edge, "#")
        house.link.cut()
        house.say(house.centre, "lamp", b"A", 0, retain=True)
        house.world.connect(house.edge, house.centre)
        assert house.values() == [{b"lamp": b"A"}] * 2


@pytest.mark.parametrize("more", [[], [SubAck(1, [ReasonCode.GRANTED_QOS_1])]])
def test_a_centre_that_breaks_the_protocol_in_the_same_breath_as_its_welcome(more: list[SubAck]) -> None:
    edge = Edge()
    edge.subscriber("device", "lamp", 1)
    edge.member("talker").publish("state", b"x", 1, retain=True)
    end = End(edge)
    edge.uplink.open(end, edge.now)
    welcome = b"".join(encode(packet, V5) for packet in [ConnAck(False), *more])
    edge.uplink.receive(welcome + b"\x00\x00", edge.now)
    edge.turn()
    assert end.closing
    assert not edge.uplink.connected
    assert edge.uplink.waiting == 1


@pytest.mark.parametrize(
    ("reason", "unwelcome"),
    [(ReasonCode.BAD_USER_NAME_OR_PASSWORD, True), (ReasonCode.NOT_AUTHORIZED, True), (ReasonCode.SERVER_BUSY, False)],
)
def test_whoever_is_refused_for_good_knows_it_until_he_is_let_in(reason: ReasonCode, unwelcome: bool) -> None:
    centre, edge = Centre(), Edge()
    world = World(centre, edge)
    centre.decide = lambda question: Verdict(False, reason)
    world.connect(edge, centre)
    assert edge.said[-1].startswith("the centre refuses this edge: ")
    assert edge.uplink.unwelcome is unwelcome
    centre.decide = lambda question: Verdict(True)
    world.connect(edge, centre)
    assert not edge.uplink.unwelcome
    assert edge.uplink.connected


@pytest.mark.parametrize(("name", "epoch", "what"), [("attic", "", "name"), ("cellar", "one", "data")])
def test_two_edges_of_one_name_or_one_past_are_told_so(name: str, epoch: str, what: str) -> None:
    centre, first, second = Centre(), Edge("attic", epoch="one"), Edge(name, epoch=epoch)
    world = World(centre, first, second)
    link = world.connect(first, centre)
    for _ in range(2):
        world.connect(second, centre)
        assert second.said[-1] == f"the centre refuses this edge: another edge with this {what} is connected"
        assert first.said[-1] == "connected to centre", "whoever came first stays"
        assert (first.uplink.connected, second.uplink.connected) == (True, False)
    assert not second.uplink.unwelcome, "it may be about to end: try again"
    link.cut()
    world.connect(second, centre)
    assert second.uplink.connected


@pytest.mark.parametrize("is_too_far", [False, True])
def test_a_centre_with_numbers_that_no_power_cut_here_explains_is_met_anew(is_too_far: bool) -> None:
    centre, edge = Centre(), Edge(epoch="one")
    world = World(centre, edge)
    centre.service.marks.take(Mark("one", "normal", MOST_LOST + is_too_far))
    listener = Listener(centre, "#", 1, V5)
    talker = edge.member("talker")
    world.connect(edge, centre)
    assert any("has messages that this edge knows nothing of" in said for said in edge.said) is is_too_far
    assert (edge.uplink.greeting.epoch != "one") is is_too_far
    if is_too_far:
        assert centre.service.marks.highest(edge.uplink.greeting.epoch, "normal") == 0
        world.connect(edge, centre)
    assert edge.uplink.connected
    talker.publish("t", b"1", 1)
    world.settle()
    assert listener.heard() == [b"1"]
    assert edge.uplink.waiting == 0
    sequence = 1 if is_too_far else MOST_LOST + 1
    assert centre.service.marks.highest(edge.uplink.greeting.epoch, "normal") == sequence


@pytest.mark.parametrize("has", [3, 2 * MOST_LOST])
def test_what_was_accepted_since_a_power_cut_is_not_lost_whatever_numbers_the_centre_has(has: int) -> None:
    centre, edge = Centre(), Edge(epoch="one")
    world = World(centre, edge)
    centre.service.marks.take(Mark("one", "normal", has))
    listener = Listener(centre, "#", 1, V5)
    talker = edge.member("talker")
    for payload in (b"1", b"2"):
        talker.publish("t", payload, 1)
    for _ in range(2):
        world.connect(edge, centre)
    assert listener.heard() == [b"1", b"2"]
    assert edge.uplink.waiting == 0


STAMPS = [("oriole-order", "x"), ("oriole-qos", "3"), ("oriole-sequence", "normal:9"), ("oriole-path", "centre")]


@pytest.mark.parametrize("forged", STAMPS, ids=[name for name, _ in STAMPS])
def test_no_client_s_user_property_passes_for_a_node_s_stamp(forged: tuple[str, str]) -> None:
    """Up it would end the link each time it is tried again; down it would hide what the centre says."""
    centre, edge = Centre(), Edge()
    world = World(centre, edge)
    above, below = Listener(centre, "up", 1, V5), Listener(edge, "down", 1, V5)
    link = world.connect(edge, centre)
    edge.member("e").publish("up", b"1", 1, user_property=[forged, ("mine", "stays")])
    centre.member("c").publish("down", b"2", 1, user_property=[forged, ("mine", "stays")])
    world.settle()
    assert (above.heard(), below.heard(), link.alive, edge.uplink.waiting) == ([b"1"], [b"2"], True, 0)


def test_an_outbox_that_is_full_loses_nothing_that_was_acknowledged() -> None:
    """QoS 2 that was taken over while there was room, and QoS 1 that filled it before the other was routed."""
    edge = Edge(max_bytes=10_000)
    fillers = [edge.member(f"f{number}", V311) for number in range(3)]
    fillers[0].publish("up", bytes(9_000), 1)
    fillers[1].channel.feed(encode(Publish(b"up", bytes(9_500), 2, packet_identifier=1), V311))
    fillers[2].channel.feed(encode(Publish(b"up", bytes(20_000), 1, packet_identifier=1), V311))
    edge.turn()
    acknowledged = sum(isinstance(packet, PubAck | PubRec) for client in fillers for packet in client.take())
    assert edge.uplink.waiting == acknowledged == 3
    assert Reason.QUEUE_FULL not in edge.engine.settlement.dropped


def test_a_message_that_expires_on_its_way_up_is_settled_and_what_follows_goes_on() -> None:
    centre, edge = Centre(receive_maximum=1), Edge()  # all but the first wait in the uplink's client
    world = World(centre, edge)
    above = Listener(centre, "t", 1, V5)
    link = world.connect(edge, centre)
    link.down.hold()  # the centre does not read
    talker = edge.member("talker")
    talker.publish("t", b"first", 1)
    talker.publish("t", b"short", 1, message_expiry_interval=5)
    talker.publish("t", b"long", 1, message_expiry_interval=500)
    link.cut()
    world.advance(60_000)
    world.connect(edge, centre)
    world.advance(1_000)
    assert above.heard() == [b"first", b"long"]
    assert (edge.uplink.waiting, edge.engine.settlement.expired) == (0, 1)


@pytest.mark.parametrize("count", [100, 300, 1000])
def test_what_a_broker_of_another_make_did_not_acknowledge_goes_up_to_ours_once(
    monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    other, centre, edge = Centre("other"), Centre(), Edge()
    greet = MqttService._greet
    monkeypatch.setattr(
        MqttService, "_greet", lambda self, *asked: None if self is other.service else greet(self, *asked)
    )
    world = World(other, centre, edge)
    above = Listener(centre, "#", 1, V5)
    silent = world.connect(edge, other)
    world.links.clear()  # nothing comes or goes any more
    talker = edge.member("talker")
    for number in range(count):
        talker.publish("t", b"%d" % number, 1)
    silent.cut()
    for _ in range(2):  # the first connection finds out
        if not edge.uplink.connected:
            world.connect(edge, centre)
    assert above.heard() == [b"%d" % number for number in range(count)]
    assert edge.uplink.waiting == 0


@pytest.mark.parametrize("max_packet_bytes", [2048, 8192])
def test_a_centre_that_takes_small_packets_gets_small_batches(max_packet_bytes: int) -> None:
    centre, edge = Centre(max_packet_bytes=max_packet_bytes), Edge()
    world = World(centre, edge)
    above = Listener(centre, "#", 1, V5)
    talker = edge.member("talker")
    for number in range(500):
        talker.publish("t", b"%d" % number + bytes(40), 1)
    talker.publish("t", bytes(max_packet_bytes + 3000), 1)
    talker.publish("t", b"last", 1)
    world.connect(edge, centre)
    assert above.heard() == [*(b"%d" % number + bytes(40) for number in range(500)), b"last"]
    assert edge.uplink.waiting == 0
