"""QoS 1 and 2 in both directions: windows, queues, repeats, identifiers."""

from __future__ import annotations

import pytest
from unit.broker.book import End, Pages
from unit.broker.mqtt.harness import Bench, Client

from broker.core.settlement import Outcome, Reason
from oriole.wire.mqtt import (
    V5,
    V311,
    ConnAck,
    PingReq,
    PingResp,
    Properties,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    ReasonCode,
)

BOTH = pytest.mark.parametrize("version", [V311, V5])
KEPT = {"session_expiry_interval": 60}
NOT_FOUND = ReasonCode.PACKET_IDENTIFIER_NOT_FOUND


def lasting(bench: Bench, version: int, name: str = "a", clean_start: bool = False, **asked: object) -> Client:
    """A client whose session outlives its connection; its CONNACK is taken."""
    client = bench.join(name, version, clean_start, **(asked | (KEPT if version == V5 else {})))
    client._kept = [packet for packet in client.take() if not isinstance(packet, ConnAck)]
    return client


def publish(number: int, qos: int, identifier: int, dup: bool = False) -> Publish:
    return Publish(b"t", str(number).encode(), qos, dup=dup, packet_identifier=identifier)


# -- from a publisher --------------------------------------------------------------------------------------------------


@BOTH
def test_qos_1_is_acknowledged_and_each_packet_is_a_new_message(version: int) -> None:
    """[MQTT-4.3.2-4] [MQTT-4.3.2-5]: also with DUP and a packet identifier that was used before."""
    bench = Bench()
    reader = bench.subscriber("r", "t")
    publisher = bench.member("p", version)
    for dup in (False, True):
        publisher.send(publish(1, 1, 7, dup))
        assert publisher.take() == [PubAck(7)]
    assert reader.payloads() == [b"1", b"1"]


@BOTH
def test_qos_2_is_routed_once_until_it_is_released(version: int) -> None:
    """[MQTT-4.3.3-8] to [MQTT-4.3.3-12]"""
    bench = Bench()
    reader = bench.subscriber("r", "t")
    publisher = bench.member("p", version)
    publisher.send(publish(1, 2, 7), publish(1, 2, 7, dup=True))
    publisher.send(publish(1, 2, 7, dup=True))
    assert publisher.take() == [PubRec(7)] * 3
    publisher.send(PubRel(7), PubRel(7))
    assert publisher.take() == [PubComp(7), PubComp(7) if version == V311 else PubComp(7, NOT_FOUND)]
    publisher.send(publish(2, 2, 7))
    assert reader.payloads() == [b"1", b"2"]


@BOTH
def test_qos_2_is_recognised_after_a_reconnect(version: int) -> None:
    bench = Bench()
    reader = bench.subscriber("r", "t")
    publisher = lasting(bench, version, "p")
    publisher.send(publish(1, 2, 7))
    publisher.lose()
    publisher = lasting(bench, version, "p")
    publisher.send(publish(1, 2, 7, dup=True), PubRel(7))
    assert publisher.take() == [PubRec(7), PubComp(7)]
    assert reader.payloads() == [b"1"]
    lasting(bench, version, "p", clean_start=True).send(publish(2, 2, 7))
    assert reader.payloads() == [b"2"], "a new session knows no old identifiers"


def test_more_than_the_receive_maximum() -> None:
    """[MQTT-3.3.4-7]: 0x93, and what came before it counts."""
    bench = Bench(receive_maximum=2)
    publisher = bench.member("p")
    publisher.send(*(publish(number, 2, number) for number in (1, 2)), PubRel(1), publish(3, 2, 3))
    assert publisher.take() == [PubRec(1), PubRec(2), PubComp(1), PubRec(3)]
    publisher.send(publish(4, 2, 4))
    assert publisher.reason() == ReasonCode.RECEIVE_MAXIMUM_EXCEEDED


def test_acknowledgements_leave_in_the_order_of_what_they_acknowledge() -> None:
    """[MQTT-4.6.0-2] [MQTT-4.6.0-3], across kinds too"""
    publisher = Bench().member("p")
    publisher.send(publish(1, 1, 1), publish(2, 2, 2), publish(3, 1, 3), PubRel(2), publish(4, 2, 4))
    assert publisher.take() == [PubAck(1), PubRec(2), PubAck(3), PubComp(2), PubRec(4)]


