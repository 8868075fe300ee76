"""A queue is a list, wherever its entries are: in memory, on the disk, or on their way from one to the other."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.core import queue
from broker.core.message import Message
from broker.core.queue import Queue
from broker.core.records import Accepted, Delivery, place_of, position_of

RECIPIENT = 7


@pytest.fixture(autouse=True, scope="module")
def little_memory() -> Iterator[None]:
    """Two messages fill a head, three are kept for who is there, and three are read at once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(queue, "HEAD_BYTES", 500)
        patch.setattr(queue, "KEEP_BYTES", 900)
        patch.setattr(queue, "PORTION_BYTES", 900)
        patch.setattr(queue, "MOST_DONE", 3)
        yield


class Disk:
    """Keeps batches, says so late, and reads late: when told to."""

    def __init__(self) -> None:
        self.records: dict[int, tuple[int, Accepted]] = {}
        self.lost: set[int] = set()
        self.position = 0
        self.safe = 0
        self.is_telling = False
        self._tells: list[tuple[int, Callable[[], None]]] = []
        self._wanted: list[tuple[int, Sequence[int], Any]] = []

    def write(self, first: int, deliveries: Sequence[Delivery]) -> Accepted:
        """A batch with one record, of deliveries no. `first` and on."""
        self.position += 1
        record = Accepted([delivery[0] for delivery in deliveries], place=place_of(self.position, 3))
        self.records[record.place] = first, record
        return record

    @property
    def begun(self) -> int:
        return self.position + self.is_telling  # nothing is recorded while it tells

    def when_safe(self, tell: Callable[[], None]) -> None:
        self._tells.append((self.begun, tell))

    def fetch(self, recipient: int, first: int, places: Sequence[int], arrived: Any) -> None:
        assert recipient == RECIPIENT
        assert all(position_of(place) <= self.safe for place in places), "it is not on the disk yet"
        self._wanted.append((first, places, arrived))

    def commit(self, position: int) -> None:
        self.safe = max(self.safe, min(position, self.position))
        told = [tell for at, tell in self._tells if at <= self.safe]
        self._tells = [each for each in self._tells if each[0] > self.safe]
        self.is_telling = True
        for tell in told:
            tell()
        self.is_telling = False

    def arrive(self) -> None:
        wanted, self._wanted = self._wanted, []
        for first, places, arrived in wanted:
            arrived([self.read(place, number) for number, place in enumerate(places, first)], 5)

    def read(self, place: int, number: int) -> Delivery | None:
        first, record = self.records[place]
        return None if number in self.lost else delivery(record.messages[number - first])


def delivery(message: Message) -> Delivery:
    return message, 1, False, ()


def message(number: int) -> Message:
    return Message(b"t", b"%d" % number * (number % 5), 1)


class Story:
    """A queue, its disk, and the list that it has to be."""

    def __init__(self) -> None:
        self.disk = Disk()
        self.moments: list[int] = []
        self.queue = Queue(self.moments.append, self.disk, RECIPIENT)
        self.next = self.queue.end = 41
        self.model: list[Delivery] = []

    def append(self, count: int) -> None:
        deliveries = [delivery(message(number)) for number in range(self.next, self.next + count)]
        self.queue.append(deliveries, self.next, self.disk.write(self.next, deliveries))
        self.model += deliveries
        self.next += count

    def pop(self, count: int) -> None:
        for _ in range(count):
            if self.queue.is_ready:
                self.taken(self.queue.pop())

    def taken(self, delivery: Delivery | None) -> None:
        number = self.next - len(self.model)
        expected = self.model.pop(0)
        if delivery is None:
            assert number in self.disk.lost
        else:
            assert delivery[0].payload == expected[0].payload

    def put_back(self) -> None:
        if self.queue.head and self.queue.head[0] is not None:
            self.queue.put_back([self.queue.pop()], self.next)  # type: ignore[list-item]

    def commit(self, batches: int) -> None:
        self.disk.commit(self.disk.safe + batches)

    def arrive(self) -> None:
        self.disk.arrive()

    def come(self, is_awaited: bool) -> None:
        self.queue.is_awaited = is_awaited
        self.queue.spill()

    def rewrite(self, skip: int, count: int) -> None:
        """Some of what waits is recorded once more."""
        first = self.next - len(self.model) + skip
        deliveries = self.model[skip : skip + count]
        if deliveries:
            self.queue.note(first, len(deliveries), self.disk.write(first, deliveries))

    def clean(self) -> None:
        """All that waits is recorded once more, and what was before that goes."""
        before = self.disk.position

        def forget() -> None:
            self.disk.arrive()  # what was asked for earlier is read before that
            self.disk.records = {at: each for at, each in self.disk.records.items() if position_of(at) > before}

        for skip in range(0, len(self.model), 4):
            self.rewrite(skip, 4)
        self.disk.when_safe(forget)
        for position in range(self.disk.safe, self.disk.position + 1):
            self.disk.commit(position)

    def lose(self, skip: int) -> None:
        self.disk.lost.add(self.next - len(self.model) + skip)

    def check(self) -> None:
        queue = self.queue
        assert len(queue) == len(self.model)
        assert (queue.first, queue.end) == (self.next - len(self.model), self.next)
        size = sum(each[0].size for each in self.model)
        assert queue.bytes >= size if self.disk.lost else queue.bytes == size
        memory = dict(queue.in_memory())
        assert len(self.model) - len(memory) - len(self.disk.lost) <= queue.unseen
        for number, expected in enumerate(self.model, queue.first):
            if number in self.disk.lost:
                continue
            (held,) = queue.held(number, 1) or [None]
            assert held == memory.get(number)
            if held is None:
                (place,) = queue.places(number, 1)
                assert position_of(place) <= self.disk.safe
                held = self.disk.read(place, number)
            assert held is not None
            assert held[0].payload == expected[0].payload

    def finish(self) -> None:
        for _ in range(3 * len(self.model) + 3):
            self.commit(1000)
            self.arrive()
            self.pop(1)
        assert (len(self.model), len(self.queue), self.queue.bytes) == (0, 0, 0)


