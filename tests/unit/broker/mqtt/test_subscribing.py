"""Subscriptions and their options: who gets what, once, in which form; and what a newcomer gets of the past."""

from __future__ import annotations

import pytest
from unit.broker.mqtt.harness import Bench, Client

from broker.core.message import Message
from oriole.wire.mqtt import (
    V5,
    V311,
    Properties,
    PubAck,
    Publish,
    ReasonCode,
    SubAck,
    Subscribe,
    Subscription,
    UnsubAck,
    Unsubscribe,
)

BOTH = pytest.mark.parametrize("version", [V311, V5])


def publishes(client: Client) -> list[Publish]:
    return [packet for packet in client.take() if isinstance(packet, Publish)]


# -- what matches, and how often ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("filter", "topic", "matches"),
    [
        ("a/b", "a/b", True),
        ("a/b", "a/B", False),
        ("a/b", "/a/b", False),
        ("a/+", "a/", True),
        ("a/+", "a", False),
        ("a/+", "a/b/c", False),
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("+", "a", True),
        ("+", "/a", False),
        ("+/+", "/a", True),
        ("#", "a/b", True),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("$SYS/#", "$SYS/x", True),
        ("$SYS/+", "$SYS/x", True),
        ("é/+", "é/x", True),
    ],
)
def test_filters(filter: str, topic: str, matches: bool) -> None:

    bench = Bench()
    client = bench.subscriber("a", filter)
    for _ in range(2):  # the second time from the route cache
        bench.router.publish(Message(topic.encode(), b"x"), bench.now)
        bench.turn()
    assert client.payloads() == [b"x"] * (2 * matches)


@BOTH
def test_overlapping_filters_deliver_once_with_the_highest_qos(version: int) -> None:
    """[MQTT-3.3.4-2]; the subscription identifiers of all [MQTT-3.3.4-4]"""
    bench = Bench()
    client = bench.member("a", version)
    five = version == V5
    for identifier, (filter, qos) in enumerate((("a/+", 0), ("a/b", 2), ("#", 1)), 1):
        client.subscribe(filter, qos, identifier * five)
    bench.member("p").publish("a/b", b"x", 2)
    (packet,) = publishes(client)
    assert (packet.qos, packet.payload) == (2, b"x")
    assert sorted(packet.properties.subscription_identifier) == ([1, 2, 3] if five else [])


@BOTH
@pytest.mark.parametrize("granted", [0, 1, 2])
@pytest.mark.parametrize("published", [0, 1, 2])
def test_the_granted_qos_caps(version: int, granted: int, published: int) -> None:
    """[MQTT-3.8.4-8]"""
    bench = Bench()
    client = bench.subscriber("a", "t", granted, version)
    bench.member("p").publish("t", b"x", published)
    assert [packet.qos for packet in publishes(client)] == [min(granted, published)]


def test_a_subscription_made_again_replaces_the_first() -> None:
    """[MQTT-3.8.4-3]: options and identifier; a live message arrives once, in the new form."""
    bench = Bench()
    client = bench.member("a")
    client.subscribe("t", 2, identifier=7)
    publisher = bench.member("p")
    publisher.publish("t", b"x", 2)
    assert client.subscribe("t", 1, identifier=8) == ReasonCode.GRANTED_QOS_1
    publisher.publish("t", b"y", 2)
    assert [(p.qos, p.properties.subscription_identifier) for p in publishes(client)] == [(2, [7]), (1, [8])]


def test_no_local() -> None:
    """[MQTT-3.8.3-3]; an overlapping subscription without it still delivers."""
    bench = Bench()
    client, other = bench.member("a"), bench.subscriber("b", "t")
    client.subscribe("t", no_local=True)
    client.publish("t", b"own")
    other.publish("t", b"other's")
    assert client.payloads() == [b"other's"]
    assert other.payloads() == [b"own", b"other's"]
    client.subscribe("#")
    client.publish("t", b"own")
    assert client.payloads() == [b"own"]


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("retain_as_published", [False, True])
@pytest.mark.parametrize("qos", [0, 1])
def test_retain_as_published(retain: bool, retain_as_published: bool, qos: int) -> None:
    """[MQTT-3.3.1-12] [MQTT-3.3.1-13]; 3.1.1 always clears it [MQTT-3.3.1-9]."""
    bench = Bench()
    client, old = bench.member("a"), bench.subscriber("b", "t", 1, V311)
    client.subscribe("t", 1, retain_as_published=retain_as_published)
    bench.member("p").publish("t", b"x", qos, retain)
    assert [packet.retain for packet in publishes(client)] == [retain and retain_as_published]
    assert [packet.retain for packet in publishes(old)] == [False]


