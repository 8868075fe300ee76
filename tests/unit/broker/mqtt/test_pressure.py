"""Full queues and slow readers: who waits, who loses what, who notices nothing; and all accounts go back to zero."""

from __future__ import annotations

from typing import Any

import pytest
from unit.broker.mqtt.harness import Bench, Client, LateJournal

from broker.core.pressure import HIGH_WATER_BYTES, MOST_BYTES, PATIENCE_MS
from broker.core.settlement import Reason
from broker.mqtt import subscribing
from broker.mqtt.connection import MOST_AT_ONCE
from broker.mqtt.pieces import PINGREQ
from broker.mqtt.service import RECEIVE_MAXIMUM_OF_3_1_1
from oriole.wire.mqtt import (
    V5,
    V311,
    Disconnect,
    PingReq,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    ReasonCode,
    Subscribe,
    Subscription,
    Will,
    encode,
)

KEPT: dict[str, Any] = {"session_expiry_interval": 600}
FULL = ReasonCode.QUOTA_EXCEEDED


def publish(number: int, qos: int = 1, topic: bytes = b"t") -> Publish:
    return Publish(topic, str(number).encode(), qos, packet_identifier=number if qos else 0)


def full_bench(room: int = 4) -> tuple[Bench, Client]:
    """A bench and a reader of `t` with a window of one, whose queue holds `room` messages and is full."""
    bench = Bench(max_queue_messages=room)
    reader = bench.member("reader", receive_maximum=1, **KEPT)
    reader.subscribe("t", 1)
    filler = bench.member("filler")
    for number in range(1, room + 2):
        filler.send(publish(number))
    assert reader.session.full
    filler.send(Disconnect())
    return bench, reader


def drink(reader: Client) -> list[bytes]:
    """Acknowledge everything until nothing comes any more."""
    payloads: list[bytes] = []
    while packets := [packet for packet in reader.take() if isinstance(packet, Publish)]:
        payloads += [packet.payload for packet in packets]
        reader.send(*(PubAck(packet.packet_identifier) for packet in packets if packet.qos))
    return payloads


def assert_at_rest(bench: Bench) -> None:
    """Nobody is held, nothing is full, nothing is remembered about pressure."""
    pressure = bench.engine.pressure
    assert (pressure._crowded, pressure._full, pressure.met, bench.router.full_sinks) == ({}, {}, [], 0)
    for session in bench.service.sessions.values():
        queue = session.queue
        assert (session.inflight, len(queue or ()), queue.bytes if queue else 0, session.full) == ({}, 0, 0, False)
        assert (session.channel.holds, session.channel.out) == (0, [])
        assert session.connection is None or session.channel.size == 0


# -- QoS 1 and 2 into a full queue -------------------------------------------------------------------------------------


@pytest.mark.parametrize("qos", [1, 2])
def test_mqtt_5_is_refused_before_the_acknowledgement(qos: int) -> None:
    bench, reader = full_bench()
    publisher = bench.member("p")
    publisher.send(publish(7, qos), publish(8, qos, b"elsewhere"))
    refused, accepted = publisher.take()
    assert (refused.reason_code, accepted.reason_code) == (FULL, ReasonCode.SUCCESS)  # type: ignore[union-attr]
    assert bench.engine.settlement.refused == {Reason.QUEUE_FULL: 1}
    assert drink(reader) == [b"1", b"2", b"3", b"4", b"5"]
    publisher.send(publish(9, 1))
    assert publisher.take() == [PubAck(9)]
    assert drink(reader) == [b"9"]
    publisher.send(Disconnect())
    assert_at_rest(bench)


def test_3_1_1_is_held_and_goes_on_when_there_is_room_and_nothing_is_lost() -> None:
    bench, reader = full_bench()
    publishers = [bench.member(f"p{number}", V311) for number in range(3)]
    for base, publisher in enumerate(publishers, 1):
        for number in range(10):
            publisher.send(publish(100 * base + number))
        assert (publisher.channel.holds, publisher.take()) == (1, [])
    bench.advance(60_000)
    payloads = drink(reader)
    assert sorted(payloads[5:]) == [b"%d" % (100 * base + number) for base in (1, 2, 3) for number in range(10)]
    for base, publisher in enumerate(publishers, 1):
        assert publisher.take() == [PubAck(100 * base + number) for number in range(10)]
        mine = [payload for payload in payloads if payload.startswith(b"%d" % base) and len(payload) == 3]
        assert mine == sorted(mine)
    assert bench.engine.settlement.refused == {}
    assert_at_rest(bench)


