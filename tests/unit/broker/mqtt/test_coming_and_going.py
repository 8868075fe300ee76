"""How a client comes in and leaves: admission, session present, takeover, expiry, keep-alive."""

from __future__ import annotations

from typing import Any

import pytest
from unit.broker.mqtt.harness import START, Bench

from broker.core.message import Message
from broker.core.questions import Admission, Question, Verdict
from oriole.wire.mqtt import (
    V5,
    V311,
    ConnAck,
    Connect,
    Disconnect,
    PingReq,
    PingResp,
    Properties,
    Publish,
    ReasonCode,
    SubAck,
    Subscribe,
    Subscription,
    Will,
    encode,
)

BOTH = pytest.mark.parametrize("version", [V311, V5])
LATER = lambda question: None  # noqa: E731
NO = Verdict(False, ReasonCode.BAD_USER_NAME_OR_PASSWORD)
YES = Verdict(True)


def connack(packet: object) -> ConnAck:
    assert isinstance(packet, ConnAck)
    return packet


# -- session present ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("version", "first", "clean_start", "wait_ms", "present"),
    [
        (V311, False, False, 0, True),
        (V311, False, True, 0, False),
        (V311, True, False, 0, False),
        (V5, 60, False, 0, True),
        (V5, 60, False, 59_999, True),
        (V5, 60, False, 60_000, False),
        (V5, 60, True, 0, False),
        (V5, 0, False, 0, False),
        (V5, 0xFFFF_FFFF, False, 10**9, True),
    ],
)
def test_session_present(version: int, first: int, clean_start: bool, wait_ms: int, present: bool) -> None:
    """[MQTT-3.2.2-2] [MQTT-3.2.2-3]; in 3.1.1 the first clean session flag says whether a session is kept."""
    bench = Bench(max_session_expiry_s=0xFFFF_FFFF)
    if version == V5:
        client = bench.member("a", V5, session_expiry_interval=first)
    else:
        client = bench.member("a", V311, clean_start=bool(first))
    client.subscribe("t")
    client.lose()
    bench.advance(wait_ms)
    again = bench.join("a", version, clean_start)
    answer = connack(again.take()[0])
    assert (answer.session_present, answer.reason_code) == (present, ReasonCode.SUCCESS)

    bench.router.publish(Message(b"t", b"x"), bench.now)
    bench.turn()
    assert again.payloads() == ([b"x"] if present else [])


def test_the_broker_shortens_a_session_expiry_and_says_so() -> None:
    bench = Bench(max_session_expiry_s=100)
    (answer,) = bench.join("a", session_expiry_interval=101).take()
    assert connack(answer).properties.session_expiry_interval == 100
    (answer,) = bench.join("b", session_expiry_interval=100).take()
    assert connack(answer).properties.session_expiry_interval is None


def test_a_client_without_a_name_is_given_one() -> None:
    """[MQTT-3.1.3-6] [MQTT-3.2.2-16]; 3.1.1 asks for clean session then [MQTT-3.1.3-8]."""
    bench = Bench()
    names = {connack(bench.join("").take()[0]).properties.assigned_client_identifier for _ in range(3)}
    assert len(names) == 3
    assert connack(bench.join("", V311).take()[0]).reason_code == ReasonCode.SUCCESS
    refused = bench.join("", V311, clean_start=False)
    assert connack(refused.take()[0]).reason_code == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
    assert refused.closed


def test_what_the_broker_offers() -> None:
    answer = connack(Bench(receive_maximum=7, max_packet_bytes=500, max_keep_alive_s=9).join("a").take()[0]).properties
    assert (answer.receive_maximum, answer.maximum_packet_size, answer.server_keep_alive) == (7, 500, 9)
    assert answer.shared_subscription_available == 0
    assert answer.topic_alias_maximum is None


# -- admission ---------------------------------------------------------------------------------------------------------


@BOTH
def test_a_refusal_says_why_and_changes_nothing(version: int) -> None:
    """[MQTT-3.2.2-6]: no session present in a refusal. Whoever is connected under that name notices nothing."""
    bench = Bench(decide=lambda question: YES if isinstance(question, Admission) and question.username else NO)
    owner = bench.member("a", V5, username="owner", session_expiry_interval=60)
    owner.subscribe("t")
    for clean_start in (True, False):
        impostor = bench.join("a", version, clean_start)
        answer = connack(impostor.take()[0])
        assert (answer.session_present, answer.reason_code) == (False, ReasonCode.BAD_USER_NAME_OR_PASSWORD)
        assert impostor.closed
    assert not owner.closed
    bench.member("b", username="owner").publish("t", b"still here")
    assert owner.payloads() == [b"still here"]
    assert bench.service.connected == 2


