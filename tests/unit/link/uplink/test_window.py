"""How many bytes may be on the way: through a simulated bottleneck, with a rate, a delay and a queue."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.link.uplink.window import (
    FIRST_BYTES,
    LEAST_BYTES,
    LEAST_QUEUED,
    MEMORY_MS,
    MOST_BATCH_BYTES,
    MOST_BYTES,
    MOST_QUEUED,
    Window,
)

MBIT = 125
"""Bytes a millisecond."""
WHOLE = 1 << 30
"""As large as the window lets batches be."""


class Bottleneck:
    """A link that carries `bytes_per_ms`; a batch is answered `round_trip_ms` after its last byte has left.

    What it has no time for yet waits in a queue that loses nothing. There is always something to send, in batches of
    at most `most_bytes`.
    """

    def __init__(
        self, bytes_per_ms: float, round_trip_ms: int, most_bytes: int = WHOLE, window: Window | None = None
    ) -> None:
        self.window = window or Window()
        self.bytes_per_ms = bytes_per_ms
        self.round_trip_ms = round_trip_ms
        self.most_bytes = most_bytes
        self.now = 0
        self.queued = 0.0
        self.longest_queue = 0.0
        self._queue: deque[float] = deque()  # what is left of each batch
        self._answers: deque[int] = deque()

    def run(self, milliseconds: int) -> float:
        """Let time pass; the share of what the link could carry that it did."""
        carried = self.longest_queue = 0.0
        for _ in range(milliseconds):
            while self._answers and self._answers[0] <= self.now:
                self._answers.popleft()
                self.window.answered(self.now)
            self._fill()
            self.now += 1
            carried += self._carry()
            self.longest_queue = max(self.longest_queue, self.queued)
        return carried / (milliseconds * self.bytes_per_ms)

    def _fill(self) -> None:
        window = self.window
        while window.room > 0 or not window.bytes_on_the_way:
            size = min(window.batch_bytes, self.most_bytes)
            window.sent(size, self.now)
            self._queue.append(size)
            self.queued += size

    def _carry(self) -> float:
        room = self.bytes_per_ms
        while self._queue and room > 0:
            part = min(room, self._queue[0])
            room -= part
            self.queued -= part
            self._queue[0] -= part
            if self._queue[0] <= 0:
                self._queue.popleft()
                self._answers.append(self.now + self.round_trip_ms)
        return self.bytes_per_ms - room


MOST_WAITING = MOST_QUEUED + 2 * MOST_BATCH_BYTES
"""What may wait in the bottleneck: what the window lets, a batch that waits for itself, and one that comes on top."""
LINKS = [
    (0.128, 600), (1, 2), (1, 300), (2, 100), (5, 40), (20, 10), (20, 40), (20, 100), (20, 300), (50, 5), (50, 40),
    (50, 100), (50, 300), (100, 1), (100, 5), (100, 40), (100, 100), (100, 300),
]  # fmt: skip


@pytest.mark.parametrize("most_bytes", [600, 4_096, WHOLE])
@pytest.mark.parametrize(("mbit", "round_trip_ms"), LINKS)
def test_it_fills_the_link_and_keeps_the_queue_short(mbit: float, round_trip_ms: int, most_bytes: int) -> None:
    link = Bottleneck(mbit * MBIT, round_trip_ms, most_bytes)
    link.run(25_000 if mbit * round_trip_ms > 10_000 else 10_000)
    assert link.run(5_000) >= 0.95
    assert link.longest_queue <= MOST_WAITING


@pytest.mark.parametrize("most_bytes", [4_096, WHOLE])
@pytest.mark.parametrize(("mbit", "round_trip_ms"), [(1, 300), (2, 100), (20, 40), (20, 100), (50, 40)])
def test_what_always_waits_is_not_taken_for_the_way(mbit: float, round_trip_ms: int, most_bytes: int) -> None:
    """Else the queue would grow by as much each time that the shortest round trip is forgotten."""
    link = Bottleneck(mbit * MBIT, round_trip_ms, most_bytes)
    link.run(5 * MEMORY_MS)
    assert link.run(2 * MEMORY_MS) >= 0.95
    assert link.longest_queue <= MOST_WAITING + MOST_BATCH_BYTES


def test_it_begins_with_what_tcp_sends_at_once_and_grows_quickly() -> None:
    link = Bottleneck(100 * MBIT, 100, 1_000)
    sizes = []
    for _ in range(3):
        link.run(1)
        sizes.append(link.window.bytes_on_the_way)
        link.run(102)
    assert sizes[0] == FIRST_BYTES
    assert sizes[1] >= 1.5 * sizes[0]
    assert sizes[2] >= 1.5 * sizes[1]


def test_a_window_that_is_not_made_use_of_does_not_grow() -> None:
    window = Window()
    for now in range(0, 3_600_000, 1_000):
        window.sent(100, now)
        window.answered(now + 20)
    assert window.size <= 2 * FIRST_BYTES


def test_it_shrinks_when_the_rate_falls_to_a_tenth() -> None:
    link = Bottleneck(20 * MBIT, 40, 4_096)
    link.run(10_000)
    link.bytes_per_ms /= 10
    link.run(5_000)
    assert link.run(5_000) >= 0.95
    assert link.longest_queue <= MOST_QUEUED + MOST_BATCH_BYTES


def test_it_grows_when_the_rate_comes_back() -> None:
    link = Bottleneck(2 * MBIT, 40, 4_096)
    link.run(10_000)
    link.bytes_per_ms *= 10
    link.run(5_000)
    assert link.run(5_000) >= 0.95


def test_the_shortest_round_trip_is_forgotten() -> None:
    """The way has become a longer one: until that is believed, it looks like a queue."""
    link = Bottleneck(20 * MBIT, 10, 4_096)
    link.run(5_000)
    link.round_trip_ms = 200
    assert link.run(MEMORY_MS - 1_000) < 0.9
    link.run(12_000)
    assert link.run(5_000) >= 0.95


def test_a_round_trip_is_believed_for_so_long_and_no_longer() -> None:
    def size_after(pause: int) -> int:
        window = Window()
        window.sent(LEAST_QUEUED, 0)
        window.answered(1)
        now = pause
        for _ in range(20):
            for _ in range(50):
                window.sent(LEAST_BYTES, now)
            now += 100
            for _ in range(50):
                window.answered(now)
        return window.size

    assert size_after(MEMORY_MS - 3_000) == LEAST_BYTES, "a hundred times as long as the shortest: all of it waits"
    assert size_after(MEMORY_MS) > FIRST_BYTES


def test_what_is_held_back_is_let_go_after_a_round_trip() -> None:
    window = Window()
    window.sent(1_000, 0)
    window.answered(10)
    before, now = window.size, MEMORY_MS + 100
    for _ in range(before // 1_000):
        window.sent(1_000, now)
    window.answered(now + 20)
    assert window.size == before - 500 - LEAST_BYTES, "it waited for half of the round trip, with nothing before it"
    assert window.batch_bytes == LEAST_BYTES
    while window.bytes_on_the_way:
        window.answered(now + 30)
    assert window.size < before, "they were sent before"
    window.sent(1_000, now + 40)
    window.answered(now + 55)
    assert window.size == before
    window.sent(1_000, now + MEMORY_MS + 55)
    window.answered(now + MEMORY_MS + 70)
    assert window.size == before, "as short as the one that was found then"


def test_a_new_connection_begins_anew() -> None:
    link = Bottleneck(20 * MBIT, 100, 4_096)
    link.run(5_000)
    window = link.window
    window.restart()
    assert (window.bytes_on_the_way, window.size, window.room) == (0, FIRST_BYTES, FIRST_BYTES)
    window.answered(link.now)  # an answer to what went by the last one is none
    assert (window.bytes_on_the_way, window.size) == (0, FIRST_BYTES)


def test_a_new_connection_may_go_another_way() -> None:
    link = Bottleneck(20 * MBIT, 5, 4_096)
    link.run(5_000)
    link = Bottleneck(20 * MBIT, 200, 4_096, link.window)
    link.window.restart()
    link.run(8_000)
    assert link.run(5_000) >= 0.95


def test_a_slow_link_has_a_least_window() -> None:
    link = Bottleneck(1, 5_000, 4_096)
    for _ in range(60):
        link.run(1_000)
        assert link.window.size >= LEAST_BYTES
        assert link.window.batch_bytes >= LEAST_BYTES


steps = st.lists(
    st.one_of(
        st.tuples(st.just("sent"), st.integers(1, 1 << 24), st.integers(0, 40_000)),
        st.tuples(st.just("answered"), st.just(0), st.integers(0, 40_000)),
        st.tuples(st.just("restart"), st.just(0), st.just(0)),
    )
)


@given(steps)
def test_whatever_is_sent_and_answered_the_books_add_up(steps: list[tuple[str, int, int]]) -> None:
    """Answers beyond what was sent among it."""
    window = Window()
    on_the_way: deque[int] = deque()
    now = 0
    for what, size, later in steps:
        now += later
        if what == "sent":
            on_the_way.append(size)
            window.sent(size, now)
        elif what == "answered":
            before = window.size
            if not on_the_way:
                window.answered(now)
                assert window.size == before
            else:
                on_the_way.popleft()
                window.answered(now)
        else:
            on_the_way.clear()
            window.restart()
        assert window.bytes_on_the_way == sum(on_the_way)
        assert window.room == window.size - window.bytes_on_the_way
        assert LEAST_BYTES <= window.size <= MOST_BYTES
        assert LEAST_BYTES <= window.batch_bytes <= MOST_BATCH_BYTES