def test_a_full_queue_concerns_only_those_who_publish_into_it() -> None:
    bench, _ = full_bench()
    other = bench.subscriber("other", "u", 1)
    publisher = bench.member("p", V311)
    publisher.send(publish(1, 1, b"u"), publish(2, 0))
    assert publisher.take() == [PubAck(1)]
    assert other.payloads() == [b"1"]


@pytest.mark.parametrize("end", ["clean start", "expiry"])
def test_those_who_wait_for_a_session_that_ends_go_on(end: str) -> None:
    bench, reader = full_bench()
    publisher = bench.member("p", V311)
    publisher.send(publish(7))
    reader.lose()
    assert publisher.channel.holds == 1
    if end == "clean start":
        bench.member("reader")
    else:
        bench.advance(600_000)
    assert publisher.take() == [PubAck(7)]
    assert_at_rest(bench)


def test_those_who_leave_while_they_wait_are_forgotten() -> None:
    bench, _ = full_bench()
    for _ in range(100):
        client = bench.member("p", V311)
        client.send(publish(7))
        client.lose()
    assert bench.engine.pressure._full == {}


def test_a_client_cannot_wait_for_itself() -> None:
    """Nor for somebody who waits for it: the acknowledgements that would make room are not read while one waits."""
    bench = Bench(max_queue_messages=2)
    ring = []
    for name in ("a", "b", "c"):
        client = bench.join(name, V311, clean_start=False)
        client.take()
        client.subscribe(f"to-{name}", 1)
        ring.append(client)
    publisher = bench.member("p")
    for name in ("a", "b", "c"):
        for number in range(1, RECEIVE_MAXIMUM_OF_3_1_1 + 4):
            publisher.send(publish(number, 1, f"to-{name}".encode()))
    for client, name in zip(ring, ("b", "c", "a"), strict=True):
        client.send(publish(1, 1, f"to-{name}".encode()))
    assert [client.closed for client in ring] == [False, False, True], "the last would have closed the ring"
    assert [client.channel.holds for client in ring[:2]] == [1, 1]
    selfish = bench.join("s", V311, clean_start=False)
    selfish.take()
    selfish.subscribe("s", 1)
    for number in range(1, RECEIVE_MAXIMUM_OF_3_1_1 + 4):
        selfish.send(publish(number, 1, b"s"))
    assert selfish.closed


# -- QoS 0 and readers that do not read --------------------------------------------------------------------------------

BIG = encode(Publish(b"t", bytes(60_000)), V5)


def crowd(bench: Bench, publisher: Client) -> int:
    """Publish until the publisher is held; how many messages that took."""
    sent = 0
    while not publisher.channel.holds:
        publisher.send(BIG)
        sent += 1
        assert sent < 1000
    return sent


def test_a_slow_reader_holds_its_publishers_for_a_while_and_then_loses_counted_messages() -> None:
    bench = Bench()
    slow, quick = bench.subscriber("slow", "t"), bench.subscriber("quick", "t")
    bystander = bench.subscriber("bystander", "u")
    publisher, other = bench.member("p"), bench.member("o")
    slow.channel.reads = False
    sent = crowd(bench, publisher)
    assert HIGH_WATER_BYTES < slow.channel.size < HIGH_WATER_BYTES + 200_000
    other.publish("u", b"not concerned")
    assert bystander.payloads() == [b"not concerned"]
    bench.advance(PATIENCE_MS - 1)
    assert publisher.channel.holds == 1
    bench.advance(1)
    assert publisher.channel.holds == 0
    for _ in range(10):
        publisher.send(BIG)
    assert publisher.channel.holds == 0
    assert bench.engine.settlement.dropped == {Reason.SLOW_READER: 10}
    assert len(quick.take()) == sent + 10
    slow.channel.reads = True
    slow.channel.flush()
    assert len(slow.take()) == sent
    publisher.send(BIG)
    assert len(slow.take()) == 1
    quick.take()
    assert_at_rest(bench)


def test_a_reader_that_reads_again_in_time_loses_nothing() -> None:
    bench = Bench()
    slow, publisher = bench.subscriber("slow", "t"), bench.member("p")
    slow.channel.reads = False
    sent = crowd(bench, publisher)
    publisher.send(BIG)
    slow.channel.reads = True
    slow.channel.flush()
    bench.turn()
    assert (publisher.channel.holds, len(slow.take())) == (0, sent + 1)
    bench.advance(PATIENCE_MS)
    assert bench.engine.settlement.dropped == {}
    assert_at_rest(bench)


