"""Clients that are nodes: how they greet, who may come in, stamped messages down, snapshots with an end."""

from __future__ import annotations

import pytest
from unit.broker.mqtt.harness import Bench, Client

from broker.core.settlement import Reason
from oriole.link.uplink import SNAPSHOT_END, Greeting, Stamp
from oriole.wire.mqtt import (
    V5,
    ConnAck,
    Disconnect,
    PubAck,
    Publish,
    PubRec,
    PubRel,
    ReasonCode,
    Subscribe,
    Subscription,
)
from oriole.wire.uplink import BATCH, Batch, Parcel, encode

KEPT = {"session_expiry_interval": 99}
FIRST = Greeting("edge", "e", life="1")


def make(**limits: int) -> Bench:
    bench = Bench(**limits)
    bench.service.name, bench.service.epoch = "centre", "epoch-of-centre"
    return bench


def ask(bench: Bench, greeting: Greeting, clean_start: bool = False) -> Client:
    """A node that has asked to be let in."""
    return bench.join(greeting.name, V5, clean_start, user_property=greeting.pairs(), **KEPT)


def node(bench: Bench, greeting: Greeting = FIRST) -> Client:
    """A node that was let in."""
    client = ask(bench, greeting)
    (connack,) = client.take()
    assert isinstance(connack, ConnAck)
    assert connack.reason_code == ReasonCode.SUCCESS
    return client


def refusal(client: Client) -> ConnAck:
    """The CONNACK that turned a node away."""
    assert client.closed
    (connack,) = client.take()
    assert isinstance(connack, ConnAck)
    return connack


def send(client: Client, first: int, traffic_class: str = "normal") -> None:
    """A message in a batch."""
    client.publish(BATCH, encode(Batch(traffic_class, first, [Parcel(2, b"t", b"x")])))
    assert isinstance(client.take()[0], Publish)


class TestGreeting:
    """Who it is that comes, and what it is told."""

    def test_the_centre_says_who_it_is_to_a_node_alone(self) -> None:
        bench = make()
        bench.router.order = 7
        (connack,) = ask(bench, FIRST).take()
        assert isinstance(connack, ConnAck)
        assert Greeting.read(connack.properties.user_property) == Greeting("centre", "epoch-of-centre", 7)
        (connack,) = bench.join("lamp", V5).take()
        assert isinstance(connack, ConnAck)
        assert not connack.properties.user_property

    def test_and_what_it_has_of_the_node_s_messages(self) -> None:
        bench = make()
        edge = node(bench)
        send(edge, 5)
        send(edge, 2, "alarm")
        edge.lose()
        (connack,) = ask(bench, FIRST).take()
        assert isinstance(connack, ConnAck)
        greeting = Greeting.read(connack.properties.user_property)
        assert greeting is not None
        assert sorted(greeting.has) == [("alarm", 2), ("normal", 5)]
        (connack,) = ask(bench, Greeting("other", "another epoch", life="1")).take()
        assert isinstance(connack, ConnAck)
        greeting = Greeting.read(connack.properties.user_property)
        assert greeting is not None
        assert greeting.has == ()

    @pytest.mark.parametrize(
        "pairs",
        [
            [("oriole-node", "")],
            [("oriole-node", "n" * 65), ("oriole-epoch", "e"), ("oriole-life", "1")],
            Greeting("edge", "e").pairs(),
            [*Greeting("edge", "e").pairs(), ("oriole-life", "")],
        ],
        ids=["no name", "long name", "no life", "empty life"],
    )
    def test_a_greeting_that_makes_no_sense_is_a_client_s(self, pairs: list[tuple[str, str]]) -> None:
        bench = make()
        client = bench.join("odd", V5, user_property=pairs)
        (connack,) = client.take()
        assert isinstance(connack, ConnAck)
        assert connack.reason_code == ReasonCode.SUCCESS
        assert not connack.properties.user_property
        assert client.session.node is None


