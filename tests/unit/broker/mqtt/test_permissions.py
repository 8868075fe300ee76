"""Permission as a question: asked per topic, answered later, remembered, revoked."""

from __future__ import annotations

import pytest
from unit.broker.mqtt.harness import Bench

from broker.core.questions import Action, Admission, Permission, Question, Verdict
from oriole.wire.mqtt import (
    V5,
    V311,
    PingReq,
    PingResp,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    ReasonCode,
    SubAck,
    Subscribe,
    Subscription,
)

YES, NO = Verdict(True), Verdict(False)
DENIED = ReasonCode.NOT_AUTHORIZED


class Warden:
    """Lets everyone in as restricted, but for `free`; puts permission questions aside, or allows `allowed` topics."""

    def __init__(self, allowed: tuple[str, ...] | None = None) -> None:
        self.allowed = allowed
        self.asked: list[tuple[Action, str]] = []

    def __call__(self, question: Question) -> Verdict | None:
        if isinstance(question, Admission):
            return Verdict(True, restricted=question.client_id != "free")
        self.asked.append((question.action, question.topic))
        return None if self.allowed is None else Verdict(question.topic in self.allowed)


@pytest.mark.parametrize("version", [V311, V5])
def test_what_is_refused_is_answered_and_goes_nowhere(version: int) -> None:
    """MQTT 5 is told 0x87; 3.1.1 has no word for it and gets an ordinary acknowledgement (3.3.5)."""
    bench = Bench(decide=Warden(("yes",)))
    reader = bench.subscriber("free", "#")
    client = bench.member("a", version)
    client.send(*(Publish(topic, b"x", qos, True, False, qos) for topic in (b"no", b"yes") for qos in (0, 1, 2)))
    refused = [PubAck(1, DENIED), PubRec(2, DENIED)] if version == V5 else [PubAck(1), PubRec(2)]
    assert client.take() == [*refused, PubAck(1), PubRec(2)]
    assert [packet.topic for packet in reader.take()] == [b"yes"] * 3  # type: ignore[union-attr]
    assert bench.router.retained.get(b"no", bench.now) is None
    client.send(PubRel(2))
    assert client.take() == [PubComp(2)]


@pytest.mark.parametrize("version", [V311, V5])
def test_filters_are_asked_one_by_one(version: int) -> None:
    """Nothing retained leaks through a filter that was refused."""
    bench = Bench(decide=Warden(("yes", "also/+")))
    bench.member("free").publish("no", b"secret", retain=True)
    client = bench.member("a", version)
    client.send(Subscribe(1, [Subscription(filter, 1) for filter in ("yes", "no", "also/+", "#")]))
    no = DENIED if version == V5 else ReasonCode.UNSPECIFIED_ERROR
    assert client.take() == [SubAck(1, [ReasonCode.GRANTED_QOS_1, no, ReasonCode.GRANTED_QOS_1, no])]
    bench.member("free").publish("no", b"secret")
    assert client.payloads() == []


def test_a_question_holds_the_channel_and_the_answer_goes_on_in_order() -> None:
    warden = Warden()
    bench = Bench(decide=warden)
    client = bench.member("a")
    client.send(Publish(b"t", b"1", 1, packet_identifier=1), Publish(b"u", b"2", 2, packet_identifier=2), PingReq())
    assert (client.take(), client.channel.holds) == ([], 1)
    client.send(Subscribe(3, [Subscription("v")]))
    bench.settle(YES)
    assert client.take() == [PubAck(1)]
    bench.settle(NO)
    assert client.take() == [PingResp(), PubRec(2, DENIED)], "what promises nothing waits for nothing"
    bench.settle(YES)
    assert client.take() == [SubAck(3, [ReasonCode.SUCCESS])]
    assert client.channel.holds == 0
    publish, subscribe = Action.PUBLISH, Action.SUBSCRIBE
    assert warden.asked == [(publish, "t"), (publish, "u"), (subscribe, "v")]


def test_a_verdict_is_remembered_until_it_is_revoked() -> None:
    warden = Warden(("t",))
    bench = Bench(decide=warden)
    client = bench.member("a", session_expiry_interval=60)
    for _ in range(3):
        client.publish("t")
    assert len(warden.asked) == 1
    bench.service.forget_permissions("a")
    client.publish("t")
    assert len(warden.asked) == 2
    client.lose()
    bench.member("a", clean_start=False).publish("t")
    assert len(warden.asked) == 3, "who comes back may be somebody else"


def test_a_client_that_leaves_or_is_taken_over_needs_no_answer() -> None:
    bench = Bench(decide=Warden())
    reader = bench.subscriber("free", "t")
    for leave in (lambda client: client.lose(), lambda client: bench.member("a")):
        client = bench.member("a")
        client.publish("t")
        leave(client)
        (question,) = bench.questions
        assert isinstance(question, Permission)
        bench.settle(YES)
        bench.engine.verdict(question.ticket, YES, bench.now)
    assert reader.payloads() == []


def test_a_subscribe_with_as_many_filters_as_a_packet_may_have() -> None:
    warden = Warden()
    bench = Bench(decide=warden)
    client = bench.member("a")
    client.send(Subscribe(1, [Subscription(f"{number:x}") for number in range(4097)]))
    assert client.reason() == ReasonCode.QUOTA_EXCEEDED
    client = bench.member("a")
    client.send(Subscribe(1, [Subscription(f"{number:x}") for number in range(2048)] * 2))
    assert len(warden.asked) == 2048, "in one go: not a question, a turn and a reading of the packet for each"
    bench.settle(YES)
    assert [type(packet) for packet in client.take()] == [SubAck]
    assert len(client.session.permissions) <= 4096


def test_memory_for_verdicts_is_bounded() -> None:
    bench = Bench(decide=lambda question: Verdict(True, restricted=True))
    client = bench.member("a")
    client.send(*(Publish(f"{number:x}".encode()) for number in range(5000)))
    assert len(client.session.permissions) == 4096


def test_revocation_while_a_question_is_out() -> None:
    bench = Bench(decide=Warden())
    client = bench.member("a")
    client.send(Subscribe(1, [Subscription("t"), Subscription("u")]))
    bench.service.forget_permissions("a")
    bench.settle(YES)
    assert client.take() == [SubAck(1, [ReasonCode.SUCCESS] * 2)]