def test_nothing_happens_before_the_verdict() -> None:
    decisions = [YES]
    bench = Bench(decide=lambda question: decisions.pop() if decisions else None)
    owner = bench.member("a", session_expiry_interval=60)
    late = bench.join("a", clean_start=True)
    bench.advance(5_000)
    assert (late.take(), owner.closed, bench.service.connected) == ([], False, 1)
    bench.settle(YES)
    assert owner.reason() == ReasonCode.SESSION_TAKEN_OVER
    assert connack(late.take()[0]).session_present is False


def test_a_client_that_leaves_before_the_verdict_has_never_been_here() -> None:
    bench = Bench(decide=LATER)
    client = bench.join("a", will=Will(b"t", b"gone"))
    client.lose()
    bench.settle(YES)
    assert (bench.service.sessions, bench.service.connected, client.take()) == ({}, 0, [])
    bench.advance(3_600_000)
    assert bench.engine.next_deadline() is None


def test_what_was_sent_behind_connect_waits_for_the_verdict_and_is_bounded() -> None:
    bench = Bench(decide=LATER)
    client = bench.client()
    behind = encode(Subscribe(1, [Subscription("t")]), V5) + encode(Publish(b"t", b"early"), V5)
    client.send(Connect("a"), behind)
    for _ in range(100):
        client.channel.feed(bytes(1000))
    assert len(client.channel.unread) == 100, "the channel is held: a listener reads nothing more"
    client.channel.unread.clear()
    assert client.take() == []
    bench.settle(YES)
    connack, *others = [type(packet) for packet in client.take()]
    assert (connack, set(others)) == (ConnAck, {SubAck, Publish})


def test_what_was_sent_behind_a_refused_connect_is_thrown_away() -> None:
    """[MQTT-3.1.4-6]"""
    bench = Bench(decide=LATER)
    client = bench.client()
    client.send(Connect("a"), Publish(b"t", b"x", retain=True))
    bench.settle(NO)
    assert [type(packet) for packet in client.take()] == [ConnAck]
    assert len(bench.router.retained) == 0


@pytest.mark.parametrize(
    ("limits", "code"),
    [({"max_connections": 1}, ReasonCode.SERVER_BUSY), ({"max_sessions": 1}, ReasonCode.QUOTA_EXCEEDED)],
)
def test_the_house_is_full(limits: dict[str, Any], code: ReasonCode) -> None:
    bench = Bench(**limits)
    first = bench.member("a")
    assert connack(bench.join("b").take()[0]).reason_code == code
    assert not first.closed
    assert connack(bench.join("a").take()[0]).reason_code == ReasonCode.SUCCESS, "who is inside may come back"


def test_enhanced_authentication_is_not_offered() -> None:
    answer = connack(Bench().join("a", authentication_method="SCRAM").take()[0])
    assert answer.reason_code == ReasonCode.BAD_AUTHENTICATION_METHOD


# -- takeover and second CONNECT ---------------------------------------------------------------------------------------


@BOTH
def test_takeover(version: int) -> None:
    """[MQTT-3.1.4-3]"""
    bench = Bench()
    old = bench.subscriber("a", "t", version=version)
    new = bench.join("a", clean_start=False)
    assert old.reason() == (ReasonCode.SESSION_TAKEN_OVER if version == V5 else None)
    assert (new.closed, bench.service.connected) == (False, 1)
    old.channel.lose()
    assert bench.service.connected == 1


def test_a_second_connect_ends_the_first() -> None:
    """[MQTT-3.1.0-2]"""
    bench = Bench()
    client = bench.member("a")
    client.connect("a")
    assert client.reason() == ReasonCode.PROTOCOL_ERROR
    assert bench.service.sessions == {}