class TestHolders:
    """A name and an epoch have one holder at a time: a disk was copied, or a backup restored."""

    def test_another_life_of_a_name_has_to_wait_until_the_first_has_gone(self) -> None:
        bench = make()
        first = node(bench)
        second = Greeting("edge", "another epoch", life="2")
        for _ in range(2):
            connack = refusal(ask(bench, second))
            assert connack.reason_code == ReasonCode.SERVER_BUSY
            assert connack.properties.reason_string == "another edge with this name is connected"
        assert not first.closed
        first.lose()
        node(bench, second)

    def test_so_has_another_life_of_an_epoch_under_another_name(self) -> None:
        bench = make()
        first = node(bench)
        second = Greeting("twin", "e", life="2", lives=("1",))
        connack = refusal(ask(bench, second))
        assert connack.reason_code == ReasonCode.SERVER_BUSY
        assert connack.properties.reason_string == "another edge with this data is connected"
        assert not first.closed
        first.lose()
        node(bench, second)

    def test_a_life_may_come_beside_its_own_old_connection(self) -> None:
        bench = make()
        first = node(bench)
        second = node(bench)
        assert isinstance(first.take()[-1], Disconnect)
        assert first.closed
        send(second, 1)
        connack = refusal(ask(bench, Greeting("twin", "e", life="2", lives=("1",))))
        assert connack.reason_code == ReasonCode.SERVER_BUSY, "the new connection holds the epoch like the old one"

    def test_a_life_that_does_not_name_the_last_one_is_refused_for_good(self) -> None:
        bench = make()
        edge = node(bench)
        send(edge, 1)
        edge.lose()
        edge = node(bench, Greeting("edge", "e", life="2", lives=("1",)))
        send(edge, 2)
        edge.lose()
        connack = refusal(ask(bench, Greeting("edge", "e", life="3", lives=("1",))))
        assert connack.reason_code == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
        assert connack.properties.reason_string == "another edge went on from the same data"
        assert Greeting.read(connack.properties.user_property) == Greeting("centre", "epoch-of-centre")
        node(bench, Greeting("edge", "a new one", life="3"))

    def test_one_that_names_several_is_let_in(self) -> None:
        """Of some in a row it does not know whether they were heard."""
        bench = make()
        edge = node(bench)
        send(edge, 1)
        edge.lose()
        node(bench, Greeting("edge", "e", life="4", lives=("1", "2", "3")))

    def test_what_a_life_repeats_is_its_claim_to_the_epoch(self) -> None:
        bench = make()
        edge = node(bench)
        send(edge, 1)
        edge.lose()
        edge = node(bench, Greeting("edge", "e", life="2", lives=("1",)))
        send(edge, 1)
        edge.lose()
        connack = refusal(ask(bench, Greeting("edge", "e", life="3", lives=("1",))))
        assert connack.reason_code == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID

    def test_nothing_of_a_session_changes_for_one_that_is_refused(self) -> None:
        bench = make()
        edge = node(bench)
        edge.subscribe("t", 1)
        edge.take()
        refusal(ask(bench, Greeting("edge", "e", life="2"), clean_start=True))
        bench.member("talker").publish("t", b"x", 1)
        assert [packet.payload for packet in edge.take() if isinstance(packet, Publish)] == [b"x"]


class TestStamps:
    """What a node's packets say, up and down."""

    @pytest.mark.parametrize("qos", [0, 1, 2])
    def test_what_was_here_before_goes_no_further(self, qos: int) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        edge = node(bench)
        edge.publish("t", b"x", qos, user_property=Stamp(path=("centre", "edge")).pairs())
        assert [type(packet) for packet in edge.take()] == [[], [PubAck], [PubRec]][qos]
        assert listener.payloads() == []
        assert bench.engine.settlement.refused == {Reason.LOOP: 1}

    def test_a_stamp_that_means_nothing_ends_the_connection(self) -> None:
        edge = node(make())
        edge.publish("t", b"x", 1, user_property=[("oriole-order", "one")])
        assert edge.reason() == ReasonCode.PROTOCOL_ERROR

    def test_down_with_qos_1_a_stamp_and_an_end_of_the_snapshot(self) -> None:
        bench = make()
        talker = bench.member("talker")
        talker.publish("t", b"QoS 0 state", 0, retain=True)
        edge = node(bench, Greeting("edge", "e", life="this life"))
        edge.send(Subscribe(1, [Subscription("t", 2, True, True)]))
        _, state, end = edge.take()
        assert isinstance(state, Publish)
        assert isinstance(end, Publish)
        assert (state.payload, state.qos, state.retain) == (b"QoS 0 state", 1, True)
        assert Stamp.read(state.properties.user_property) == Stamp(order=1, path=("centre",))
        assert (end.topic.decode(), end.payload, end.qos) == (SNAPSHOT_END, b"this life\nt", 1)
        assert Stamp.read(end.properties.user_property).order == 1
        talker.publish("t", b"event", 2)
        talker.send(PubRel(1))
        (event,) = edge.take()
        assert isinstance(event, Publish)
        assert (event.qos, Stamp.read(event.properties.user_property).qos) == (1, 2)

    def test_they_do_not_reach_ordinary_clients(self) -> None:
        bench = make()
        listener = bench.subscriber("listener", "t", 1)
        node(bench).publish("t", b"x", 0, user_property=[*Stamp(path=("below",)).pairs(), ("mine", "1")])
        (packet,) = listener.take()
        assert isinstance(packet, Publish)
        assert packet.properties.user_property == [("mine", "1")]

    def test_a_node_may_send_a_packet_longer_by_its_stamps(self) -> None:
        bench = make(max_packet_bytes=500)
        edge = node(bench)
        edge.publish("t", b"x" * 490, 1, user_property=Stamp(path=("below",)).pairs())
        (packet,) = edge.take()
        assert isinstance(packet, PubAck)
