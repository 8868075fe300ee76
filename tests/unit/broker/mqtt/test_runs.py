"""Runs of plain QoS 0 packets are passed on as the bytes that came. Nobody can tell: not by any split of the stream."""

from __future__ import annotations

from dataclasses import replace
from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.broker.mqtt.harness import Bench, Client

from broker.core.message import Message
from broker.mqtt.pieces import PINGREQ
from oriole.wire.mqtt import (
    V5,
    V311,
    Packet,
    PingReq,
    Properties,
    Publish,
    PubRel,
    Subscribe,
    Subscription,
    Unsubscribe,
    encode,
)

TOPICS = [b"a", b"b", b"q/1", b"\xc3\xa9", b"$SYS/x"]


@st.composite
def publishes(draw: st.DrawFn) -> Publish:
    qos = draw(st.sampled_from([0, 0, 0, 0, 1, 2]))
    properties = draw(st.sampled_from([{}, {}, {}, {"content_type": "x"}, {"message_expiry_interval": 5}]))
    topic = draw(st.sampled_from(TOPICS))
    return Publish(
        topic,
        draw(st.binary(max_size=3) | st.just(bytes(200))),
        qos,
        topic != b"q/1" and draw(st.sampled_from([False, False, True])),
        False,
        draw(st.integers(1, 3)) if qos else 0,
        Properties(**properties),
    )


@st.composite
def streams(draw: st.DrawFn) -> list[Packet]:
    others = st.sampled_from([PingReq(), PubRel(1), Subscribe(9, [Subscription("q/+", 1)]), Unsubscribe(9, ["q/+"])])
    runs = st.tuples(publishes() | publishes() | others, st.integers(1, 5), st.integers(0, 1)).map(repeated)
    return [packet for run in draw(st.lists(runs, max_size=12)) for packet in run]


def repeated(run: tuple[Packet, int, int]) -> list[Packet]:
    """A packet a number of times, its identifier going up by a step."""
    packet, count, step = run
    if not isinstance(packet, Publish) or not packet.qos:
        return [packet] * count
    return [replace(packet, packet_identifier=packet.packet_identifier + step * number) for number in range(count)]


READERS = [
    ("a", 0, V311),
    ("a", 2, V5),
    ("#", 1, V5),
    ("b", 0, V5),
    ("b", 0, V311),
    ("$SYS/#", 0, V5),
    ("$SYS/x", 0, V311),
]


def world(version: int, room: int = 1000) -> tuple[Bench, Client, list[Client]]:
    """A publisher and every kind of recipient that a run may meet."""
    bench = Bench(receive_maximum=room, max_queue_messages=room)
    readers = [bench.subscriber(f"r{filter}{v}", filter, qos, v) for filter, qos, v in READERS]
    no_local = bench.member("no-local")
    no_local.subscribe("b", no_local=True, identifier=3)
    bench.subscriber("away", "a", 1, session_expiry_interval=9).lose()
    bench.router.publish(Message(b"$SYS/x", b"ours"), bench.now)
    publisher = bench.member("p", version)
    return bench, publisher, [publisher, no_local, *readers]


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([V311, V5]), streams(), st.data())
def test_a_stream_in_any_pieces_is_the_same_as_packet_by_packet(
    version: int, packets: list[Packet], data: st.DataObject
) -> None:
    """With room for all: a burst looks for room once, so it may be refused later than its packets one by one."""
    room = 1000
    encoded = [encode(plain(packet) if version == V311 else packet, version) for packet in packets]
    ends = list(accumulate(map(len, encoded)))
    stream = b"".join(encoded)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(stream)), max_size=8), label="cuts"))
    slow, one_by_one, seen_slowly = world(version, room)
    fast, in_pieces, seen_fast = world(version, room)
    for start, end in pairwise([0, *cuts, len(stream)]):
        for packet, stop in zip(encoded, ends, strict=True):
            if start < stop <= end:
                forget_routes(slow)
                one_by_one.channel.feed(packet)
        slow.turn()
        in_pieces.send(stream[start:end])
    for ours, theirs in zip(seen_fast, seen_slowly, strict=True):
        assert parted(ours) == parted(theirs)
    assert fast.engine.settlement.counts() == slow.engine.settlement.counts()
    assert fast.router.order == slow.router.order


def plain(packet: Packet) -> Packet:
    """As 3.1.1 can say it."""
    return packet if isinstance(packet, PingReq) else replace(packet, properties=Properties())


def forget_routes(bench: Bench) -> None:
    """Only a known route is fast."""
    for topic in list(bench.router.routes.cached):
        bench.router.routes._cache.pop(topic)


def parted(client: Client) -> tuple[list[Publish], list[Packet]]:
    """Messages, and everything else: how the two are mixed depends on where reads begin and end."""
    packets = client.take()
    messages = [packet for packet in packets if isinstance(packet, Publish)]
    return messages, [packet for packet in packets if not isinstance(packet, Publish)]


def test_a_run_arrives_as_the_bytes_that_came() -> None:
    bench, publisher, _ = world(V5)
    reader = bench.subscriber("reader", "z")
    publisher.publish("z")
    reader.take()
    run = encode(Publish(b"z", b"abc"), V5) * 50
    publisher.send(run[:77])
    assert reader.channel.sent == run[:72]
    publisher.send(run[77:])
    assert reader.channel.sent == run


def test_reserved_topics_are_nobodys_to_write_even_when_their_route_is_known() -> None:
    for version in (V311, V5):
        bench = Bench()
        publisher = bench.member("p", version)
        watcher = bench.subscriber("watcher", "$SYS/#", version=version)
        bench.router.publish(Message(b"$SYS/x", b"ours"), bench.now)
        bench.turn()
        publisher.publish("$SYS/x", b"forged")
        assert watcher.payloads() == [b"ours"]


def test_a_length_that_is_longer_than_needed() -> None:
    """[MQTT-1.5.5-1] forbids it in MQTT 5. From 3.1.1 it is taken, and passed on in the proper form."""
    for version in (V311, V5):
        bench, publisher, _ = world(version)
        reader = bench.subscriber("reader", "z", version=version)
        bench.member("other", version).publish("z", b"known")
        reader.take()
        plain = encode(Publish(b"z", b"abc"), version)
        publisher.send(plain[:1] + bytes((plain[1] | 0x80, 0)) + plain[2:])
        if version == V5:
            assert publisher.reason() == 0x81
        else:
            assert reader.channel.sent == plain
        assert publisher.closed == (version == V5)


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("count", [1, 2, 31, 33, 1023, 1057, 5000])
def test_every_ping_in_a_row_is_answered(version: int, count: int) -> None:
    bench = Bench()
    client = bench.member("a", version)
    client.send(PINGREQ * count + encode(Publish(b"t", b"x", 1, packet_identifier=1), version) + PINGREQ * count)
    answers = [type(packet).__name__ for packet in client.take()]
    assert sorted(answers) == ["PingResp"] * (2 * count) + ["PubAck"]
    client.send(PINGREQ * count + PINGREQ[:1])
    client.send(PINGREQ[1:])
    assert len(client.take()) == count + 1
    client.send(b"\xc1\0")
    assert client.closed


def test_the_answers_to_pings_of_one_read_are_one_piece() -> None:
    """A piece costs 40 times what is in it: a client that does not read could have 16 MiB of two bytes each."""
    bench = Bench()
    client = bench.member("a")
    client.channel.reads = False
    client.send((PINGREQ + encode(PubRel(9), V5)) * 200)
    assert len(client.channel.out) == 2