# -- silence and keep-alive --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [b"", b"\x10", encode(Connect("a"), V5)[:-1]])
def test_a_connect_that_does_not_come_closes_the_connection(start: bytes) -> None:
    bench = Bench(connect_timeout_s=10)
    client = bench.client()
    client.send(start)
    bench.advance(9_999)
    assert not client.closed
    bench.advance(1)
    assert client.closed
    assert client.take() == []


@BOTH
def test_keep_alive_is_one_and_a_half_times_what_was_asked(version: int) -> None:
    """[MQTT-3.1.2-22] in 5, [MQTT-3.1.2-24] in 3.1.1"""
    bench = Bench()
    client = bench.member("a", version, keep_alive=20)
    bench.advance(20_000)
    client.send(PingReq())
    assert client.take() == [PingResp()]
    bench.advance(29_999)
    assert not client.closed
    bench.advance(1)
    assert client.reason() == (ReasonCode.KEEP_ALIVE_TIMEOUT if version == V5 else None)


def test_without_keep_alive_silence_is_allowed() -> None:
    bench = Bench()
    client = bench.member("a", keep_alive=0)
    bench.advance(10**8)
    assert not client.closed


def test_a_client_that_was_held_is_not_blamed_for_its_silence() -> None:
    bench = Bench()
    client = bench.member("a", keep_alive=10)
    client.channel.hold()
    bench.advance(60_000)
    client.channel.release()
    bench.turn()
    bench.advance(14_999)
    assert not client.closed
    bench.advance(1)
    assert client.closed


# -- leaving -----------------------------------------------------------------------------------------------------------


def test_disconnect_can_change_the_session_expiry() -> None:
    """3.14.2.2.2"""
    bench = Bench()
    client = bench.member("a", session_expiry_interval=10)
    client.send(Disconnect(properties=Properties(session_expiry_interval=20)))
    bench.advance(19_999)
    assert "a" in bench.service.sessions
    bench.advance(1)
    assert bench.service.sessions == {}
    client = bench.member("a", session_expiry_interval=10)
    client.send(Disconnect(properties=Properties(session_expiry_interval=0)))
    assert bench.service.sessions == {}


def test_disconnect_cannot_give_a_session_a_life_that_connect_did_not() -> None:
    bench = Bench()
    client = bench.member("a", will=Will(b"t", b"will"))
    watcher = bench.subscriber("w", "t")
    client.send(Disconnect(properties=Properties(session_expiry_interval=20)))
    assert client.reason() == ReasonCode.PROTOCOL_ERROR
    assert watcher.payloads() == [b"will"], "a protocol error is no leave-taking"


def test_nothing_is_heard_after_disconnect() -> None:
    bench = Bench()
    watcher = bench.subscriber("w", "t")
    bench.member("a").send(Disconnect(), Publish(b"t", b"posthumous"))
    assert watcher.payloads() == []


def test_the_node_stops() -> None:
    bench = Bench()
    new, old = bench.member("a"), bench.member("b", V311)
    bench.service.close(bench.now)
    bench.turn()
    assert (new.reason(), old.reason()) == (ReasonCode.SERVER_SHUTTING_DOWN, None)


def test_those_who_come_and_go_leave_nothing_behind() -> None:
    """A thousand visits: no session, no deadline and no count that outlives them."""
    bench = Bench()
    keeper = bench.member("keeper", keep_alive=65_535)
    for number in range(1000):
        client = bench.member("a", keep_alive=65_535, session_expiry_interval=86_400)
        client.subscribe(f"t/{number}")
        client.lose()
        bench.advance(20)
    bench.join("a", clean_start=True).lose()
    assert list(bench.service.sessions) == ["keeper"]
    assert len(bench.engine.deadlines) < 100
    assert bench.router.routes.subscription_count == 0
    assert (bench.service.connected, keeper.closed, bench.now - START) == (1, False, 20_000)


def test_a_lost_connection_is_not_woken_for_ever() -> None:
    bench = Bench()
    bench.member("a", keep_alive=10).lose()
    bench.client().lose()
    bench.advance(60_000)
    assert bench.engine.next_deadline() is None
    assert bench.log == []


def test_what_admission_is_asked() -> None:
    seen: list[Question] = []
    bench = Bench(decide=lambda question: seen.append(question) or YES)  # type: ignore[func-returns-value]
    bench.join("a", V311, username="u", password=b"p")
    assert seen == [Admission(1, "a", "u", b"p", ("127.0.0.1", 1), "mqtt")]
