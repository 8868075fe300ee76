"""What was recorded is read again, from files as they are; and what is not there any more is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from queue import SimpleQueue
from threading import Event

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.broker.journal.disks import WHO

from broker.core.message import Header, Message
from broker.core.records import Accepted, Delivery, Outline, Owed, Owes, Record, Routed, Taken, Taking
from broker.journal.archive import Archive
from broker.journal.batches import MOST_HELD, Batches
from broker.journal.codec import DamagedRecordError, encode, outline, split
from broker.journal.disk import DiskJournal
from broker.journal.files import HEADER_BYTES
from broker.journal.frames import HEAD
from broker.journal.places import Places
from broker.journal.reading import Damage, Reading

SHIFT_MS = 1000
HEADER = Header("text/plain", 1, "answers", b"7", (("a", "b"),), "key", ("n1",))


def message(number: int, topic: bytes = b"t", qos: int = 1, **facts: object) -> Message:
    made = Message(topic, b"%d" % number, qos, **facts)  # type: ignore[arg-type]
    made.order = number
    return made


def facts(delivery: Delivery | None) -> tuple[object, ...]:
    assert delivery is not None
    message, *granted = delivery
    return (message.topic, message.payload, message.qos, message.retain, message.header, message.expires_at,
            message.order, *granted)  # fmt: skip


class Life:
    """A journal in a folder, with whoever reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.places = Places()
        self.damages: list[Damage] = []
        self.taken: dict[int, int] = {}
        self.position = 0
        self.committed: SimpleQueue[int] = SimpleQueue()
        self.journal = DiskJournal(
            folder, self.committed.put, print, lambda: None, **WHO, segment_bytes=1 << 12, places=self.places
        )
        self.batches = Batches(folder, self.places, lambda frame, header: SHIFT_MS, self.damages.append)

    def write(self, *records: Record) -> None:
        self.position += 1
        blob = encode(records, self.position, self.taken, SHIFT_MS)
        assert self.journal.append(blob) == self.position
        assert self.committed.get(timeout=10) == self.position  # each batch is a commit

    def close(self) -> None:
        self.journal.close()
        self.batches.close()

    def again(self) -> Batches:
        """What another life finds, that has read the files."""
        places = Places()
        for _ in Reading(self.folder, places=places):
            pass
        return Batches(self.folder, places, lambda frame, header: SHIFT_MS, self.damages.append)


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    life = Life(tmp_path)
    yield life
    life.close()


def test_each_delivery_is_found_by_its_place_and_its_number(life: Life) -> None:
    owed: list[Owed] = [(5, 1, False, (), 41), (6, 2, True, (3, 4), 9)]
    plain = [message(number) for number in (10, 11, 12)]
    rich = message(20, b"u", retain=True, header=HEADER, expires_at=77_000)
    accepted, owes = Accepted(plain, owed=owed), Owes(rich, (6, 1, True, (), 12))
    life.write(Accepted([message(1)], owed=[(5, 1, False, (), 40)]), accepted, owes)
    life.journal.close()
    for batches in (life.batches, life.again()):
        read = batches.delivery
        assert facts(read(accepted.place, 5, 42)) == facts((plain[1], 1, False, ()))
        assert facts(read(accepted.place, 6, 11)) == facts((plain[2], 2, True, (3, 4)))
        assert facts(read(owes.place, 6, 12)) == facts((rich, 1, True, ()))
        for place, recipient, number in (
            (accepted.place, 5, 44), (accepted.place, 5, 40), (accepted.place, 7, 41), (owes.place + 1, 6, 12),
            (accepted.place + (9 << 24), 5, 42), (0, 5, 41),
        ):  # fmt: skip
            assert read(place, recipient, number) is None
    assert life.damages == []


def test_a_message_that_was_taken_over_first_is_where_it_was_then(life: Life) -> None:
    one, two = ([message(0, qos=2) for _ in range(3)] for _ in range(2))
    for number, each in enumerate([*one, *two], 1):
        each.payload, each.topic = b"%d" % number, b"t%d" % number
    life.write(Taken(1, one))
    life.write(Taken(4, two))
    numbers = [2, 3, 4, 6]
    routed = Routed(numbers, [one[1], one[2], two[0], two[2]], owed=[(5, 2, False, (), 1)], order=50)
    life.write(routed)
    last = Routed([1], [one[0]], owed=[(5, 2, False, (), 5)], order=54)
    life.write(last)
    life.journal.close()
    read = life.again().delivery
    deliveries = [read(routed.place, 5, number) for number in (1, 2, 3, 4)] + [read(last.place, 5, 5)]
    found = [facts(delivery)[1] for delivery in deliveries]
    assert found == [b"2", b"3", b"4", b"6", b"1"]
    assert [facts(delivery)[6] for delivery in deliveries] == [50, 51, 52, 53, 54]
    assert list(life.taken) == [5]


@given(st.integers(1, 5), st.sampled_from((1, 0)), st.lists(st.integers(1, 9), max_size=3))
def test_an_outline_says_where_and_how_much_and_whose(count: int, kept: int, sessions: list[int]) -> None:
    messages = [message(7 + index, expires_at=5, header=HEADER) for index in range(count)]
    owed: list[Owed] = [(session, 1, False, (), 3 * session) for session in sessions]
    taken: dict[int, int] = {}
    records: list[Record] = [Accepted(messages, bool(kept), owed), Taken(3, messages)]
    records.append(Routed([*range(3, 3 + count)], messages, bool(kept), owed, order=30))
    rows, _ = split(encode(records, 8, taken))
    size = sum(each.size for each in messages)
    flat = [number for session in sessions for number in (session, 3 * session)]
    first, taking, second = outline(rows, 8)
    numbers = [*range(3, 3 + count)]
    assert first == Outline(8 << 24, count, size, 7, b"t", kept | 1 << 3, flat)
    assert taking == Taking(8 << 24 | 1, 3, count, 0, [], None)
    assert second == Outline(8 << 24 | 2, count, size, 30, b"t" if kept else b"", kept, flat, numbers)
    assert taken == {}


