"""The link model: delay, rate, a bounded buffer, cut and heal, on a clock that the test holds."""

from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.links.pipe import SECOND_NS, Pipe, PipeModel

MS = 1_000_000


def test_delay_alone() -> None:
    pipe: Pipe[str] = Pipe(PipeModel(delay_ns=40 * MS))
    assert pipe.push("a", 100, 0)
    assert pipe.deadline() == 40 * MS
    assert pipe.pop(40 * MS - 1) == []
    assert pipe.pop(41 * MS) == [(40 * MS, "a")]
    assert pipe.deadline() is None
    assert pipe.carried_bytes == 100


def test_rate_spreads_what_comes_at_once() -> None:
    pipe: Pipe[int] = Pipe(PipeModel(delay_ns=10 * MS, rate_bytes_per_s=1000, buffer_bytes=1000))
    for n in range(3):
        assert pipe.push(n, 100, 0)
    assert [arrives for arrives, _ in pipe.pop(SECOND_NS)] == [110 * MS, 210 * MS, 310 * MS]


def test_a_full_buffer_loses_and_counts() -> None:
    pipe: Pipe[int] = Pipe(PipeModel(rate_bytes_per_s=1000, buffer_bytes=250))
    assert [pipe.push(n, 100, 0) for n in range(4)] == [True, True, False, False]
    assert pipe.lost_bytes == 200
    assert pipe.room(0) == 50
    assert pipe.push(4, 100, 100 * MS), "a tenth of a second later the first one is gone"


def test_a_piece_above_the_buffer_passes_an_idle_bottleneck() -> None:
    pipe: Pipe[int] = Pipe(PipeModel(rate_bytes_per_s=1000, buffer_bytes=100))
    assert pipe.push(0, 500, 0)
    assert not pipe.push(1, 1, 0)
    assert pipe.push(2, 1, 0, must=True)


def test_cut_is_silence_and_hands_back_what_was_under_way() -> None:
    pipe: Pipe[str] = Pipe(PipeModel(delay_ns=MS))
    pipe.push("arrived", 1, 0)
    assert pipe.pop(MS)
    pipe.push("under way", 2, MS)
    assert pipe.cut() == [(2, "under way")]
    assert not pipe.push("into silence", 3, MS)
    assert pipe.pop(SECOND_NS) == []
    pipe.heal()
    assert pipe.push("after", 4, SECOND_NS)
    assert pipe.pop(2 * SECOND_NS) == [(SECOND_NS + MS, "after")]
    assert (pipe.carried_bytes, pipe.lost_bytes) == (5, 3)


@given(
    pushes=st.lists(st.tuples(st.integers(0, 50 * MS), st.integers(0, 2000)), max_size=60),
    rate=st.sampled_from([0, 100, 10_000, 1_000_000]),
    delay=st.integers(0, 100 * MS),
)
def test_order_delay_and_rate_hold_for_any_traffic(pushes: list[tuple[int, int]], rate: int, delay: int) -> None:
    pipe: Pipe[int] = Pipe(PipeModel(delay, rate, 4000))
    now, sent = 0, []
    for n, (gap, size) in enumerate(pushes):
        now += gap
        if pipe.push(n, size, now):
            sent.append((n, now, size))
    arrived = pipe.pop(now + 10_000 * SECOND_NS)
    assert [n for _, n in arrived] == [n for n, _, _ in sent]
    assert all(arrives >= at + delay for (arrives, _), (_, at, _) in zip(arrived, sent, strict=True))
    assert [a for a, _ in arrived] == sorted(a for a, _ in arrived)
    assert pipe.carried_bytes + pipe.lost_bytes == sum(size for _, size in pushes)
    if rate and sent:
        span = arrived[-1][0] - delay - sent[0][1]
        assert sum(size for _, _, size in sent) <= rate * span / SECOND_NS + len(sent)