small = st.integers(1, 6)
steps = st.one_of(
    st.tuples(st.just("append"), small),
    st.tuples(st.just("append"), small),
    st.tuples(st.just("pop"), small),
    st.tuples(st.just("put_back")),
    st.tuples(st.just("commit"), small),
    st.tuples(st.just("arrive")),
    st.tuples(st.just("come"), st.booleans()),
    st.tuples(st.just("rewrite"), st.integers(0, 8), small),
    st.tuples(st.just("clean")),
)


@given(st.lists(steps, max_size=40))
def test_it_is_a_list(script: list[tuple[Any, ...]]) -> None:
    story = Story()
    for verb, *rest in script:
        getattr(story, verb)(*rest)
        story.check()
    story.finish()


@given(st.lists(st.one_of(steps, st.tuples(st.just("lose"), st.integers(0, 8))), max_size=40))
def test_what_cannot_be_read_leaves_its_number_and_the_rest_goes_on(script: list[tuple[Any, ...]]) -> None:
    story = Story()
    for verb, *rest in script:
        getattr(story, verb)(*rest)
        story.check()
    story.finish()


def test_what_is_on_the_disk_leaves_memory_when_nobody_waits_for_it() -> None:
    story = Story()
    for _ in range(20):
        story.append(1)
    assert story.queue.unseen == 0, "the journal may lose it yet"
    story.commit(10)
    assert (story.queue.unseen, len(story.queue)) == (8, 20)
    story.commit(10)
    assert (story.queue.unseen, len(story.queue.head)) == (18, 2)


def test_for_a_recipient_that_is_there_some_of_it_stays() -> None:
    story = Story()
    story.come(True)
    for _ in range(20):
        story.append(1)
    story.commit(20)
    kept = 20 - len(story.queue.head) - story.queue.unseen
    assert 0 < kept < 16
    story.come(False)
    assert story.queue.unseen == 20 - len(story.queue.head)


def test_what_went_to_the_head_without_leaving_memory_leaves_no_place_behind() -> None:
    story = Story()
    story.come(True)
    for _ in range(5):
        story.append(1)
    story.commit(5)
    story.pop(3)
    for _ in range(3):
        story.append(1)
    story.come(False)
    story.check()
    story.finish()


def test_what_is_asked_for_comes_before_the_head_is_empty_and_once() -> None:
    story = Story()
    story.append(2)
    for _ in range(9):
        story.append(1)
    story.commit(20)
    story.pop(1)
    story.pop(1)
    assert not story.queue.is_ready
    story.arrive()
    assert story.moments == [5]
    assert story.queue.is_ready
    story.finish()


def test_when_a_commit_is_told_all_places_up_to_there_are_known() -> None:
    story = Story()
    for _ in range(6):
        story.append(1)
    for batches in range(1, 7):
        story.commit(1)
        assert story.queue.unseen == max(0, batches - len(story.queue.head))
    story.clean()
    story.check()
    story.finish()


def test_what_comes_too_late_is_nobodys() -> None:
    story = Story()
    for _ in range(9):
        story.append(1)
    story.commit(20)
    story.pop(3)
    story.queue.clear()
    story.arrive()
    assert (len(story.queue), story.queue.bytes, story.moments) == (0, 0, [])


def test_without_an_archive_all_stays_in_memory() -> None:
    queue = Queue(lambda now: None)
    deliveries = [delivery(message(number)) for number in range(50)]
    for each in deliveries:
        queue.append([each])
    assert [each for _, each in queue.in_memory()] == deliveries
    assert [queue.pop() for _ in deliveries if queue.is_ready] == deliveries


def test_a_queue_may_begin_on_the_disk() -> None:
    story = Story()
    deliveries = [delivery(message(number)) for number in range(41, 51)]
    record = story.disk.write(41, deliveries)
    story.commit(1)
    story.queue.recall(array("Q", [record.place] * 10), 51, sum(each[0].size for each in deliveries))
    story.model, story.next = deliveries, 51
    story.check()
    story.append(3)
    story.check()
    assert not story.queue.is_ready
    story.arrive()
    assert story.queue.is_ready
    story.finish()
