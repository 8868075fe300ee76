"""The checker finds what it is there for, and nothing where all is well."""

from __future__ import annotations

from dataclasses import replace

from faults.checker import Findings, Notes, Seen, Sent, check, padded, wrongly_retained
from faults.schedule import CENTRE


def sent(number: int, qos: int = 2, topic: str = "t/0", *, retain: bool = False, payload: bytes | None = None) -> Sent:
    content = padded("p0", number, 3) if payload is None else payload
    return Sent("p0", number, topic, qos, retain, content, sent_s=number, acknowledged_s=number + 0.5)


def seen(
    message: Sent,
    qos: int | None = None,
    *,
    retain: bool = False,
    dup: bool = False,
    at_s: float | None = None,
    identifier: int = 1,
) -> Seen:
    return Seen(
        message.sent_s + 0.1 if at_s is None else at_s,
        message.topic,
        message.payload,
        message.qos if qos is None else qos,
        dup,
        retain,
        identifier,
    )


def between(begin_s: float, end_s: float) -> str:
    return f"{begin_s} to {end_s}"


def notes_of(sights: list[Seen], node: str = CENTRE) -> Notes:
    notes = Notes("s0", node, {"t/#": (2, 0.5), "r/#": (2, 0.5)})
    for sight in sights:
        notes.add(sight)
    return notes


def found(messages: list[Sent], sights: list[Seen]) -> Findings:
    return check(messages, [notes_of(sights)], between)


ALL = [sent(number) for number in (1, 2, 3)]


def test_all_is_well() -> None:
    assert found(ALL, [seen(message) for message in ALL]).lines() == []


def test_what_was_acknowledged_and_did_not_come_is_lost() -> None:
    findings = found(ALL, [seen(ALL[0]), seen(ALL[2])])
    assert len(findings.lines()) == len(findings.lost) == 1
    assert "s0 never got p0's message 2 on t/0, QoS 2, at broker, sent at 2.000 s" in findings.lost[0]


def test_what_was_not_acknowledged_or_sent_too_early_is_not_lost() -> None:
    assert found([replace(sent(1), acknowledged_s=None), replace(sent(2), sent_s=0.4)], []).lines() == []


def test_what_was_retained_before_is_no_delivery() -> None:
    assert len(found(ALL[:1], [seen(ALL[0], retain=True)]).lost) == 1


def test_twice_is_once_too_often() -> None:
    assert len(found(ALL[:1], [seen(ALL[0]), seen(ALL[0])]).doubled) == 1
    once = sent(1, qos=1)
    assert len(found([once], [seen(once), seen(once, identifier=2)]).doubled) == 1


def test_who_is_asked_again_with_qos_1_may_answer_twice() -> None:
    once = sent(1, qos=1)
    twice = [seen(once), seen(once, identifier=2)]
    assert found([replace(once, repeats=1)], twice).lines() == []
    assert found([once], [seen(once), seen(once, dup=True, identifier=2)]).lines() == []
    assert found([once], [seen(once), seen(once)]).lines() == []


def test_a_node_that_was_killed_may_have_forgotten_what_it_sent_with_qos_1() -> None:
    for qos, doubled in ((1, 0), (2, 1)):
        once = sent(1, qos=qos)
        notes = notes_of([seen(once, at_s=1.5), seen(once, at_s=9, identifier=2)])
        notes.ends = [(1.4, 1.6)]
        assert len(check([once], [notes], between).doubled) == doubled


def test_short_lives_may_end_but_not_be_seen_after_that() -> None:
    short = replace(sent(1), lifetime_s=1)
    assert found([short], []).lines() == []
    for at_s, dup, late in ((4.0, False, 1), (4.0, True, 0), (2.0, False, 0)):
        notes = notes_of([seen(short, dup=dup, at_s=at_s)])
        notes.absences = [(0.9, 3.0)]
        assert len(check([short], [notes], between).other) == late


def test_a_will_that_was_withdrawn_must_not_come() -> None:
    assert len(found([replace(sent(1), is_withdrawn=True)], [seen(sent(1))]).other) == 1


def test_order_is_that_of_first_appearances() -> None:
    one, two, three = (seen(message) for message in ALL)
    assert len(found(ALL, [two, one, three]).disordered) == 1
    repeated = [sent(number, qos=1) for number in (1, 2, 3)]
    assert found(repeated, [seen(repeated[at]) for at in (0, 1, 0, 1, 2)]).lines() == []


def test_what_nobody_sent_is_found_and_so_is_another_qos() -> None:
    assert len(found([], [seen(ALL[0])]).other) == 1
    assert len(found(ALL[:1], [seen(ALL[0], qos=1)]).other) == 1


def test_at_an_edge_what_all_set_may_be_outdone() -> None:
    outdone = sent(1, topic="r/all/0", retain=True)
    assert len(check([outdone], [notes_of([])], between).lost) == 1
    assert check([outdone], [notes_of([], "e0")], between).lines() == []


def retained(messages: list[Sent], value: bytes, last: bytes = b"", edge: bytes | None = None) -> int:
    topic = messages[0].topic
    values = {CENTRE: {topic: value}} | ({} if edge is None else {"e0": {topic: edge}})
    return len([*wrongly_retained(messages, values, {topic: last}, between)])


def test_the_retained_value_is_the_last_acknowledged_or_a_later_one() -> None:
    kept = [sent(number, topic="r/p0/0", retain=True) for number in (1, 2)]
    late = replace(sent(3, topic="r/p0/0", retain=True, payload=b""), acknowledged_s=None)
    for value, wrong in ((kept[1].payload, 0), (b"", 0), (kept[0].payload, 1)):
        assert retained([*kept, late], value) == wrong
    assert retained(kept, b"") == 1


def test_of_what_all_set_the_last_in_the_order_of_the_centre_stays() -> None:
    kept = [sent(number, topic="r/all/0", retain=True) for number in (1, 2)]
    assert retained(kept, kept[0].payload, last=kept[0].payload) == 0
    assert retained(kept, kept[0].payload, last=b"") == 1


def test_every_node_has_the_value_of_the_centre() -> None:
    kept = [sent(1, topic="r/p0/0", retain=True)]
    assert retained(kept, kept[0].payload, edge=kept[0].payload) == 0
    assert retained(kept, kept[0].payload, edge=b"") == 1