def test_unsubscribe() -> None:
    """[MQTT-3.10.4-1] to -6: exact filters only; what is in flight is finished."""
    bench = Bench()
    client = bench.subscriber("a", "t/+", 1)
    publisher = bench.member("p")
    publisher.publish("t/1", b"before", 1)
    client.send(Unsubscribe(9, ["t/1", "t/+", "t/+"]))
    before, unsuback = client.take()
    codes = [ReasonCode.NO_SUBSCRIPTION_EXISTED, ReasonCode.SUCCESS, ReasonCode.NO_SUBSCRIPTION_EXISTED]
    assert unsuback == UnsubAck(9, codes)
    publisher.publish("t/1", b"after", 1)
    assert client.take() == []
    assert isinstance(before, Publish)
    assert list(client.session.inflight) == [before.packet_identifier]


@BOTH
def test_several_filters_in_one_packet_are_answered_in_order(version: int) -> None:
    """[MQTT-3.8.4-6] [MQTT-3.9.3-1]; shared subscriptions are refused by name."""
    client = Bench(max_subscriptions=2).member("a", version)
    asked = [
        Subscription("a", 2),
        Subscription("$share/g/b", 1),
        Subscription("c"),
        Subscription("d"),
        Subscription("a"),
    ]
    client.send(Subscribe(3, asked))
    codes = [2, 0x9E, 0, 0x97, 0] if version == V5 else [2, 0x80, 0, 0x80, 0]
    assert client.take() == [SubAck(3, [ReasonCode(code) for code in codes])]


# -- versions ----------------------------------------------------------------------------------------------------------

TOLD = Properties(
    payload_format_indicator=1,
    content_type="text/plain",
    response_topic="r",
    correlation_data=b"\0\1",
    user_property=[("k", "1"), ("k", "0"), ("a", "")],
)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_properties_go_from_five_to_five_unaltered_and_to_3_1_1_not_at_all(qos: int) -> None:
    """[MQTT-3.3.2-4] [MQTT-3.3.2-15] to [MQTT-3.3.2-20]"""
    bench = Bench()
    new, old = bench.subscriber("new", "t", 2), bench.subscriber("old", "t", 2, V311)
    bench.member("p").publish("t", b"x", qos, **TOLD.present)
    identifier = 1 if qos else 0
    assert publishes(new) == [Publish(b"t", b"x", qos, packet_identifier=identifier, properties=TOLD)]
    assert publishes(old) == [Publish(b"t", b"x", qos, packet_identifier=identifier)]


@pytest.mark.parametrize("qos", [0, 1, 2])
@pytest.mark.parametrize("origin", [V311, V5])
def test_a_plain_message_reaches_every_version(qos: int, origin: int) -> None:
    bench = Bench()
    clients = [bench.subscriber(f"s{version}", "t", 2, version) for version in (V311, V5)]
    bench.member("p", origin).publish("t", b"x", qos)
    for client in clients:
        assert publishes(client) == [Publish(b"t", b"x", qos, packet_identifier=1 if qos else 0)]


# -- retained ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("retain_handling", [0, 1, 2])
def test_retain_handling(retain_handling: int) -> None:
    """[MQTT-3.3.1-9] to [MQTT-3.3.1-11]"""
    bench = Bench()
    bench.member("p").publish("t", b"x", retain=True)
    client = bench.member("a")
    counts = []
    for _ in range(2):
        client.subscribe("t", retain_handling=retain_handling)
        counts.append(len(publishes(client)))
    assert counts == [[1, 1], [1, 0], [0, 0]][retain_handling]


@BOTH
def test_retained_messages_are_set_replaced_and_deleted(version: int) -> None:
    """[MQTT-3.3.1-5] to [MQTT-3.3.1-8]"""
    bench = Bench()
    publisher = bench.member("p", version)

    def kept() -> list[bytes]:
        found = publishes(bench.subscriber("reader", "#", 2, version))
        assert all(packet.retain for packet in found)
        return [packet.payload for packet in found]

    publisher.publish("t", b"1", 1, retain=True)
    publisher.publish("t", b"live", 1)
    assert kept() == [b"1"]
    publisher.publish("t", b"2", 2, retain=True)
    publisher.publish("u", b"3", 0, retain=True)
    assert sorted(kept()) == [b"2", b"3"]
    watcher = bench.subscriber("watcher", "t", version=version)
    watcher.take()
    publisher.publish("t", b"", 0, retain=True)
    assert watcher.payloads() == [b""], "the deletion itself is a message"
    assert kept() == [b"3"]


