"""TCP over a lossy pipe: the bytes whole and in order, and late by what a real sender would need to notice."""

from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.links.model import DirectionModel
from firmware_sim.links.pipe import MILLISECOND_NS as MS
from firmware_sim.links.pipe import SECOND_NS, Fate
from firmware_sim.links.stream import MAX_SEGMENT_BYTES, SEND_BUFFER_BYTES, StreamPipe
from firmware_sim.links.way import Way

SEGMENT = bytes(MAX_SEGMENT_BYTES)


class Line:
    """A stream with its two ways, driven from deadline to deadline."""

    def __init__(self, seed: int = 1, back: DirectionModel | None = None, **keys: Any) -> None:
        self.there = Way(DirectionModel(**keys), Random(seed))
        self.back = Way(back or DirectionModel(delay_ms=keys.get("delay_ms", 0.0)), Random(seed + 1))
        self.now = 0
        self.arrived: list[tuple[int, bytes]] = []
        self.drained = 0
        self.stream = self.another(self.arrived)

    def another(self, arrived: list[tuple[int, bytes]]) -> StreamPipe:
        def drained() -> None:
            self.drained += 1

        return StreamPipe(self.there, self.back, lambda data, at_ns: arrived.append((at_ns, data)), drained)

    def write(self, data: bytes) -> None:
        self.stream.write(data, self.now)

    def run(self, until_ns: int) -> None:
        while (deadline_ns := self.there.deadline()) is not None and deadline_ns <= until_ns:
            assert deadline_ns >= self.now
            self.now = deadline_ns
            self.there.advance(self.now)
        self.now = until_ns

    def settle(self) -> None:
        """Until nothing is due any more."""
        while (deadline_ns := self.there.deadline()) is not None:
            self.run(deadline_ns)

    def lose(self, data: bytes) -> None:
        """Write `data`, of which all that leaves at once is lost."""
        assert not self.there.pipe.under_way
        self.there.pipe.cut(self.now)
        self.write(data)
        self.there.pipe.heal()

    @property
    def data(self) -> bytes:
        return b"".join(data for _, data in self.arrived)


def test_bytes_take_the_delay_and_come_in_pieces() -> None:
    line = Line(delay_ms=40)
    line.write(b"hello")
    line.write(b"")
    line.write(bytes(3000))
    line.settle()
    assert [(at, len(data)) for at, data in line.arrived] == [(40 * MS, size) for size in (5, 0, 1448, 1448, 104)]


def test_the_bottleneck_sets_the_rate() -> None:
    line = Line(delay_ms=20, rate_kbit=8_000)
    total = 0
    while line.now < 10 * SECOND_NS:
        while line.stream.room():
            line.write(SEGMENT)
        line.run(line.now + 10 * MS)
        total = len(line.data)
    assert total * 8 / 10_000 == pytest.approx(8_000 * 1448 / 1500, rel=0.02)


def test_the_window_opens_round_trip_by_round_trip() -> None:
    line = Line(delay_ms=50)
    line.write(SEGMENT * 70)
    line.settle()
    assert [sum(at == trip * 100 * MS + 50 * MS for at, _ in line.arrived) for trip in range(4)] == [10, 20, 40, 0]


def test_an_idle_sender_learns_nothing_about_the_link() -> None:
    line = Line(delay_ms=50)
    for _ in range(50):
        line.write(SEGMENT)
        line.settle()
    start, before = line.now, len(line.arrived)
    line.write(SEGMENT * 70)
    line.settle()
    assert sum(at == start + 50 * MS for at, _ in line.arrived[before:]) == 10


def test_small_writes_that_wait_share_segments() -> None:
    line = Line(delay_ms=50)
    for _ in range(40):
        line.write(b"0123456789")
    line.settle()
    assert [len(data) for _, data in line.arrived] == [10] * 10 + [300]


def test_a_lost_segment_comes_after_the_timeout() -> None:
    line = Line(delay_ms=40)
    line.write(b"measured")
    line.settle()
    start = line.now
    line.lose(b"lost")
    line.settle()
    assert line.arrived[-1] == (start + 200 * MS + 40 * MS, b"lost")


def test_the_timeout_is_two_round_trips_on_a_long_way() -> None:
    line = Line(delay_ms=300)
    line.write(b"measured")
    line.settle()
    start = line.now
    line.lose(b"lost")
    line.settle()
    assert line.arrived[-1] == (start + 1200 * MS + 300 * MS, b"lost")


def test_before_a_round_trip_is_known_the_timeout_is_a_second() -> None:
    line = Line(delay_ms=10)
    line.lose(b"lost")
    line.settle()
    assert line.arrived == [(1010 * MS, b"lost")]


def test_the_timeout_shrinks_when_the_first_round_trip_is_measured() -> None:
    line = Line(delay_ms=10)
    line.write(b"a")
    line.run(15 * MS)
    line.lose(b"b")
    line.settle()
    assert line.arrived == [(10 * MS, b"a"), (230 * MS, b"b")], "200 ms after the first was acknowledged"


def test_no_round_trip_at_all_is_measured_too() -> None:
    line = Line()
    line.write(b"a")
    line.settle()
    start = line.now
    line.lose(b"b")
    line.settle()
    assert line.arrived[-1] == (start + 200 * MS, b"b")


def test_a_lost_segment_followed_by_others_comes_after_a_round_trip() -> None:
    line = Line(delay_ms=40)
    line.write(b"measured")
    line.settle()
    start = line.now
    line.lose(b"1")
    for data in (b"2", b"3", b"4"):
        line.run(line.now + MS)
        line.write(data)
    line.run(start + 119 * MS)
    assert line.data == b"measured", "what comes later waits"
    line.settle()
    assert line.data == b"measured1234"
    assert {at for at, _ in line.arrived[1:]} == {start + 3 * MS + 80 * MS + 40 * MS}