# -- to a subscriber ---------------------------------------------------------------------------------------------------


@BOTH
@pytest.mark.parametrize("qos", [1, 2])
def test_the_window_holds_and_the_queue_goes_on_in_order(version: int, qos: int) -> None:
    """[MQTT-4.9.0-2] [MQTT-4.6.0-5]"""
    bench = Bench(receive_maximum=3)
    reader = bench.subscriber("r", "t", qos, version)
    publisher = bench.member("p")
    for number in range(8):
        publisher.send(publish(number, qos, number + 1))
        publisher.send(PubRel(number + 1) if qos == 2 else b"")
    seen = reader.take()
    assert seen == [publish(number, qos, number + 1) for number in range(3)]
    reader.send(PingReq())
    assert reader.take() == [PingResp()], "[MQTT-4.9.0-3]"
    for _ in range(10):
        for packet in [p for p in seen if isinstance(p, Publish)]:
            if qos == 2:
                reader.send(PubRec(packet.packet_identifier), PubComp(packet.packet_identifier))
            else:
                reader.send(PubAck(packet.packet_identifier))
        seen = reader.take()
        assert all(isinstance(p, PubRel) for p in seen if not isinstance(p, Publish))
        assert len(reader.session.inflight) <= 3
    assert bench.engine.settlement.acknowledged == 8
    assert (reader.session.inflight, len(reader.session.queue), reader.session.queue.bytes) == ({}, 0, 0)


@BOTH
def test_a_qos_2_delivery_step_by_step(version: int) -> None:
    """[MQTT-4.3.3-4] to [MQTT-4.3.3-6]; a repeated PUBREC gets its PUBREL again."""
    bench = Bench()
    reader = bench.subscriber("r", "t", 2, version)
    bench.member("p").publish("t", b"1", 2)
    assert reader.take() == [publish(1, 2, 1)]
    reader.send(PubRec(1), PubRec(1))
    assert reader.take() == [PubRel(1), PubRel(1)]
    assert bench.engine.settlement.acknowledged == 1  # what follows only frees the identifier
    reader.send(PubComp(1), PubComp(1))
    assert reader.take() == []
    assert bench.engine.settlement.acknowledged == 1
    reader.send(PubRec(1))
    assert reader.take() == [PubRel(1) if version == V311 else PubRel(1, NOT_FOUND)]


@pytest.mark.parametrize("wrong", [PubRec(1), PubComp(1), PubAck(9), PubComp(9)])
def test_an_acknowledgement_of_another_kind_ends_nothing(wrong: PubAck) -> None:
    bench = Bench()
    reader = bench.subscriber("r", "t", 1)
    bench.member("p").publish("t", b"1", 1)
    reader.send(wrong)
    assert list(reader.session.inflight) == [1]
    assert not reader.closed


@pytest.mark.parametrize("qos", [1, 2])
def test_a_rejection_ends_the_delivery_for_good(qos: int) -> None:
    """[MQTT-4.4.0-2]"""
    bench = Bench()
    reader = lasting(bench, V5)
    reader.subscribe("t", qos)
    bench.member("p").publish("t", b"1", qos)
    reader.take()
    reader.send((PubAck if qos == 1 else PubRec)(1, ReasonCode.IMPLEMENTATION_SPECIFIC_ERROR))
    assert reader.take() == []
    reader.lose()
    assert lasting(bench, V5).take() == []
    assert bench.engine.settlement.dropped == {Reason.REJECTED: 1}


