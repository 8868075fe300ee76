"""Clients that are nodes: numbered messages up, stamped ones down, snapshots with an end."""

from __future__ import annotations

import pytest
from unit.broker.mqtt.harness import Bench, Client, LateJournal

from broker.core.records import Mark, Taken
from broker.core.settlement import Reason
from broker.journal.memory import MemoryJournal
from oriole.link.uplink import SNAPSHOT_END, Greeting, Stamp
from oriole.wire.mqtt import V5, Disconnect, PubAck, Publish, PubRec, PubRel, ReasonCode, Subscribe, Subscription


def make(journal: LateJournal | MemoryJournal | None = None, **limits: int) -> Bench:
    bench = Bench(journal, **limits)
    bench.service.name, bench.service.epoch = "centre", "epoch-of-centre"
    return bench


def node(bench: Bench, name: str = "edge", epoch: str = "e", **asked: object) -> Client:
    return bench.member(name, V5, user_property=Greeting(name, epoch).pairs(), session_expiry_interval=99, **asked)


def send(
    client: Client, number: int, payload: bytes = b"x", retain: bool = False, qos: int = 1, **facts: object
) -> None:
    stamp = Stamp(traffic_class="normal", sequence=number, path=("edge",), **facts)  # type: ignore[arg-type]
    client.publish("t", payload, qos, retain, user_property=stamp.pairs())


def answer(client: Client) -> tuple[ReasonCode, int]:
    """Reason and order of the one PUBACK that came."""
    (packet,) = client.take()
    assert isinstance(packet, PubAck)
    return packet.reason_code, Stamp.read(packet.properties.user_property).order


def test_the_centre_says_who_it_is_to_a_node_alone() -> None:
    bench = make()
    bench.router.order = 7
    connack = bench.join("edge", V5, user_property=Greeting("edge", "e").pairs()).take()[0]
    assert Greeting.read(connack.properties.user_property) == Greeting("centre", "epoch-of-centre", 7)
    connack = bench.join("lamp", V5).take()[0]
    assert not connack.properties.user_property


@pytest.mark.parametrize("pairs", [[("oriole-node", "")], [("oriole-node", "n" * 65), ("oriole-epoch", "e")]])
def test_a_greeting_that_makes_no_sense_is_a_clients(pairs: list[tuple[str, str]]) -> None:
    bench = make()
    assert bench.member("odd", V5, user_property=pairs).session.node is None


def test_a_number_is_routed_once_whatever_became_of_its_acknowledgement() -> None:
    bench = make()
    listener = bench.subscriber("listener", "t", 1)
    edge = node(bench)
    send(edge, 1)
    edge.lose()
    edge = node(bench, clean_start=True)
    send(edge, 1)
    assert answer(edge) == (ReasonCode.SUCCESS, 0)
    send(edge, 2, b"y")
    assert listener.payloads() == [b"x", b"y"]


def test_a_number_is_recorded_with_its_message() -> None:
    journal = MemoryJournal(keep=True)
    bench = make(journal)
    edge = node(bench)
    send(edge, 1)
    send(edge, 1)
    accepted = [record for _, batch in journal.replay(0) for record in batch if isinstance(record, Taken)]
    assert [record.mark for record in accepted] == [Mark("e", "normal", 1)]


def test_the_same_number_of_another_epoch_is_new() -> None:
    bench = make()
    listener = bench.subscriber("listener", "t", 1)
    send(node(bench), 1)
    send(node(bench, epoch="born again"), 1)
    assert listener.payloads() == [b"x", b"x"]


def test_a_repeat_is_acknowledged_even_where_news_would_find_no_room() -> None:
    bench = make(max_queue_messages=1)
    edge = node(bench)
    sleeper = bench.subscriber("sleeper", "t", 1, session_expiry_interval=99)
    sleeper.lose()
    send(edge, 1)
    assert answer(edge)[0] == ReasonCode.SUCCESS
    send(edge, 2)
    assert answer(edge)[0] == ReasonCode.QUOTA_EXCEEDED
    send(edge, 1)
    assert answer(edge)[0] == ReasonCode.SUCCESS


def test_nothing_overtakes_a_message_that_found_no_room() -> None:
    bench = make(max_queue_messages=1)
    edge = node(bench)
    bench.subscriber("sleeper", "t", 1, session_expiry_interval=99).lose()
    send(edge, 1)
    send(edge, 2)
    edge.take()
    awake = bench.join("sleeper", V5, clean_start=False, session_expiry_interval=99)
    awake.take()
    send(edge, 3)
    assert answer(edge)[0] == ReasonCode.QUOTA_EXCEEDED
    send(edge, 5)
    assert answer(edge)[0] == ReasonCode.SUCCESS