@pytest.mark.parametrize("blob", [b"", b"\1\0\0\0", b"\xff\xff\0\0\x90", b"\1\0\0\0\x91", b"\1\0\0\0\1"])
def test_what_is_no_batch_is_said_to_be_none(blob: bytes) -> None:
    with pytest.raises(DamagedRecordError):
        split(blob)


@pytest.mark.parametrize("rows", [[[]], [[99]], [[1, 2]], [[7, 1]], [["x"]]])
def test_what_is_no_record_is_said_to_be_none(rows: list[list[object]]) -> None:
    with pytest.raises(DamagedRecordError):
        list(outline(rows, 1))


def test_a_batch_that_is_garbled_is_told_once_and_others_are_read(life: Life) -> None:
    records = [Accepted([message(number)], owed=[(5, 1, False, (), number)]) for number in range(1, 9)]
    for record in records:
        life.write(record)
    life.journal.close()
    path = life.folder / "00000001.segment"
    content = bytearray(path.read_bytes())
    content[HEADER_BYTES + HEAD.size + 12] ^= 1
    path.write_bytes(content)
    assert [life.batches.delivery(records[0].place, 5, 1) for _ in range(3)] == [None] * 3
    assert facts(life.batches.delivery(records[1].place, 5, 2))[1] == b"2"
    assert life.damages == [Damage(path.name, HEADER_BYTES, 0, "garbled since it was written")]


def test_a_file_that_is_gone_is_told(life: Life) -> None:
    record = Accepted([message(1)], owed=[(5, 1, False, (), 1)])
    life.write(record)
    life.journal.close()
    (life.folder / "00000001.segment").unlink()
    assert life.batches.delivery(record.place, 5, 1) is None
    assert [damage.reason for damage in life.damages] == ["No such file or directory"]


def test_places_fit_a_file_that_was_set_aside(life: Life) -> None:
    records = [Accepted([message(number)], owed=[(5, 1, False, (), number)]) for number in range(1, 9)]
    for record in records:
        life.write(record)
    life.journal.close()
    path = life.folder / "00000001.segment"
    content = bytearray(path.read_bytes())
    size = (len(content) - HEADER_BYTES) // 8
    for broken in (2, 5):
        content[HEADER_BYTES + broken * size + 40] ^= 1
    path.write_bytes(content)
    read = life.again().delivery
    found = [read(record.place, 5, number) for number, record in enumerate(records, 1)]
    assert [delivery and delivery[0].payload for delivery in found] == [
        None if number in (3, 6) else b"%d" % number for number in range(1, 9)
    ]
    assert (life.folder / "00000001.segment.damaged").exists()


def test_few_batches_are_held(life: Life) -> None:
    records = [Accepted([message(number)], owed=[(5, 1, False, (), number)]) for number in range(1, 20)]
    for record in records:
        life.write(record)
    life.journal.close()
    for number, record in enumerate(records, 1):
        assert life.batches.delivery(record.place, 5, number) is not None
    assert len(life.batches._held) == MOST_HELD


class Loop:
    """Functions that are to be called, in the order in which they came."""

    def __init__(self) -> None:
        self.calls: list[Callable[[], object]] = []
        self.came = Event()

    def call(self, function: Callable[[], object]) -> None:
        self.calls.append(function)
        self.came.set()

    def run(self) -> None:
        assert self.came.wait(10)
        self.came.clear()
        calls, self.calls = self.calls, []
        for function in calls:
            function()


def test_what_is_fetched_comes_on_the_loop_and_what_is_to_be_done_after_it(life: Life) -> None:
    records = [Accepted([message(number)], owed=[(5, 1, False, (), number)]) for number in range(1, 41)]
    for record in records:
        life.write(record)
    life.journal.close()
    loop, done = Loop(), Event()
    archive = Archive(life.batches, loop.call, lambda: life.journal.committed, lambda: life.position + 1)
    archive.wake = lambda: 77
    got: list[tuple[list[bytes], int]] = []

    def arrived(read: Sequence[Delivery | None], now: int) -> None:
        got.append(([each[0].payload for each in read if each is not None], now))

    for start in range(0, 40, 2):
        archive.fetch(5, start + 1, [record.place for record in records[start : start + 2]], arrived)
    archive.do(done.set)
    assert done.wait(10)
    loop.run()
    assert got == [([b"%d" % number, b"%d" % (number + 1)], 77) for number in range(1, 40, 2)]
    archive.close()


def test_what_is_safe_is_told_in_order_and_once() -> None:
    safe, begun, told = 3, 5, []
    archive = Archive(None, print, lambda: safe, lambda: begun)  # type: ignore[arg-type]
    archive.when_safe(lambda: told.append("first"))
    begun = 6
    archive.when_safe(lambda: told.append("second"))
    archive.committed()
    assert told == []
    safe = 5
    archive.committed()
    archive.committed()
    assert told == ["first"]
    archive.postpone(9)
    safe = 8
    archive.committed()
    safe = 9
    archive.committed()
    assert told == ["first", "second"]