def test_after_a_cut_it_goes_on_at_the_next_attempt() -> None:
    line = Line(delay_ms=10)
    line.write(b"measured")
    line.settle()
    start = line.now
    line.there.pipe.cut(line.now)
    line.write(b"a")
    line.run(start + 500 * MS)
    line.write(b"b")
    line.run(start + 2000 * MS)
    assert line.there.pipe.fates[Fate.CUT] == 1 + 3, "attempts at 0.2, 0.6 and 1.4 s; what comes later waits"
    line.there.pipe.heal()
    line.settle()
    assert [at - start for at, _ in line.arrived[1:]] == [3010 * MS, 3030 * MS], (
        "the second one when the first is heard"
    )
    assert line.data == b"measuredab"


def test_attempts_grow_rare_but_not_beyond_two_minutes() -> None:
    line = Line()
    line.there.pipe.cut(0)
    line.write(b"a")
    line.run(3600 * SECOND_NS)
    assert line.there.pipe.fates[Fate.CUT] == 1 + 7 + (3600 - 127) // 120
    line.there.pipe.heal()
    line.settle()
    assert line.arrived[0][0] <= 3720 * SECOND_NS


def test_a_silent_way_back_does_not_double_and_ends() -> None:
    line = Line(delay_ms=10)
    line.back.pipe.cut(0)
    for data in (b"a", b"b", b"c"):
        line.write(data)
    line.run(1500 * MS)
    assert line.data == b"abc"
    assert line.there.pipe.carried == 4, "the first one twice: its sender cannot know"
    line.back.pipe.heal()
    line.run(4 * SECOND_NS)
    assert line.data == b"abc"
    assert line.stream.room() == SEND_BUFFER_BYTES, "one attempt later all three are known to have arrived"


def test_doubling_shows_as_nothing_and_overtaking_as_delay() -> None:
    line = Line(delay_ms=10, duplicate=1.0, reorder=0.3, reorder_ms=20)
    for number in range(200):
        line.write(b"%d," % number)
        line.run(line.now + 5 * MS)
    line.settle()
    assert line.data == b"".join(b"%d," % number for number in range(200))


def test_a_full_sender_says_when_there_is_room() -> None:
    line = Line(delay_ms=10)
    line.write(bytes(SEND_BUFFER_BYTES))
    assert line.stream.room() == 0
    line.settle()
    assert line.drained == 1
    assert line.stream.room() == SEND_BUFFER_BYTES
    line.write(b"little")
    line.settle()
    assert line.drained == 1


def test_streams_share_the_bottleneck() -> None:
    line = Line(delay_ms=20, rate_kbit=8_000)
    others: list[list[tuple[int, bytes]]] = [[], [], []]
    streams = [line.another(arrived) for arrived in others]
    while line.now < 20 * SECOND_NS:
        for stream in streams:
            while stream.room():
                stream.write(SEGMENT, line.now)
        line.run(line.now + 10 * MS)
    sizes = [sum(len(data) for _, data in arrived) for arrived in others]
    assert sum(sizes) == pytest.approx(20_000_000 * 1448 / 1500, rel=0.03)
    assert min(sizes) > max(sizes) / 4, "as fair as TCP is"


def test_silence_is_for_ever_and_asks_for_nothing() -> None:
    line = Line(delay_ms=10)
    line.write(b"before")
    line.run(5 * MS)
    line.stream.silence()
    line.write(b"after")
    line.settle()
    assert line.arrived == []
    assert line.there.deadline() is None


models = st.builds(
    DirectionModel,
    delay_ms=st.sampled_from([0.0, 0.3, 300.0]),
    jitter_ms=st.sampled_from([0.0, 50.0]),
    rate_kbit=st.sampled_from([0, 64, 10_000]),
    buffer_kib=st.sampled_from([1, 16]),
    loss=st.sampled_from([0.0, 0.05, 0.4]),
    burst=st.sampled_from([1.0, 4.0]),
    reorder=st.sampled_from([0.0, 0.3]),
    reorder_ms=st.sampled_from([5.0, 500.0]),
    duplicate=st.sampled_from([0.0, 0.3]),
)
acts = st.lists(
    st.tuples(
        st.sampled_from(["write"] * 10 + ["cut", "heal", "cut back", "heal back", "change"]),
        st.integers(0, 600 * MS),
        st.integers(0, 20_000),
        models,
    ),
    max_size=25,
)


@settings(deadline=None)
@given(model=models, back=models, acts=acts, seed=st.integers(0, 100))
def test_whatever_the_link_does_the_bytes_come_whole_and_in_order(
    model: DirectionModel, back: DirectionModel, acts: list[tuple[str, int, int, DirectionModel]], seed: int
) -> None:
    line = Line(seed, back=back)
    line.there.pipe.change(model, 0)
    written = b""
    random = Random(seed)
    for act, gap_ns, size_bytes, other in acts:
        line.run(line.now + gap_ns)
        match act:
            case "write":
                data = random.randbytes(size_bytes)
                written += data
                line.write(data)
            case "cut":
                line.there.pipe.cut(line.now)
            case "heal":
                line.there.pipe.heal()
            case "cut back":
                line.back.pipe.cut(line.now)
            case "heal back":
                line.back.pipe.heal()
            case "change":
                line.there.pipe.change(other, line.now)
        assert written.startswith(line.data)
    line.there.pipe.heal()
    line.back.pipe.heal()
    line.settle()
    assert line.data == written
    assert line.stream.room() == SEND_BUFFER_BYTES
    assert [at for at, _ in line.arrived] == sorted(at for at, _ in line.arrived)
