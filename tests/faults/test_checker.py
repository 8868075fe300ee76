"""The checker finds what it is there for, and nothing where all is well."""

from __future__ import annotations

from dataclasses import replace

from faults.checker import Findings, Notes, Seen, Sent, check, padded


def sent(number: int, qos: int = 2, topic: str = "t/0", *, retain: bool = False, payload: bytes | None = None) -> Sent:
    content = padded("p0", number, 3) if payload is None else payload
    return Sent("p0", number, topic, qos, retain, content, sent_s=number, acknowledged_s=number + 0.5)


def seen(message: Sent, qos: int | None = None, *, retain: bool = False) -> Seen:
    return Seen(
        message.sent_s + 0.1, message.topic, message.payload, message.qos if qos is None else qos, False, retain
    )


def found(messages: list[Sent], sights: list[Seen], retained: dict[str, bytes] | None = None) -> Findings:
    notes = Notes("s0", {"t/#": (2, 0.5)}, sights)
    return check(messages, [notes], retained or {}, lambda begin, end: f"{begin} to {end}")


ALL = [sent(number) for number in (1, 2, 3)]


def test_all_is_well() -> None:
    assert found(ALL, [seen(message) for message in ALL]).lines() == []


def test_what_was_acknowledged_and_did_not_come_is_lost() -> None:
    findings = found(ALL, [seen(ALL[0]), seen(ALL[2])])
    assert len(findings.lines()) == len(findings.lost) == 1
    assert "s0 never got p0's message 2 on t/0, QoS 2, sent at 2.000 s" in findings.lost[0]


def test_what_was_not_acknowledged_or_sent_too_early_is_not_lost() -> None:
    assert found([replace(sent(1), acknowledged_s=None), replace(sent(2), sent_s=0.4)], []).lines() == []


def test_what_was_retained_before_is_no_delivery() -> None:
    assert len(found(ALL[:1], [seen(ALL[0], retain=True)]).lost) == 1


def test_twice_is_once_too_often_with_qos_2_only() -> None:
    twice = [seen(ALL[0]), seen(ALL[0])]
    assert len(found(ALL[:1], twice).doubled) == 1
    assert found([sent(1, qos=1)], [seen(sent(1, qos=1))] * 2).lines() == []


def test_order_is_that_of_first_appearances() -> None:
    one, two, three = (seen(message) for message in ALL)
    assert len(found(ALL, [two, one, three]).disordered) == 1
    repeated = [sent(number, qos=1) for number in (1, 2, 3)]
    assert found(repeated, [seen(repeated[at]) for at in (0, 1, 0, 1, 2)]).lines() == []


def test_what_nobody_sent_is_found_and_so_is_another_qos() -> None:
    assert len(found([], [seen(ALL[0])]).other) == 1
    assert len(found(ALL[:1], [seen(ALL[0], qos=1)]).other) == 1


def test_the_retained_value_is_the_last_acknowledged_or_a_later_one() -> None:
    kept = [sent(number, topic="r/p0/0", retain=True) for number in (1, 2)]
    late = replace(sent(3, topic="r/p0/0", retain=True, payload=b""), acknowledged_s=None)
    for value, is_right in ((kept[1].payload, True), (b"", True), (kept[0].payload, False)):
        assert (found([*kept, late], [], {"r/p0/0": value}).lines() == []) == is_right
    assert len(found(kept, [], {}).other) == 1