@BOTH
def test_what_was_not_acknowledged_comes_again_in_order(version: int) -> None:
    """[MQTT-4.4.0-1] [MQTT-4.6.0-1]: DUP and old identifiers, PUBREL where PUBREC had come, then the queue."""
    bench = Bench(receive_maximum=4)
    reader = lasting(bench, version)
    reader.subscribe("t", 2)
    publisher = bench.member("p", V311)
    qos = {0: 1, 1: 2, 2: 2, 3: 1, 4: 1, 5: 2}
    for number in range(6):
        publisher.send(publish(number, qos[number], number + 1))
    reader.take()
    reader.send(PubRec(2))
    reader.take()
    reader.lose()
    publisher.send(publish(6, 1, 9))
    publisher.send(Publish(b"t", b"not for those who are away"))

    repeats = [publish(0, 1, 1, True), PubRel(2), publish(2, 2, 3, True), publish(3, 1, 4, True)]
    for _ in range(2):
        reader = lasting(bench, version)
        assert reader.take() == repeats
        reader.lose()
    reader = lasting(bench, version)
    reader.take()
    reader.send(PubAck(1), PubComp(2))
    assert reader.take() == [publish(4, 1, 5), publish(5, 2, 6)]
    reader.send(PubAck(4))
    assert reader.take() == [publish(6, 1, 7)]
    assert bench.engine.settlement.dropped == {Reason.OFFLINE: 1}


def test_repeats_keep_to_a_window_that_has_become_smaller() -> None:
    """[MQTT-3.3.4-9]: one acknowledgement makes room for one repeat."""
    bench = Bench()
    reader = lasting(bench, V5)
    reader.subscribe("t", 1)
    publisher = bench.member("p")
    for number in range(6):
        publisher.send(publish(number, 1, number + 1))
    reader.lose()
    reader = lasting(bench, V5, receive_maximum=2)
    assert reader.take() == [publish(0, 1, 1, True), publish(1, 1, 2, True)]
    for number in range(2, 6):
        reader.send(PubAck(number - 1))
        assert reader.take() == [publish(number, 1, number + 1, True)]
    publisher.publish("t", b"6", 1)
    assert reader.take() == []
    reader.send(PubAck(5))
    assert reader.take() == [publish(6, 1, 7)]


def test_a_client_that_comes_back_with_another_version_is_spoken_to_in_it() -> None:
    bench = Bench()
    reader = lasting(bench, V5)
    reader.subscribe("t", 1, identifier=5)
    bench.member("p").publish("t", b"1", 1, content_type="x")
    reader.lose()
    reader = bench.join("a", V311, clean_start=False)
    connack, again = reader.take()
    assert connack == ConnAck(True)
    assert again == publish(1, 1, 1, True)
    bench.member("q").publish("t", b"2", 0)
    assert reader.take() == [publish(2, 0, 0)]
    reader.lose()
    reader = lasting(bench, V5)
    (again,) = reader.take()
    assert again.properties == Properties(subscription_identifier=[5], content_type="x")  # type: ignore[union-attr]


def test_packet_identifiers_go_round_and_wait_for_one_that_is_in_use() -> None:
    """[MQTT-2.2.1-4] Each delivery has the next one: so it is known after a restart which packet was which message."""
    bench = Bench(receive_maximum=10)
    reader = bench.subscriber("r", "t", 1)
    publisher = bench.member("p")
    publisher.publish("t", b"first", 1)
    reader.session.last_identifier = 65_533
    identifiers = []
    for _ in range(4):
        publisher.publish("t", b"x", 1)
    identifiers = [packet.packet_identifier for packet in reader.take() if isinstance(packet, Publish)]
    assert identifiers == [1, 65_534, 65_535]
    reader.send(PubAck(1))
    packets = [packet for packet in reader.take() if isinstance(packet, Publish)]
    assert [packet.packet_identifier for packet in packets] == [1, 2]


# -- time --------------------------------------------------------------------------------------------------------------


def test_a_message_expires_in_the_queue_but_not_once_it_was_sent() -> None:
    """[MQTT-3.3.2-5] [MQTT-3.3.2-6] [MQTT-4.3.3-7]; what waited says what is left."""
    bench = Bench()
    reader = lasting(bench, V5, receive_maximum=1)
    reader.subscribe("t", 1)
    publisher = bench.member("p")
    for number, lifetime in enumerate((5, 5, 9, 60)):
        publisher.publish("t", str(number).encode(), 1, message_expiry_interval=lifetime)
    (sent,) = reader.take()
    assert sent.properties.message_expiry_interval == 5  # type: ignore[union-attr]
    bench.advance(6_500)
    reader.send(PubAck(1))
    (sent,) = reader.take()
    assert (sent.payload, sent.properties.message_expiry_interval) == (b"2", 3)  # type: ignore[union-attr]
    reader.lose()
    bench.advance(20_000)
    reader = lasting(bench, V5, receive_maximum=1)
    (again,) = reader.take()
    assert (again.payload, again.dup) == (b"2", True)  # type: ignore[union-attr]
    assert bench.engine.settlement.expired == 1