@pytest.mark.parametrize("leaves", ["reader", "publisher"])
def test_a_party_that_leaves_ends_the_wait(leaves: str) -> None:
    bench = Bench()
    slow, publisher = bench.subscriber("slow", "t"), bench.member("p")
    slow.channel.reads = False
    crowd(bench, publisher)
    (slow if leaves == "reader" else publisher).lose()
    assert publisher.channel.holds == 0 or publisher.closed
    bench.advance(PATIENCE_MS)
    slow.lose()
    assert_at_rest(bench)


def test_many_publishers_in_one_turn_cannot_fill_memory() -> None:
    bench = Bench()
    slow = bench.subscriber("slow", "t")
    slow.channel.reads = False
    publishers = [bench.member(f"p{number}") for number in range(400)]
    for publisher in publishers:
        publisher.channel.feed(BIG)
    bench.turn()
    assert slow.channel.size < MOST_BYTES + 100_000
    assert bench.engine.settlement.dropped[Reason.SLOW_READER] > 100


def test_a_fault_of_one_publisher_holds_no_other() -> None:
    bench = Bench()
    slow, publisher, other = bench.subscriber("slow", "t"), bench.member("p"), bench.member("o")
    slow.channel.reads = False
    crowd(bench, publisher)
    bench.member("rude").send(BIG, b"\x00\x00")
    other.publish("u")
    assert other.channel.holds == 0
    for number in range(30):
        other.publish("u", b"", 2 if number % 2 else 1)
    bench.member("dying", will=Will(b"t", b"x")).lose()
    other.publish("u")
    assert other.channel.holds == 0


@pytest.mark.parametrize("question", [PingReq(), publish(1), Subscribe(1, [Subscription("t")])])
def test_a_peer_that_asks_and_does_not_read_the_answers_is_not_read_either(question: Publish) -> None:
    bench = Bench()
    client = bench.member("a")
    client.channel.reads = False
    client.channel.send(bytes(MOST_BYTES))
    for _ in range(20):
        client.send(*[question] * 100)
    assert client.channel.holds == 1
    assert len(client.channel.unread) >= 18
    client.channel.out.clear()
    client.channel.reads = True
    client.channel.flush()
    bench.turn()
    assert client.channel.holds == 0
    assert client.channel.unread == []


@pytest.mark.parametrize("version", [V311, V5])
def test_a_burst_is_not_acknowledged_beyond_the_room_there_is(version: int) -> None:
    """Packets that are alike are taken together: also then nothing acknowledged is lost."""
    bench, reader = full_bench(room=10)
    publisher = bench.member("p", version)
    drink(reader)
    publisher.send(*(publish(number) for number in range(100, 300)))
    accepted = [packet for packet in publisher.take() if packet.reason_code == ReasonCode.SUCCESS]  # type: ignore[union-attr]
    heard = drink(reader)
    accepted += [packet for packet in publisher.take() if packet.reason_code == ReasonCode.SUCCESS]  # type: ignore[union-attr]
    assert heard == [b"%d" % packet.packet_identifier for packet in accepted]  # type: ignore[union-attr]
    assert len(accepted) == 200 if version == V311 else 10 < len(accepted) < 30
    assert bench.engine.settlement.dropped == {}