def test_a_retained_value_is_told_its_place_and_a_repeat_the_same() -> None:
    bench = make()
    edge = node(bench)
    send(edge, 1, retain=True)
    assert answer(edge) == (ReasonCode.SUCCESS, 1)
    send(edge, 1, retain=True)
    assert answer(edge) == (ReasonCode.SUCCESS, 1)
    bench.member("somebody").publish("t", b"newer", 1, retain=True)
    send(edge, 1, retain=True)
    assert answer(edge) == (ReasonCode.SUCCESS, 0)


def test_nothing_is_acknowledged_or_routed_before_it_is_recorded() -> None:
    bench = make(LateJournal())
    edge = bench.join("edge", V5, user_property=Greeting("edge", "e").pairs())
    bench.commit()
    edge.take()
    send(edge, 1, retain=True)
    assert edge.take() == []
    assert len(bench.router.retained) == 0
    bench.commit()
    assert answer(edge) == (ReasonCode.SUCCESS, 1)
    assert len(bench.router.retained) == 1


def test_what_was_not_recorded_comes_again_as_new() -> None:
    bench = make(LateJournal())
    edge = bench.join("edge", V5, user_property=Greeting("edge", "e").pairs())
    bench.commit()
    send(edge, 1, retain=True)
    bench.fail()
    assert edge.closed
    edge = bench.join("edge", V5, user_property=Greeting("edge", "e").pairs())
    bench.commit()
    edge.take()
    send(edge, 1, retain=True)
    bench.commit()
    assert answer(edge) == (ReasonCode.SUCCESS, 1)


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_what_was_here_before_goes_no_further(qos: int) -> None:
    bench = make()
    listener = bench.subscriber("listener", "t", 1)
    edge = node(bench)
    stamp = Stamp(traffic_class="normal", sequence=qos, path=("centre", "edge"))
    edge.publish("t", b"x", qos, user_property=stamp.pairs())
    assert [type(packet) for packet in edge.take()] == [[], [PubAck], [PubRec]][qos]
    assert listener.payloads() == []
    assert bench.engine.settlement.refused == {Reason.LOOP: 1}


def test_a_numbered_qos_2_message_has_its_own_exchange() -> None:
    edge = node(make())
    send(edge, 1, qos=2)
    assert [type(packet) for packet in edge.take()] == [PubRec]


def test_a_stamp_that_means_nothing_ends_the_connection() -> None:
    edge = node(make())
    edge.publish("t", b"x", 1, user_property=[("oriole-sequence", "normal:one")])
    packets = edge.take()
    assert isinstance(packets[-1], Disconnect)
    assert packets[-1].reason_code == ReasonCode.PROTOCOL_ERROR


def test_down_with_qos_1_a_stamp_and_an_end_of_the_snapshot() -> None:
    bench = make()
    talker = bench.member("talker")
    talker.publish("t", b"QoS 0 state", 0, retain=True)
    edge = node(bench)
    edge.send(Subscribe(1, [Subscription("t", 2, True, True)]))
    _, state, end = edge.take()
    assert (state.payload, state.qos, state.retain) == (b"QoS 0 state", 1, True)
    assert Stamp.read(state.properties.user_property) == Stamp(order=1, path=("centre",))
    assert (end.topic.decode(), end.payload, end.qos) == (SNAPSHOT_END, b"t", 1)
    assert Stamp.read(end.properties.user_property).order == 1
    talker.publish("t", b"event", 2)
    talker.send(PubRel(1))
    (event,) = edge.take()
    assert isinstance(event, Publish)
    assert (event.qos, Stamp.read(event.properties.user_property).qos) == (1, 2)


def test_stamps_do_not_reach_ordinary_clients() -> None:
    bench = make()
    listener = bench.subscriber("listener", "t", 1)
    send(node(bench), 1)
    (packet,) = listener.take()
    assert not packet.properties.user_property


def test_a_node_may_send_a_packet_longer_by_its_stamps() -> None:
    bench = make(max_packet_bytes=500)
    edge = node(bench)
    send(edge, 1, b"x" * 490)
    assert answer(edge)[0] == ReasonCode.SUCCESS