# -- settlement --------------------------------------------------------------------------------------------------------


def test_each_delivery_ends_exactly_once() -> None:
    """Every outcome that a session can have, by counters and by records."""
    bench = Bench(receive_maximum=2)
    book = Pages(bench.engine)
    reader = lasting(bench, V5, "reader", receive_maximum=2)
    reader.subscribe("#", 2)
    away = lasting(bench, V5, "away")
    away.subscribe("#", 1)
    away.lose()
    publisher = bench.member("p")
    publisher.publish("t", b"sent and offline")
    for number, (payload, more) in enumerate(((b"acknowledged", {}), (b"expired", {"message_expiry_interval": 1}))):
        publisher.publish("t", payload, number + 1, **more)  # type: ignore[arg-type]
    bench.advance(1_500)
    reader.send(PubAck(1), PubRec(2), PubComp(2))
    reader.lose()
    bench.join("reader", clean_start=True)
    lasting(bench, V5, "away")
    bench.join("away", clean_start=True)
    assert sorted(book.ends) == sorted(
        [
            End(b"sent and offline", "client:reader", Outcome.SENT),
            End(b"sent and offline", "client:away", Outcome.DROPPED, Reason.OFFLINE),
            End(b"acknowledged", "client:reader", Outcome.ACKNOWLEDGED),
            End(b"acknowledged", "client:away", Outcome.DROPPED, Reason.SESSION_ENDED),
            End(b"expired", "client:reader", Outcome.ACKNOWLEDGED),
            End(b"expired", "client:away", Outcome.EXPIRED),
        ]
    )
    book.check(bench.service.owed())
    counts = bench.engine.settlement.counts()
    assert counts == {
        "sent": 1,
        "acknowledged": 2,
        "expired": 1,
        "collapsed": 0,
        "dropped: offline": 1,
        "dropped: session ended": 1,
    }


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize("qos", [0, 1, 2])
def test_a_message_whose_lifetime_is_over_is_acknowledged_and_goes_nowhere(qos: int, retain: bool) -> None:
    bench = Bench()
    reader = bench.subscriber("r", "t", 2)
    publisher = bench.member("p")
    publisher.publish("t", b"x", qos, retain, message_expiry_interval=0)
    assert [type(packet) for packet in publisher.take()] == [[], [PubAck], [PubRec]][qos]
    publisher.publish("t", b"y", 0)
    assert reader.payloads() == [b"y"]
    assert bench.router.retained.get(b"t", bench.now) is None
    assert bench.engine.settlement.expired == 1


def test_a_retained_value_whose_lifetime_is_over_takes_the_older_one_s_place() -> None:
    """[MQTT-3.3.1-5]"""
    bench = Bench()
    publisher = bench.member("p")
    publisher.publish("t", b"old", retain=True)
    publisher.publish("t", b"new", retain=True, message_expiry_interval=0)
    reader = bench.member("r")
    reader.subscribe("t")
    assert reader.payloads() == []


def test_what_a_publisher_says_of_a_message_counts_as_its_size() -> None:
    """Or a queue's limit in bytes would be none: properties may be as long as a packet."""
    bench = Bench(max_queue_bytes=20_000)
    reader = bench.subscriber("r", "t", 1, **KEPT)
    reader.lose()
    publisher = bench.member("p")
    for _ in range(5):
        publisher.publish("t", b"x", 1, user_property=[("k", "v" * 1000)] * 8)
    codes = [packet.reason_code for packet in publisher.take() if isinstance(packet, PubAck)]
    assert codes == [ReasonCode.SUCCESS] * 3 + [ReasonCode.QUOTA_EXCEEDED] * 2