def test_messages_too_large_for_a_client_do_not_block_those_behind_them() -> None:
    bench = Bench()
    reader = bench.subscriber("reader", "t", 1, maximum_packet_size=50, receive_maximum=1)
    publisher = bench.member("p")
    publisher.publish("t", b"first", 1)
    (first,) = reader.take()
    assert isinstance(first, Publish)
    reader.send(PubAck(first.packet_identifier))
    publisher.send(*(Publish(b"t", bytes(60), 1, packet_identifier=number) for number in range(1, 9)))
    publisher.publish("t", b"small", 1)
    assert reader.payloads() == [b"small"]
    assert bench.engine.settlement.dropped == {Reason.TOO_LARGE: 8}


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("late", [False, True], ids=["memory", "late journal"])
@pytest.mark.parametrize("size", [1, 700], ids=["by number", "by bytes"])
def test_many_qos_2_publishers_in_one_turn_lose_nothing_that_was_acknowledged(
    version: int, late: bool, size: int
) -> None:
    """Each of them finds room when it asks; together they have more than the queue holds twice."""
    bench = Bench(
        LateJournal() if late else None, max_queue_messages=10, max_queue_bytes=10_000, max_packet_bytes=2_000
    )
    reader = bench.member("reader", **KEPT)
    reader.send(Subscribe(1, [Subscription("t", 2)]))
    if late:
        bench.commit()
    reader.lose()
    publishers = [bench.member(f"p{number}", version) for number in range(12)]
    for number, publisher in enumerate(publishers):
        payloads = [b"%d/%d" % (number, index) + bytes(size) for index in range(5)]
        packets = [Publish(b"t", payload, 2, packet_identifier=at) for at, payload in enumerate(payloads, 1)]
        publisher.channel.feed(b"".join(encode(packet, version) for packet in packets))  # read in one turn
    bench.turn()
    acknowledged = 0
    for _ in range(30):
        if late:
            bench.commit()
        for publisher in publishers:
            answers = publisher.take()
            acknowledged += sum(isinstance(packet, PubRec) and packet.reason_code < 0x80 for packet in answers)
    reader = bench.join("reader", clean_start=False, **KEPT)
    received: list[bytes] = []
    for _ in range(200):
        if late:
            bench.commit()
        packets = [packet for packet in reader.take() if isinstance(packet, Publish | PubRel)]
        received += [packet.payload for packet in packets if isinstance(packet, Publish)]
        for packet in packets:
            identifier = packet.packet_identifier
            reader.send(PubRec(identifier) if isinstance(packet, Publish) else PubComp(identifier))
        acknowledged += sum(
            isinstance(packet, PubRec) and packet.reason_code < 0x80
            for publisher in publishers
            for packet in publisher.take()
        )
    assert bench.engine.settlement.dropped.get(Reason.QUEUE_FULL, 0) == 0
    assert len(received) == len(set(received)) == acknowledged >= 10
    assert (bench.router.backlog.messages, bench.router.backlog.bytes) == (0, 0)
    assert_at_rest(bench)


@pytest.mark.parametrize("version", [V311, V5])
def test_many_packets_in_one_read_let_others_go_first(version: int) -> None:
    """And nothing of them is lost, doubled or overtaken."""
    bench = Bench()
    reader = bench.subscriber("reader", "t/#", 0)
    flooder, other = bench.member("flooder", version), bench.member("other")
    count = 3 * MOST_AT_ONCE + 5
    flood = b"".join(encode(Publish(b"t/f", b"%d" % n, 0, n % 2 == 1), version) + PINGREQ for n in range(count))
    flooder.channel.feed(flood)
    other.channel.feed(encode(Publish(b"t/o", b"other"), V5))
    bench.engine.turn(bench.now)
    first = reader.payloads()
    assert b"other" in first
    assert len(first) < 2 * MOST_AT_ONCE
    bench.turn()
    heard = [payload for payload in first + reader.payloads() if payload != b"other"]
    assert heard == [b"%d" % n for n in range(count)]
    assert len(flooder.take()) == count
    assert flooder.channel.holds == 0


def test_a_full_store_of_retained_values_keeps_what_was_acknowledged() -> None:
    """QoS 2 values that were taken over before any of them was stored."""
    bench = Bench(max_retained_messages=1)
    publisher = bench.member("p")
    packets = [Publish(b"t/%d" % n, b"x", 2, True, packet_identifier=n) for n in range(1, 6)]
    publisher.send(b"".join(encode(packet, V5) for packet in packets))
    kept = [packet for packet in publisher.take() if isinstance(packet, PubRec) and packet.reason_code < 0x80]
    assert len(bench.router.retained) == len(kept) == 5
    publisher.send(Publish(b"t/9", b"x", 2, True, packet_identifier=9))
    assert [packet.reason_code for packet in publisher.take() if isinstance(packet, PubRec)] == [FULL]


def test_a_fault_in_one_read_leaves_no_message_half_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    publisher = bench.member("p", **KEPT)
    reader = bench.subscriber("r", "t")

    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(subscribing, "subscribe", fail)
    data = encode(Publish(b"t", b"x", 2, packet_identifier=1), V5) + encode(Subscribe(2, [Subscription("u")]), V5)
    with pytest.raises(MemoryError):
        publisher.channel.feed(data)
    publisher.lose()
    assert bench.router.backlog.messages == 0
    monkeypatch.undo()
    publisher = bench.member("p", clean_start=False, **KEPT)
    publisher.send(Publish(b"t", b"x", 2, dup=True, packet_identifier=1))
    assert reader.payloads() == [b"x"], "once, whichever of the two it was"
