"""When a will is published, when it is not, and what it looks like."""

from __future__ import annotations

import pytest
from unit.broker.mqtt.harness import Bench

from broker.core.questions import Action, Admission, Permission, Question, Verdict
from broker.core.settlement import Reason
from oriole.wire.mqtt import V5, V311, Disconnect, Properties, Publish, ReasonCode, Will

WILL = Will(b"w", b"gone")


def delayed(seconds: int, **more: object) -> Will:
    return Will(b"w", b"gone", properties=Properties(will_delay_interval=seconds, **more))


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize(
    ("end", "published"),
    [
        ("lost", True),
        ("silent", True),
        ("malformed", True),
        ("taken over", True),
        ("disconnect", False),
        ("disconnect with will", True),
        ("node stops", False),
    ],
)
def test_which_ends_publish_the_will(version: int, end: str, published: bool) -> None:
    """[MQTT-3.1.2-8] [MQTT-3.14.4-3]"""
    if end == "disconnect with will":
        version = V5  # 3.1.1 cannot say so
    bench = Bench()
    watcher = bench.subscriber("watcher", "w")
    client = bench.member("a", version, will=WILL, keep_alive=10)
    match end:
        case "lost":
            client.lose()
        case "silent":
            bench.advance(15_000)
        case "malformed":
            client.send(b"\x00\x00")
        case "taken over":
            bench.member("a", version)
        case "disconnect":
            client.send(Disconnect())
        case "disconnect with will":
            client.send(Disconnect(ReasonCode.DISCONNECT_WITH_WILL_MESSAGE))
        case "node stops":
            bench.service.close(bench.now)
            bench.turn()
    bench.advance(1000)
    if end == "node stops":
        assert watcher.reason() == ReasonCode.SERVER_SHUTTING_DOWN
    else:
        assert watcher.payloads() == ([b"gone"] if published else [])


@pytest.mark.parametrize(
    ("delay_s", "expiry_s", "at_ms"),
    [(0, 60, 0), (10, 60, 10_000), (60, 10, 10_000), (10, 0, 0), (10, 10, 10_000), (5, 0xFFFF_FFFF, 5_000)],
)
def test_a_will_waits_for_its_delay_or_the_end_of_the_session(delay_s: int, expiry_s: int, at_ms: int) -> None:
    """[MQTT-3.1.2-8]: whichever is first (CVE-2019-11778 was a delay longer than the session)."""
    bench = Bench(max_session_expiry_s=0xFFFF_FFFF)
    watcher = bench.subscriber("watcher", "w")
    bench.member("a", will=delayed(delay_s), session_expiry_interval=expiry_s).lose()
    if at_ms:
        bench.advance(at_ms - 1)
        assert watcher.payloads() == []
        bench.advance(1)
    assert watcher.payloads() == [b"gone"]
    bench.advance(100_000)
    assert watcher.payloads() == []


def test_who_comes_back_in_time_is_not_dead() -> None:
    """[MQTT-3.1.3-9]"""
    bench = Bench()
    watcher = bench.subscriber("watcher", "w")
    for _ in range(3):
        bench.join("a", clean_start=False, will=delayed(10), session_expiry_interval=60).lose()
        bench.advance(9_000)
    client = bench.member("a", clean_start=False, session_expiry_interval=60)
    bench.advance(100_000)
    client.lose()
    bench.advance(100_000)
    assert watcher.payloads() == []


def test_a_clean_start_ends_the_session_and_so_publishes_its_will() -> None:
    bench = Bench()
    watcher = bench.subscriber("watcher", "w")
    bench.member("a", will=delayed(10), session_expiry_interval=60).lose()
    bench.member("a")
    assert watcher.payloads() == [b"gone"]


def test_a_retained_will_with_its_properties() -> None:
    """[MQTT-3.1.2-15] and the properties of 3.1.3.2; the lifetime counts from the publication."""
    bench = Bench()
    watcher = bench.subscriber("watcher", "w", 2)
    will = Will(b"w", b"gone", 1, True, Properties(content_type="t", message_expiry_interval=9, will_delay_interval=5))
    bench.member("a", will=will, session_expiry_interval=60).lose()
    bench.advance(5_000)
    told = Properties(message_expiry_interval=9, content_type="t")
    assert watcher.take() == [Publish(b"w", b"gone", 1, packet_identifier=1, properties=told)]
    late = bench.subscriber("late", "w")
    assert late.take() == [Publish(b"w", b"gone", retain=True, properties=told)]


def test_a_will_to_a_reserved_topic_goes_nowhere() -> None:
    bench = Bench()
    watcher = bench.subscriber("watcher", "$SYS/#")
    bench.member("a", will=Will(b"$SYS/broker/version", b"forged", retain=True)).lose()
    assert (watcher.payloads(), len(bench.router.retained)) == ([], 0)
    assert bench.engine.settlement.refused == {Reason.NOT_PERMITTED: 1}


@pytest.mark.parametrize("allowed", [True, False])
@pytest.mark.parametrize("later", [True, False])
def test_a_will_needs_the_permission_that_any_publish_needs(allowed: bool, later: bool) -> None:
    """Mosquitto until 2.0.16 let wills pass the access list."""
    asked: list[Permission] = []

    def decide(question: Question) -> Verdict | None:
        if isinstance(question, Admission):
            return Verdict(True, restricted=question.client_id == "a")
        asked.append(question)
        return None if later else Verdict(allowed)

    bench = Bench(decide=decide)
    watcher = bench.subscriber("watcher", "w")
    bench.member("a", will=WILL).lose()
    if later:
        assert watcher.payloads() == []
        bench.settle(Verdict(allowed))
    assert watcher.payloads() == ([b"gone"] if allowed else [])
    assert [(question.client_id, question.action, question.topic) for question in asked] == [("a", Action.PUBLISH, "w")]


def test_wills_do_not_fill_a_queue_beyond_its_limit() -> None:
    """Nobody waits for their acknowledgement: they are dropped and counted, and who has room gets them all the same."""
    bench = Bench(max_queue_messages=10)
    bench.subscriber("away", "w", 1, session_expiry_interval=60).lose()
    watcher = bench.subscriber("watcher", "w")
    for number in range(30):
        bench.member(f"a{number}", will=Will(b"w", b"gone", 1)).lose()
    session = bench.service.sessions["away"]
    assert session.queue is not None
    waiting = len(session.queue)
    assert 10 <= waiting <= 20
    assert bench.engine.settlement.dropped == {Reason.QUEUE_FULL: 30 - waiting}
    assert len(watcher.payloads()) == 30
