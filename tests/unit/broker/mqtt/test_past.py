"""What was published before a subscription: all of it comes, in portions, whatever the client does meanwhile."""

from __future__ import annotations

import pytest
from unit.broker.mqtt.harness import Bench, Client, move

from broker.core.message import Message
from broker.core.pressure import LOW_WATER_BYTES
from broker.mqtt.past import PORTION
from oriole.link.uplink import SNAPSHOT_END, Greeting, Stamp
from oriole.wire.mqtt import V5, V311, PubAck, Publish, ReasonCode, Subscribe, Subscription, Unsubscribe

COUNT = 2 * PORTION + 500


def full_bench(count: int = COUNT, payload: bytes = b"value", **limits: int) -> Bench:
    bench = Bench(**limits)
    for number in range(count):
        bench.router.publish(Message(b"r/%d" % number, payload, 1, True), bench.now)
    return bench


def topics(client: Client) -> list[bytes]:
    """The topics of what came; QoS 1 is acknowledged."""
    packets = [packet for packet in client.take() if isinstance(packet, Publish)]
    acknowledgements = [PubAck(packet.packet_identifier) for packet in packets if packet.qos]
    if acknowledgements:
        client.send(*acknowledgements)
    return [packet.topic for packet in packets]


def everything(bench: Bench, client: Client, seconds: int = 60) -> list[bytes]:
    heard = topics(client)
    for _ in range(seconds * 10):
        bench.advance(100)
        heard += topics(client)
    return heard


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("qos", [0, 1])
def test_all_of_it_comes_once_and_in_portions(version: int, qos: int) -> None:
    bench = full_bench(max_queue_messages=100)
    client = bench.subscriber("late", "r/#", qos, version)
    first = topics(client)
    assert 0 < len(first) <= PORTION
    heard = first + everything(bench, client)
    assert sorted(heard) == sorted(b"r/%d" % number for number in range(COUNT))
    assert bench.engine.settlement.dropped == {}
    assert client.session.past is None
    assert bench.engine.next_deadline() is None


def test_a_client_that_does_not_read_has_no_more_waiting_than_its_channel_takes() -> None:
    bench = full_bench(payload=bytes(2000))
    client = bench.member("late")
    client.channel.reads = False
    client.send(Subscribe(1, [Subscription("#")]))
    bench.advance(60_000)
    assert LOW_WATER_BYTES < client.channel.size < LOW_WATER_BYTES + 3000
    client.channel.reads = True
    client.channel.flush()
    assert len(everything(bench, client)) == COUNT
    assert bench.engine.settlement.dropped == {}


def test_publishers_are_not_refused_for_what_a_late_comer_is_given() -> None:
    bench = full_bench(max_queue_messages=10, receive_maximum=10)
    bench.subscriber("late", "#", 1)
    publisher = bench.member("publisher")
    identifier = publisher.publish("r/new", b"x", 1)
    assert publisher.take() == [PubAck(identifier)]


def test_subscribing_over_and_over_costs_two_rounds_at_most() -> None:
    bench = full_bench()
    client = bench.member("late")
    client.send(*(Subscribe(number, [Subscription("#")]) for number in range(1, 500)))
    assert len(topics(client)) <= PORTION
    client.send(*(Subscribe(number, [Subscription("#")]) for number in range(1, 500)))
    assert len(everything(bench, client)) <= 2 * COUNT


def test_the_rest_waits_for_a_client_that_was_away_and_comes_in_its_new_version() -> None:
    bench = full_bench()
    client = bench.subscriber("late", "#", 1, session_expiry_interval=3600)
    heard = set(topics(client))
    client.lose()
    bench.advance(10_000)
    assert bench.engine.settlement.dropped == {}
    client = bench.join("late", V311, clean_start=False)
    heard |= set(everything(bench, client))
    assert len(heard) == COUNT


@pytest.mark.parametrize("end", ["unsubscribe", "leave"])
def test_giving_up_ends_it(end: str) -> None:
    bench = full_bench()
    client = bench.subscriber("late", "#")
    topics(client)
    if end == "leave":
        client.lose()
    else:
        client.send(Unsubscribe(9, ["#"]))
    assert everything(bench, client) == []
    assert bench.engine.next_deadline() is None


def test_what_expires_meanwhile_is_not_sent() -> None:
    bench = full_bench(count=0)
    for number in range(COUNT):
        bench.router.publish(Message(b"r/%d" % number, b"x", 0, True, expires_at=bench.now + 1), bench.now)
    client = bench.subscriber("late", "#")
    assert len(everything(bench, client)) <= PORTION


def test_a_node_is_told_the_end_behind_all_values_with_the_order_at_which_they_began() -> None:
    bench = full_bench(max_queue_messages=10)
    greeting = Greeting("edge", "0" * 32, life="1")
    edge = bench.member("edge", session_expiry_interval=3600, user_property=greeting.pairs())
    edge.send(Subscribe(1, [Subscription("#", 1, True, True)]))
    before = bench.router.order
    bench.router.publish(Message(b"new", b"x", 1, True), bench.now)
    heard = []
    for _ in range(600):
        packets = [packet for packet in edge.take() if isinstance(packet, Publish)]
        edge.send(*(PubAck(packet.packet_identifier, ReasonCode.SUCCESS) for packet in packets))
        heard += packets
        bench.advance(100)
    ends = [place for place, packet in enumerate(heard) if packet.topic.decode() == SNAPSHOT_END]
    assert len(ends) == 1
    assert {packet.topic for packet in heard[: ends[0]]} >= {b"r/%d" % number for number in range(COUNT)}
    assert Stamp.read(heard[ends[0]].properties.user_property).order == before


def test_what_is_left_of_it_moves_with_the_session() -> None:
    bench, there = full_bench(), full_bench()
    client = bench.subscriber("late", "r/#", 1, session_expiry_interval=60)
    client.subscribe("other", 1)
    move("late", bench, there)
    past = there.service.sessions["late"].past
    assert past is not None
    assert past.unfinished == [b"r/#", b"other"]
    moved = there.join("late", clean_start=False, session_expiry_interval=60)
    heard = everything(there, moved)
    assert set(heard) == {b"r/%d" % number for number in range(COUNT)}
    assert there.service.sessions["late"].past is None
