"""A journal that commits late, fails, or commits after the client has left: no promise changes its meaning."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from unit.broker.mqtt.harness import Bench, Client, FailingJournal, LateJournal

from broker.core.questions import Admission, Verdict
from broker.core.records import (
    Accepted,
    CaughtUp,
    Ended,
    Left,
    Opened,
    Progressed,
    Resumed,
    Routed,
    Subscribed,
    Taken,
    Unsubscribed,
)
from oriole.wire.mqtt import (
    V5,
    V311,
    ConnAck,
    Packet,
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
    Unsubscribe,
)

KEPT: dict[str, Any] = {"session_expiry_interval": 60}


def publish(number: int, qos: int, identifier: int, dup: bool = False) -> Publish:
    return Publish(b"t", str(number).encode(), qos, dup=dup, packet_identifier=identifier)


def late_bench() -> tuple[Bench, Client, Client]:
    """A bench, a persistent reader of QoS 2, a publisher; the journal has committed what made them."""
    bench = Bench(LateJournal())
    reader, publisher = bench.member("r", **KEPT), bench.member("p", **KEPT)
    reader.send(Subscribe(1, [Subscription("t", 2)]))
    assert reader.take() == []
    bench.commit()
    assert [type(packet) for packet in reader.take()] == [SubAck]
    return bench, reader, publisher


def test_no_acknowledgement_before_the_commit_and_then_in_order() -> None:
    bench, _, publisher = late_bench()
    publisher.send(publish(1, 1, 1), publish(2, 2, 2))
    publisher.send(publish(3, 1, 3), PingReq())
    assert publisher.take() == [PingResp()], "only what promises something waits"
    publisher.send(PubRel(2))
    position = bench.journal.appended  # type: ignore[union-attr]
    bench.commit(position - 2)
    assert publisher.take() == [PubAck(1), PubRec(2)]
    bench.commit(position - 1)
    assert publisher.take() == [PubAck(3)]
    bench.commit()
    assert publisher.take() == [PubComp(2)]


def test_qos_2_is_routed_after_the_commit() -> None:
    bench, reader, publisher = late_bench()
    publisher.send(publish(1, 2, 1), publish(2, 2, 2))
    assert reader.take() == []
    bench.commit()
    assert reader.take() == [], "routed, and which packet identifiers they have must be safe before they leave"
    bench.commit()
    assert reader.payloads() == [b"1", b"2"]


def test_a_repeat_before_the_commit_is_no_second_message_and_gets_no_early_answer() -> None:
    bench, reader, publisher = late_bench()
    publisher.send(publish(1, 2, 1))
    publisher.send(publish(1, 2, 1, dup=True))
    assert publisher.take() == []
    bench.commit()
    assert publisher.take() == [PubRec(1), PubRec(1)]
    bench.commit()
    assert reader.payloads() == [b"1"]


def test_pubrel_waits_for_the_record_of_pubrec() -> None:
    bench, reader, publisher = late_bench()
    publisher.send(publish(1, 1, 1), publish(2, 2, 2))
    bench.commit()
    bench.commit()
    reader.take()
    reader.send(PubRec(2))
    assert reader.take() == []
    bench.commit()
    assert reader.take() == [PubRel(2)]


def test_the_client_has_left_when_the_commit_comes() -> None:
    """The message is routed all the same: the record says that it was accepted."""
    bench, reader, publisher = late_bench()
    publisher.send(publish(1, 2, 1))
    publisher.lose()
    again = bench.join("p", clean_start=False, **KEPT)
    bench.commit()
    assert publisher.take() == []
    assert [type(packet) for packet in again.take()] == [ConnAck]
    bench.commit()
    assert reader.payloads() == [b"1"]
    again.send(publish(1, 2, 1, dup=True))
    bench.commit()
    assert (again.take(), reader.payloads()) == ([PubRec(1)], [])


@pytest.mark.parametrize("how", ["at once", "later"])
@pytest.mark.parametrize("version", [V311, V5])
def test_a_failure_acknowledges_nothing_and_a_resend_is_routed_once(how: str, version: int) -> None:
    journal = FailingJournal() if how == "at once" else LateJournal()
    bench = Bench(journal)

    def settle(works: bool) -> None:
        if isinstance(journal, LateJournal):
            bench.commit() if works else bench.fail()

    reader = bench.member("r")
    reader.send(Subscribe(1, [Subscription("t", 2)]))
    publisher = bench.join("p", version, clean_start=False, **(KEPT if version == V5 else {}))
    settle(True)
    reader.take()
    publisher.take()
    if isinstance(journal, FailingJournal):
        journal.full = True
    publisher.send(publish(1, 2, 1))
    settle(False)
    assert publisher.reason() == (ReasonCode.UNSPECIFIED_ERROR if version == V5 else None)
    assert reader.payloads() == []
    if isinstance(journal, FailingJournal):
        journal.full = False
    publisher = bench.join("p", version, clean_start=False, **(KEPT if version == V5 else {}))
    publisher.take()
    publisher.send(publish(1, 2, 1, dup=True))
    settle(True)
    assert publisher.take() == [PubRec(1)]
    assert reader.payloads() == [b"1"]


def test_a_failure_takes_with_it_what_was_built_on_it() -> None:
    """A repeat on a new connection rests on the first record: where that is lost, the repeat is not acknowledged."""
    bench, reader, publisher = late_bench()
    publisher.send(publish(1, 2, 1))
    publisher.lose()
    again = bench.join("p", clean_start=False, **KEPT)
    again.send(publish(1, 2, 1, dup=True))
    bench.engine.failed(bench.now)
    bench.turn()
    bench.commit()
    assert isinstance(again.take()[0], ConnAck)
    assert again.closed
    last = bench.join("p", clean_start=False, **KEPT)
    last.take()
    last.send(publish(1, 2, 1, dup=True))
    bench.commit()
    assert last.take() == [PubRec(1)]
    bench.commit()
    assert reader.payloads() == [b"1"]


def test_the_journal_is_told_everything_that_must_survive() -> None:
    journal = LateJournal()
    bench = Bench(journal)
    reader = bench.join("r", clean_start=False, **KEPT)
    reader.send(Subscribe(1, [Subscription("t", 2, no_local=True)]), Unsubscribe(2, ["t"]))
    reader.send(Subscribe(3, [Subscription("t", 2, retain_as_published=True)]))
    visitor = bench.join("v")
    visitor.send(publish(1, 1, 1), publish(2, 2, 2), publish(0, 0, 0))
    bench.commit()
    bench.commit()
    reader.send(PubAck(1), PubRec(2), PubComp(2))
    reader.lose()
    reader = bench.join("r", clean_start=False, session_expiry_interval=0)
    reader.lose()
    records = [record for batch in journal.batches for record in batch]
    one, two = (record.messages[0] for record in records if isinstance(record, Accepted | Taken))
    assert (one.payload, two.payload) == (b"1", b"2")
    assert records == [
        Opened(1, "r", None, 60, 1024, None),
        Subscribed(1, b"t", 0b0110, 0, True),
        Unsubscribed(1, b"t"),
        Subscribed(1, b"t", 0b1010, 0, True),
        Accepted((one,), False, [(1, 1, False, (), 1)]),
        Taken(1, [two], 0, [2]),
        CaughtUp(1, b"t"),
        CaughtUp(1, b"t"),
        Routed([1], [two], False, [(1, 2, False, (), 2)], order=2),
        Progressed(1, 0x40, [1]),
        Progressed(1, 0x50, [2]),
        Progressed(1, 0x70, [2]),
        Left(1, 60, False, bench.now),
        Resumed(1, None, 0, 1024, None),
        Ended(1),
    ]


def test_a_journal_that_stands_still_holds_the_clients_that_wait_for_it() -> None:
    """Whatever it is that they are promised; and all goes on when the journal does."""
    bench, reader, publisher = late_bench()
    others: dict[str, Callable[[int], Packet]] = {
        "subscribe": lambda n: Subscribe(n, [Subscription("u")]),
        "unsubscribe": lambda n: Unsubscribe(n, ["u"]),
        "repeat": lambda n: publish(1, 2, 9, dup=True),
        "publish": lambda n: publish(n, 1, n),
    }
    for make in others.values():
        client = bench.member(f"c{len(bench.service.sessions)}", **KEPT)
        for number in range(1, 100):
            client.send(*(make(number) for _ in range(100)))
        assert client.channel.holds
        assert 4096 <= 9900 - 100 * len(client.channel.unread) <= 4300
        while client.channel.unread or client.channel.holds:
            bench.commit()
        bench.commit()
        assert len(client.take()) == 9900
        assert not client.channel.holds
    assert (publisher.closed, reader.closed) == (False, False)


def test_a_restricted_client_waits_for_both() -> None:
    bench = Bench(LateJournal(), decide=lambda question: Verdict(True, restricted=isinstance(question, Admission)))
    client = bench.member("a", **KEPT)
    client.send(publish(1, 1, 1), publish(2, 1, 2))
    assert client.take() == []
    bench.commit()
    assert client.take() == [PubAck(1), PubAck(2)]


def test_who_comes_back_is_not_told_to_release_what_is_not_safe_to_be_released() -> None:
    bench, reader, publisher = late_bench()
    publisher.send(publish(1, 2, 1))
    bench.commit()
    bench.commit()
    (delivery,) = reader.take()
    assert isinstance(delivery, Publish)
    reader.send(PubRec(delivery.packet_identifier))
    reader.lose()
    back = bench.member("r", clean_start=False, **KEPT)
    assert back.take() == [], "the PUBREC may yet be lost"
    bench.commit()
    assert back.take() == [PubRel(delivery.packet_identifier)]


def test_what_was_not_safe_to_be_sent_waits_until_its_record_is() -> None:
    bench, reader, publisher = late_bench()
    publisher.send(publish(1, 2, 1))
    bench.commit()  # it is routed, and that is not safe yet
    bench.fail()
    assert [packet for packet in reader.take() if isinstance(packet, Publish)] == []
    assert reader.closed
    back = bench.member("r", clean_start=False, **KEPT)
    assert back.take() == []
    bench.commit()
    assert [type(packet) for packet in back.take()] == [Publish]


def test_who_begins_anew_is_let_in_when_the_old_session_is_safely_gone() -> None:
    bench, reader, publisher = late_bench()
    publisher.send(publish(1, 2, 1))
    bench.commit()
    bench.commit()
    publisher.lose()
    again = bench.join("p", clean_start=True, **KEPT)
    again.send(publish(2, 2, 1))
    assert again.take() == [], "after a kill its new message would be taken for the old one"
    bench.commit()
    bench.commit()
    bench.commit()
    assert [type(packet) for packet in again.take()] == [ConnAck, PubRec]
    assert reader.payloads() == [b"1", b"2"]
    bench.fail()
    last = bench.join("p", clean_start=True, **KEPT)
    bench.fail()
    assert last.take() == []
    assert last.closed
