"""Pushes that asked to be held, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.broker.mqtt.harness import START, Bench
from unit.edge_node.uplink.world import Edge

from broker.core.engine import Engine
from broker.core.message import Header, Message
from broker.core.router import Router
from broker.journal.memory import MemoryJournal
from edge_node.cache import MOST_PER_TOPIC, HeldPushes
from oriole.wire.mqtt import V311, PubAck, Publish
from oriole.wire.push import Envelope, encode
from oriole.wire.push import Header as PushHeader


def make(max_bytes: int = 1 << 20) -> HeldPushes:
    return HeldPushes(Router(Engine(MemoryJournal())), max_bytes)


def push(topic: bytes, payload: bytes, lives_until: int = 0, key: str | None = None, retain: bool = False) -> Message:
    header = Header(collapse_key=key) if key is not None else None
    return Message(topic, payload, 1, retain, header, expires_at=lives_until)


def held(cache: HeldPushes, filter: bytes = b"#", now: int = START) -> list[bytes]:
    return [message.payload for message in cache.matching(filter, now)]


def test_an_event_is_over_when_it_is_over() -> None:
    cache = make()
    cache.hold(push(b"lock", b"unlock"), START)
    assert held(cache) == []


def test_a_lifetime_or_a_key_asks_to_be_held() -> None:
    cache = make()
    cache.hold(push(b"a", b"lives", START + 10), START)
    cache.hold(push(b"a", b"newest of its kind", key="k"), START)
    assert held(cache) == [b"lives", b"newest of its kind"]
    assert held(cache, now=START + 10) == [b"newest of its kind"]
    assert cache.answers == 3


def test_retained_state_is_the_stores_business() -> None:
    cache = make()
    cache.hold(push(b"a", b"x", START + 10, "k", retain=True), START)
    assert held(cache) == []


def test_a_push_with_the_same_key_replaces_the_older_one() -> None:
    cache = make()
    for payload, key in ((b"1", "k"), (b"2", "other"), (b"3", "k")):
        cache.hold(push(b"a", payload, key=key), START)
    assert held(cache) == [b"2", b"3"]
    cache.hold(push(b"a", b"", key="k"), START)
    assert held(cache) == [b"2"]


def test_the_newest_of_a_topic_stay() -> None:
    cache = make()
    for number in range(MOST_PER_TOPIC + 3):
        cache.hold(push(b"a", b"%d" % number, START + 10), START)
    assert held(cache) == [b"%d" % number for number in range(3, MOST_PER_TOPIC + 3)]


def test_a_filter_gets_its_topics_only() -> None:
    cache = make()
    for topic in (b"a/b", b"a/c", b"d"):
        cache.hold(push(topic, topic, START + 10), START)
    assert sorted(held(cache, b"a/+")) == [b"a/b", b"a/c"]


def test_it_sees_what_the_router_routes() -> None:
    router = Router(Engine(MemoryJournal()))
    cache = HeldPushes(router)
    router.publish(push(b"a", b"x", START + 10), START)
    router.publish(push(b"$SYS/a", b"x", START + 10), START)
    assert [message.payload for message in router.late(b"#", START)] == [b"x"]
    assert held(cache, b"$SYS/#") == []


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((b"a", b"b", b"c/d", b"e")),
            st.binary(max_size=300),
            st.integers(0, 20),
            st.sampled_from((None, "k", "l")),
        ),
        max_size=60,
    )
)
def test_bytes_are_bounded_and_nothing_dead_or_unasked_comes_out(
    pushes: list[tuple[bytes, bytes, int, str | None]],
) -> None:
    cache = make(max_bytes=2_000)
    for age, (topic, payload, lifetime, key) in enumerate(pushes):
        now = START + age
        cache.hold(push(topic, payload, now + lifetime if lifetime else 0, key), now)
        answers = list(cache.matching(b"#", now))
        assert cache.bytes <= 2_000
        assert sum(message.size for message in answers) <= cache.bytes
        for message in answers:
            assert message.expires_at > now or (not message.expires_at and message.header is not None)


@pytest.mark.parametrize("qos", [0, 1])
def test_a_3_1_1_client_s_envelope_asks_to_be_held(qos: int) -> None:
    """Also where everybody who listens is a 3.1.1 client, and a plain packet would pass from one to the other."""
    bench = Bench()
    HeldPushes(bench.router)
    reader = bench.subscriber("reader", "t", 1, V311)
    payload = encode(Envelope(PushHeader(b"id", lifetime_ms=60_000), b"body"))
    publisher = bench.member("p", V311)
    publisher.publish("t", b"event", qos)
    publisher.publish("t", payload, qos)
    assert reader.payloads() == [b"event", payload]
    assert bench.subscriber("late", "t", 1, V311).payloads() == [payload]


def test_a_push_that_came_after_the_subscription_comes_once_however_slow_its_past() -> None:
    edge = Edge()
    talker = edge.member("talker")
    for number in range(3):
        talker.publish(f"r/{number}", b"state", 1, retain=True)
    talker.publish("push", b"before", 1, message_expiry_interval=60)
    slow = edge.member("slow", receive_maximum=1)
    slow.subscribe("#", 1)
    talker.publish("push", b"after", 1, message_expiry_interval=60)
    heard = []
    while packets := [packet for packet in slow.take() if isinstance(packet, Publish)]:
        heard += [packet.payload for packet in packets]
        slow.send(*(PubAck(packet.packet_identifier) for packet in packets))
        edge.advance(2_000)
    assert sorted(heard) == [b"after", b"before", b"state", b"state", b"state"]