def test_retained_messages_only_for_matching_filters() -> None:
    bench = Bench()
    publisher = bench.member("p")
    for topic in ("a/b", "a/c", "b", "a"):
        publisher.publish(topic, topic.encode(), retain=True)
    client = bench.member("s")
    seen = {}
    for filter in ("a/+", "a/#", "#", "b", "+/+/+"):
        client.subscribe(filter)
        seen[filter] = sorted(packet.payload for packet in publishes(client))
    everything = [b"a", b"a/b", b"a/c", b"b"]
    assert seen == {"a/+": everything[1:3], "a/#": everything[:3], "#": everything, "b": [b"b"], "+/+/+": []}


def test_a_retained_message_carries_what_is_left_of_its_life_and_the_new_subscription_alone() -> None:
    """[MQTT-3.3.2-6]; 3.3.4: the identifier of the subscription that asked."""
    bench = Bench()
    bench.member("p").publish("t", b"x", 1, True, message_expiry_interval=10)
    client = bench.member("a")
    client.subscribe("#", identifier=1, retain_handling=2)
    bench.advance(4_000)
    client.subscribe("t", identifier=2)
    told = Properties(message_expiry_interval=6, subscription_identifier=[2])
    assert client.take() == [Publish(b"t", b"x", retain=True, properties=told)]
    bench.advance(6_000)
    client.subscribe("t")
    assert client.take() == []
    assert len(bench.router.retained) == 0


def test_no_retained_messages_for_a_subscription_given_up_in_the_same_breath() -> None:
    bench = Bench()
    bench.member("p").publish("t", b"x", retain=True)
    client = bench.member("a")
    client.send(Subscribe(1, [Subscription("t")]), Unsubscribe(2, ["t"]))
    assert client.take() == [SubAck(1, [ReasonCode.SUCCESS]), UnsubAck(2, [ReasonCode.SUCCESS])]


def test_retained_messages_wait_behind_the_window_and_asking_again_does_not_pile_them_up() -> None:
    bench = Bench(max_queue_messages=20)
    publisher = bench.member("p")
    for number in range(30):
        publisher.publish(f"t/{number}", b"x", 1, retain=True)
    client = bench.member("a", receive_maximum=2)
    for _ in range(10):
        client.subscribe("t/#", 1)
    assert len(client.session.queue) <= 20 + 30
    assert len(publishes(client)) == 2


def test_a_full_store_of_retained_messages() -> None:
    """5 hears 0x97; what would replace or delete is always welcome."""
    bench = Bench(max_retained_messages=1)
    publisher = bench.member("p")
    codes = []
    for topic, payload in (("a", b"1"), ("b", b"1"), ("a", b"2"), ("a", b""), ("b", b"1")):
        publisher.publish(topic, payload, 1, retain=True)
        (puback,) = publisher.take()
        codes.append(puback.reason_code)  # type: ignore[union-attr]
    assert codes == [0, 0x97, 0, 0, 0]


# -- size --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [0, 1])
def test_what_is_too_large_for_a_client_is_not_sent(qos: int) -> None:
    """[MQTT-3.1.2-24] [MQTT-3.1.2-25], to the byte; others get it, and each delivery is settled once."""
    bench = Bench()
    small = [bench.subscriber(name, "t", qos, maximum_packet_size=50, receive_maximum=1) for name in ("s1", "s2")]
    large = bench.subscriber("l", "t", qos)
    publisher = bench.member("p")
    overhead = 2 + 2 + 1 + 1 + (2 if qos else 0)
    publisher.publish("t", bytes(50 - overhead), qos)
    small[1].take()
    if qos:  # the first's window is full, the second's is free
        small[1].send(PubAck(1))
    publisher.publish("t", bytes(51 - overhead), qos)
    assert [len(payload) for payload in large.payloads()] == [50 - overhead, 51 - overhead]
    assert [len(payload) for payload in small[0].payloads()] == [50 - overhead]
    assert small[1].payloads() == []
    if qos:
        small[0].send(PubAck(1))  # the queued one is found too large only now
        assert small[0].payloads() == []
    assert sum(bench.engine.settlement.dropped.values()) == 2
