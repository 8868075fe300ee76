"""What waits for the centre: numbered when it is accepted, sent when it is safe, and known again after a restart."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.broker.mqtt.harness import START, Bench, LateJournal, recollected

from broker.core.message import Header, Message
from broker.core.records import Accepted, Met, Owes, Record, Released, Skipped
from broker.core.records import Stream as StreamRecord
from broker.core.settlement import Reason
from broker.journal.codec import encode
from broker.journal.memory import MemoryJournal
from edge_node.uplink.classes import ALARM, BULK, CLASSES, NORMAL, Classes
from edge_node.uplink.spool import MOST_LOST, Spool, Stream

TOPICS = {ALARM: b"alarm", NORMAL: b"t", BULK: b"bulk"}


def message(payload: bytes = b"x", topic: bytes = b"t", retain: bool = False, expires_at: int = 0) -> Message:
    return Message(topic, payload, 1, retain, expires_at=expires_at)


SIZE = message().size
"""What each of these counts."""


class Sink:
    """Somebody who is owed what waits."""

    label = "uplink"
    full = persistent = False
    remote = True

    def has_room_for(self, message: Message) -> bool:
        return True


class Desk:
    """A spool on an engine of its own."""

    def __init__(self, journal: LateJournal | MemoryJournal | None = None, max_bytes: int = 1 << 20) -> None:
        self.bench = Bench(journal)
        self.sink = Sink()
        self.ended: list[tuple[bytes, int]] = []
        self.spool = Spool(self.bench.router, self.sink, Classes(["alarm"], ["bulk"]), max_bytes, self._end)
        self.normal = self.spool.streams[NORMAL]

    def _end(self, message: Message, place: int, now: int) -> None:
        self.ended.append((message.payload, place))

    def add(self, *messages: Message) -> None:
        for each in messages:
            self.spool.add([each])
        self.bench.turn()

    def release(
        self,
        upto: int,
        stream: Stream | None = None,
        places: Mapping[int, int] | None = None,
        refusals: Mapping[int, int] | None = None,
    ) -> None:
        self.spool.release(stream or self.normal, upto, START, places or {}, refusals or {})
        self.bench.turn()

    def send(self, count: int = 1 << 30) -> list[tuple[int, bytes | None]]:
        """Send what may be sent, or `count` of it: numbers and payloads."""
        sent = [(number, payload_of(each)) for number, each in list(self.normal.unsent())[:count]]
        self.normal.next += len(sent)
        return sent

    @property
    def waiting(self) -> list[bytes]:
        return [each.payload for each, _ in self.spool]


def payload_of(message: Message | None) -> bytes | None:
    return None if message is None else message.payload


def payloads(*numbers: int) -> list[bytes]:
    return [b"%d" % number for number in numbers]


def messages(*numbers: int) -> list[Message]:
    return [message(b"%d" % number) for number in numbers]


class TestNumbers:
    """A message gets its number when it is accepted, and keeps it."""

    def test_they_begin_with_1_in_each_class_and_have_no_gap(self) -> None:
        desk = Desk()
        desk.add(message(b"1"), message(b"a", b"alarm"), message(b"2"), message(b"b", b"bulk"), message(b"3"))
        numbered = {
            stream.traffic_class: [(number, payload_of(each)) for number, each in stream.unsent()]
            for stream in desk.spool.streams
        }
        assert numbered == {"alarm": [(1, b"a")], "normal": [(1, b"1"), (2, b"2"), (3, b"3")], "bulk": [(1, b"b")]}
        assert tuple(numbered) == CLASSES, "most urgent first"

    def test_a_stream_is_known_by_its_class_and_its_topics(self) -> None:
        spool = Desk().spool
        for number, topic in TOPICS.items():
            assert spool.stream_of(topic) is spool.named(CLASSES[number]) is spool.streams[number]
        assert spool.named("a class of another version") is None

    def test_what_was_sent_is_not_sent_again_on_this_connection_and_is_on_the_next(self) -> None:
        desk = Desk()
        desk.add(*messages(1, 2, 3))
        assert desk.send(2) == [(1, b"1"), (2, b"2")]
        assert [is_sent for _, is_sent in desk.spool] == [True, True, False]
        assert desk.send() == [(3, b"3")]
        assert not desk.normal.has_unsent
        desk.release(1)
        desk.spool.rewind()
        assert desk.normal.has_unsent
        assert desk.send() == [(2, b"2"), (3, b"3")]

    def test_those_that_came_together_follow_one_another(self) -> None:
        desk = Desk()
        desk.add(message(b"1"))
        assert desk.spool.add(messages(2, 3, 4)) == (desk.normal, 2)
        assert desk.spool.add([message(b"a", b"alarm")]) == (desk.spool.named("alarm"), 1)
        assert desk.spool.add(messages(5, 6)) == (desk.normal, 5)
        desk.bench.turn()
        assert desk.send() == [(number, b"%d" % number) for number in range(1, 7)]
        assert desk.normal.bytes == 6 * SIZE

    def test_jump_leaves_numbers_out(self) -> None:
        desk = Desk()
        desk.add(message(b"1"))
        desk.normal.born = 2  # it is of an earlier life
        assert desk.spool.jump(desk.normal, 5)
        desk.add(message(b"5"))
        assert desk.spool.jump(desk.normal, 3), "it is beyond that"
        desk.add(message(b"6"))
        assert desk.send() == [(1, b"1"), (2, None), (3, None), (4, None), (5, b"5"), (6, b"6")]
        assert len(desk.spool) == 3

    @pytest.mark.parametrize("is_too_far", [False, True])
    def test_a_jump_so_far_that_no_power_cut_explains_it_is_none(self, is_too_far: bool) -> None:
        desk = Desk(MemoryJournal(keep=True))
        one = message(b"1")
        desk.add(one)
        desk.normal.born = 2
        assert desk.spool.jump(desk.normal, 2 + MOST_LOST + is_too_far) is not is_too_far
        desk.bench.turn()
        assert desk.normal.end == (2 if is_too_far else 2 + MOST_LOST)
        skipped = [] if is_too_far else [Skipped(-2, MOST_LOST)]
        assert journal_of(desk) == [Owes(one, (-2, 1, False, (), 1)), *skipped]

    def test_a_new_epoch_begins_with_1_and_has_no_gap(self) -> None:
        desk = Desk()
        desk.add(*messages(1, 2, 3, 4))
        desk.send(3)
        desk.release(1)
        desk.spool.strike(desk.normal, 3, START)
        desk.spool.renumber()
        assert not desk.normal.has_unsent
        desk.bench.turn()
        assert desk.send() == [(1, b"2"), (2, b"4")]
        assert desk.normal.bytes == 2 * SIZE


class TestEnds:
    """Each message ends once, and its bytes with it."""

    def test_what_was_released_is_gone(self) -> None:
        desk = Desk()
        desk.add(*messages(1, 2, 3))
        desk.send()
        desk.release(2)
        assert desk.waiting == payloads(3)
        assert desk.normal.bytes == SIZE
        assert desk.bench.engine.settlement.acknowledged == 2
        desk.release(2)
        assert desk.bench.engine.settlement.acknowledged == 2
        assert (desk.normal.first, desk.normal.next, desk.normal.end) == (3, 4, 4)

    def test_more_than_there_is_releases_what_there_is(self) -> None:
        desk = Desk()
        desk.add(*messages(1, 2))
        desk.release(9)
        assert (desk.waiting, desk.normal.first, desk.normal.next) == ([], 3, 3)
        desk.add(message(b"3"))
        assert desk.send() == [(3, b"3")]

    def test_what_was_refused_is_dropped_with_its_reason(self) -> None:
        desk = Desk()
        desk.add(*messages(1, 2, 3))
        desk.release(3, refusals={2: 0x87})
        settlement = desk.bench.engine.settlement
        assert (settlement.acknowledged, settlement.dropped) == (2, {Reason.REJECTED: 1})

    def test_values_are_told_their_places(self) -> None:
        desk = Desk()
        desk.add(message(b"1", retain=True), message(b"2"), message(b"3", retain=True), message(b"4", retain=True))
        desk.release(3, places={1: 7, 3: 9})
        assert desk.ended == [(b"1", 7), (b"3", 9)]
        desk.spool.strike(desk.normal, 4, START)
        assert desk.ended[2:] == [(b"4", 0)]

    def test_what_was_struck_leaves_its_number(self) -> None:
        desk = Desk()
        desk.add(*messages(1, 2, 3))
        desk.spool.strike(desk.normal, 2, START)
        desk.spool.strike(desk.normal, 2, START)
        assert desk.waiting == payloads(1, 3)
        assert desk.normal.bytes == 2 * SIZE
        assert desk.send() == [(1, b"1"), (2, None), (3, b"3")]
        desk.release(3)
        assert desk.bench.engine.settlement.acknowledged == 2, "whoever struck it has settled it"

    def test_struck_ones_are_released_as_far_as_there_is_none_before_them(self) -> None:
        desk = Desk()
        desk.add(*messages(1, 2, 3, 4, 5))
        desk.send(4)
        for number in (2, 3, 5):
            desk.spool.strike(desk.normal, number, START)
        desk.spool.release_struck(desk.normal, START)
        assert desk.normal.first == 1
        desk.spool.strike(desk.normal, 1, START)
        desk.spool.release_struck(desk.normal, START)
        assert (desk.normal.first, desk.waiting) == (4, payloads(4))
        desk.spool.strike(desk.normal, 4, START)
        desk.spool.release_struck(desk.normal, START)
        assert desk.normal.first == 5, "the fifth is not sent"


class TestRoom:
    """Each class has its own."""

    def test_a_class_is_full_until_half_of_it_has_left(self) -> None:
        desk = Desk(max_bytes=4 * SIZE)
        desk.add(*messages(1, 2, 3))
        assert not desk.normal.full
        assert not desk.sink.full
        desk.add(message(b"4"))
        assert desk.normal.full
        assert desk.sink.full
        desk.release(1)
        assert desk.normal.full
        desk.release(2)
        assert not desk.normal.full
        assert not desk.sink.full

    def test_a_full_class_does_not_stand_before_another(self) -> None:
        desk = Desk(max_bytes=2 * SIZE)
        desk.add(*messages(1, 2))
        alarm, normal, bulk = desk.spool.streams
        assert (alarm.full, normal.full, bulk.full) == (False, True, False)
        desk.add(message(b"a", b"alarm"))
        assert not alarm.full

    def test_as_long_as_one_class_is_full_the_sink_is(self) -> None:
        desk = Desk(max_bytes=2 * SIZE)
        desk.add(*messages(1, 2), *(message(b"b", b"bulk") for _ in range(2)))
        desk.release(2)
        assert desk.sink.full
        assert desk.bench.router.full_sinks == 1
        desk.release(2, desk.spool.streams[BULK])
        assert not desk.sink.full
        assert desk.bench.router.full_sinks == 0

    def test_what_was_acknowledged_already_finds_as_much_room_again(self) -> None:
        desk = Desk(max_bytes=2 * SIZE)
        desk.add(*messages(1, 2, 3))
        assert not desk.spool.overflows(b"t")
        desk.add(message(b"4"))
        assert desk.spool.overflows(b"t")
        assert not desk.spool.overflows(b"alarm")


class TestSafety:
    """Nothing is sent before the journal has it."""

    def test_a_message_may_be_sent_after_the_commit(self) -> None:
        desk = Desk(LateJournal())
        woken: list[int] = []
        desk.spool.on_safe = woken.append
        desk.add(message(b"1"))
        desk.add(message(b"2"))
        assert desk.send() == []
        assert woken == []
        desk.bench.commit(1)
        assert desk.send() == [(1, b"1")]
        assert woken == [desk.bench.now]
        desk.bench.commit()
        assert desk.send() == [(2, b"2")]

    def test_skipped_numbers_are_sent_after_the_commit_too(self) -> None:
        desk = Desk(LateJournal())
        desk.spool.jump(desk.normal, 3)
        desk.bench.turn()
        assert desk.send() == []
        desk.bench.commit()
        assert desk.send() == [(1, None), (2, None)]

    def test_what_the_journal_lost_waits_until_it_is_secured(self) -> None:
        desk = Desk(LateJournal())
        desk.add(message(b"1"))
        desk.bench.fail()
        assert desk.send() == []
        assert desk.spool.is_unsafe
        desk.bench.engine.promises.write_anew(list(desk.spool.records()))
        desk.spool.secure()
        desk.bench.turn()
        assert desk.send() == []
        desk.bench.commit()
        assert desk.send() == [(1, b"1")]

    def test_what_ended_before_the_commit_is_no_number_too_many(self) -> None:
        desk = Desk(LateJournal())
        desk.add(*messages(1, 2))
        desk.spool.release(desk.normal, 1, START)
        desk.bench.commit()
        assert desk.send() == [(2, b"2")]
        assert not desk.normal.has_unsent

    def test_a_message_goes_into_the_record_of_its_routing(self) -> None:
        desk = Desk(MemoryJournal(keep=True))
        routed, alone = message(b"routed"), message(b"alone", b"alarm", retain=True)
        record = routed.record = Accepted([routed])
        desk.add(routed, alone)
        assert record.owed == [(-2, 1, False, (), 1)]
        assert journal_of(desk) == [Owes(alone, (-1, 1, True, (), 1))]

    def test_those_that_came_together_are_owed_once_in_their_record(self) -> None:
        desk = Desk(MemoryJournal(keep=True))
        together = messages(1, 2, 3)
        record = Accepted(together)
        for each in together:
            each.record = record
        desk.spool.add(together)
        desk.bench.engine.promises.records.append(record)
        desk.bench.turn()
        assert record.owed == [(-2, 1, False, (), 1)]
        assert journal_of(desk) == [record]
        again = reborn([*first_life(), *journal_of(desk)], 1 << 20)
        assert again.waiting == payloads(1, 2, 3)
        assert state(again.spool) == state(desk.spool)

    def test_those_that_came_together_without_a_record_have_one_each(self) -> None:
        desk = Desk(MemoryJournal(keep=True))
        together = messages(1, 2, 3)
        desk.spool.add(together)
        desk.bench.turn()
        assert journal_of(desk) == [Owes(each, (-2, 1, False, (), at)) for at, each in enumerate(together, 1)]

    def test_each_change_is_recorded(self) -> None:
        desk = Desk(MemoryJournal(keep=True))
        one = message(b"1")
        desk.add(one)
        desk.normal.born = 2
        desk.spool.jump(desk.normal, 4)
        desk.release(2)
        desk.release(2)
        assert journal_of(desk) == [Owes(one, (-2, 1, False, (), 1)), Skipped(-2, 2), Released(-2, 2)]


def journal_of(desk: Desk) -> list[Record]:
    journal = desk.bench.journal
    assert isinstance(journal, MemoryJournal)
    return [record for _, batch in journal.replay(0) for record in batch]


# -- Past and future ---------------------------------------------------------------------------------------------------

State = list[tuple[str, int, list[tuple[bytes, bytes, int, bool, int, Header | None] | None], int, bool]]


def state(spool: Spool) -> State:
    """All that a later life has to know."""
    return [
        (
            stream.traffic_class,
            stream.first,
            [
                each and (each.topic, each.payload, each.qos, each.retain, each.expires_at, each.header)
                for each in stream.messages
            ],
            stream.bytes,
            stream.full,
        )
        for stream in spool.streams
    ]


def reborn(records: Iterable[Record], max_bytes: int) -> Desk:
    """A spool that is what these records say, by way of bytes."""
    recollection = recollected({1: encode(list(records), 1, {}, 10**9)}, 10**9)
    desk = Desk(MemoryJournal(keep=True), max_bytes)
    desk.spool.restore(recollection.streams)
    desk.bench.turn()
    return desk


steps = st.lists(
    st.tuples(
        st.sampled_from(("add", "add", "add", "value", "late", "send", "release", "strike", "jump")),
        st.sampled_from((ALARM, NORMAL, BULK)),
        st.integers(1, 5),
    ),
    max_size=40,
)
HEADER = Header("text/plain", 1, "answers", b"id", (("a", "b"),), "newest", ("below",))


def go(desk: Desk, steps: list[tuple[str, int, int]], strikes: bool) -> None:
    """Do as `steps` say."""
    spool = desk.spool
    for what, number, count in steps:
        stream = spool.streams[number]
        match what:
            case "add":
                desk.add(*(message(b"%d" % stream.end, TOPICS[number]) for _ in range(count)))
            case "value":
                desk.add(Message(TOPICS[number], b"value", 2, True, HEADER))
            case "late":
                desk.add(message(b"late", TOPICS[number], expires_at=START + count))
            case "send":
                stream.next = min(stream.next + count, stream.safe)
            case "release":
                desk.release(min(stream.first + count, stream.next) - 1, stream)
            case "strike":
                if strikes and stream.messages:
                    spool.strike(stream, stream.first + count % len(stream.messages), START)
            case _:
                spool.jump(stream, stream.end + count)
                desk.bench.turn()


@given(steps)
def test_a_snapshot_is_the_spool(steps: list[tuple[str, int, int]]) -> None:
    desk = Desk(MemoryJournal(keep=True), max_bytes=8 * SIZE)
    go(desk, steps, strikes=True)
    again = reborn(desk.spool.records(), 8 * SIZE)
    assert [stream[:4] for stream in state(again.spool)] == [stream[:4] for stream in state(desk.spool)]
    for stream in again.spool.streams:
        assert (stream.next, stream.safe) == (stream.first, stream.end), "all is safe, and nothing is sent"
        assert stream.full is (stream.bytes >= 8 * SIZE)
    assert again.sink.full is any(stream.full for stream in again.spool.streams)
    assert journal_of(again) == []


@given(steps)
def test_what_was_recorded_as_it_happened_is_the_spool(steps: list[tuple[str, int, int]]) -> None:
    first = reborn([], 1 << 20)
    go(first, steps, strikes=False)
    assert state(reborn(journal_of(first), 1 << 20).spool) == state(first.spool)


@given(steps, steps)
def test_a_new_epoch_is_known_again(before: list[tuple[str, int, int]], after: list[tuple[str, int, int]]) -> None:
    desk = reborn([], 1 << 20)
    go(desk, before, strikes=True)
    desk.bench.engine.promises.records += [Met("centre", "order", "new epoch", ""), *desk.spool.renumber()]
    desk.bench.turn()
    go(desk, after, strikes=False)
    assert state(reborn(journal_of(desk), 1 << 20).spool) == state(desk.spool)


def first_life() -> list[Record]:
    return [StreamRecord(-number, traffic_class, 1) for number, traffic_class in enumerate(CLASSES, 1)]


def test_a_first_life_says_that_its_streams_begin() -> None:
    assert journal_of(reborn([], 1 << 20)) == first_life()


@pytest.mark.parametrize("is_full", [False, True])
def test_a_spool_that_was_full_is_full_again(is_full: bool) -> None:
    desk = Desk(MemoryJournal(keep=True))
    desk.add(*messages(1, 2))
    again = reborn(desk.spool.records(), 2 * SIZE if is_full else 3 * SIZE)
    assert again.normal.full is again.sink.full is is_full
    again.release(2)
    assert again.normal.full is again.sink.full is False


def test_a_commit_from_before_a_new_epoch_makes_nothing_safe() -> None:
    desk = Desk(LateJournal())
    desk.add(*messages(1, 2, 3))
    desk.bench.engine.promises.records += desk.spool.renumber()
    desk.bench.turn()
    desk.bench.commit(1)
    assert desk.send() == []
    desk.bench.commit()
    assert desk.send() == [(1, b"1"), (2, b"2"), (3, b"3")]
