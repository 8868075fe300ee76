"""The link model packet by packet, on a clock that the test holds: each key alone, all together, a change meanwhile."""

import math
from collections import Counter
from itertools import pairwise
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.links.model import DirectionModel
from firmware_sim.links.pipe import MILLISECOND_NS as MS
from firmware_sim.links.pipe import SECOND_NS, Fate, Pipe

PACKETS = 20_000
FOREVER_NS = 10**18


def new_pipe(seed: int = 1, **keys: Any) -> Pipe[Any]:
    return Pipe(DirectionModel(**keys), Random(seed))


def arrivals(pipe: Pipe[int], packets: int, gap_ns: int = MS) -> list[tuple[int, int]]:
    """Push so many packets of 1000 bytes, one each `gap_ns`; what comes out until all is quiet."""
    for number in range(packets):
        pipe.push(number, 1000, number * gap_ns)
    return pipe.pop(FOREVER_NS)


def within_3_sigma(hits: int, trials: int, share: float) -> bool:
    return abs(hits - trials * share) <= 3 * math.sqrt(trials * share * (1 - share))


def test_delay_is_exact() -> None:
    pipe = new_pipe(delay_ms=40)
    assert pipe.push("a", 100, 0)
    assert pipe.deadline() == 40 * MS
    assert pipe.pop(40 * MS - 1) == []
    assert pipe.pop(41 * MS) == [(40 * MS, "a")]
    assert pipe.deadline() is None
    assert (pipe.carried, pipe.carried_bytes) == (1, 100)


def test_rate_spreads_what_comes_at_once() -> None:
    pipe = new_pipe(delay_ms=10, rate_kbit=8, buffer_kib=1)
    for number in range(3):
        assert pipe.push(number, 100, 0)
    assert pipe.queued_bytes(0) == 300
    assert [arrives for arrives, _ in pipe.pop(SECOND_NS)] == [110 * MS, 210 * MS, 310 * MS]


@pytest.mark.parametrize("rate_kbit", [64, 2_000, 20_000])
def test_rate_is_kept(rate_kbit: int) -> None:
    pipe = new_pipe(rate_kbit=rate_kbit, jitter_ms=1, buffer_kib=64)
    now, arrived = 0, 0
    while now < 20 * SECOND_NS:
        pipe.push(0, 1500, now)
        arrived += 1500 * len(pipe.pop(now))
        now += 1500 * 8_000_000 // rate_kbit // 2  # twice what fits
    assert arrived * 8 / 20_000 == pytest.approx(rate_kbit, rel=0.01)


def test_a_full_buffer_loses_and_counts() -> None:
    pipe = new_pipe(rate_kbit=8, buffer_kib=1)
    assert [pipe.push(number, 400, 0) for number in range(4)] == [True, True, False, False]
    assert (pipe.fates[Fate.FULL], pipe.lost_bytes) == (2, 800)
    assert pipe.push(4, 400, 400 * MS), "by now the first one has left"


def test_a_packet_above_the_buffer_passes_an_idle_bottleneck() -> None:
    pipe = new_pipe(rate_kbit=8, buffer_kib=1)
    assert pipe.push(0, 5000, 0)
    assert not pipe.push(1, 1, 0)


def test_jitter_is_even_and_nothing_overtakes() -> None:
    pipe = new_pipe(delay_ms=20, jitter_ms=10)
    late = [arrives - number * 20 * MS - 20 * MS for arrives, number in arrivals(pipe, PACKETS, 20 * MS)]
    assert 0 <= min(late) < MS / 10
    assert 9.9 * MS < max(late) < 10 * MS
    assert sum(late) / len(late) == pytest.approx(5 * MS, rel=0.02)
    crowded = arrivals(new_pipe(delay_ms=20, jitter_ms=10), 1000)
    assert [number for _, number in crowded] == list(range(1000))


@pytest.mark.parametrize("share", [0.001, 0.05, 0.5])
def test_independent_loss(share: float) -> None:
    pipe = new_pipe(loss=share)
    arrived = [number for _, number in arrivals(pipe, PACKETS)]
    assert within_3_sigma(PACKETS - len(arrived), PACKETS, share)
    assert pipe.fates[Fate.LOST] == pipe.lost == PACKETS - len(arrived)
    pairs = sum(after - before > 2 for before, after in pairwise(arrived))
    assert within_3_sigma(pairs, PACKETS, share**2 * (1 - share)), "how often two or more were lost in a row"


@pytest.mark.parametrize(("share", "burst"), [(0.02, 4.0), (0.1, 10.0), (0.3, 2.0)])
def test_loss_in_bursts(share: float, burst: float) -> None:
    arrived = [number for _, number in arrivals(new_pipe(loss=share, burst=burst), 10 * PACKETS)]
    gaps = [after - before - 1 for before, after in pairwise(arrived) if after - before > 1]
    deviation = math.sqrt(burst * (burst - 1) / len(gaps))  # of the mean of so many geometric lengths
    assert abs(sum(gaps) / len(gaps) - burst) <= 3 * deviation
    bursts = 10 * PACKETS * share / burst
    assert abs(10 * PACKETS - len(arrived) - bursts * burst) <= 3 * burst * math.sqrt(2 * bursts)


def test_a_burst_is_over_when_nothing_has_come_for_a_while() -> None:
    pipe = new_pipe(loss=0.1, burst=20.0)
    arrived = [number for _, number in arrivals(pipe, PACKETS, 200 * MS)]
    assert within_3_sigma(PACKETS - len(arrived), PACKETS, 0.1), "the share stays"
    pairs = sum(after - before > 2 for before, after in pairwise(arrived))
    assert within_3_sigma(pairs, PACKETS, 0.1**2 * 0.9), "and they know nothing of each other"


def test_everything_lost_and_nothing() -> None:
    assert arrivals(new_pipe(loss=1.0), 1000) == []
    assert len(arrivals(new_pipe(loss=0.0, jitter_ms=1), 1000)) == 1000


def test_reordering_overtakes() -> None:
    pipe = new_pipe(reorder=0.1, reorder_ms=2.5)
    arrived = arrivals(pipe, PACKETS)
    numbers = [number for _, number in arrived]
    assert sorted(numbers) == list(range(PACKETS))
    assert [at for at, _ in arrived] == sorted(at for at, _ in arrived)
    held = [number for at, number in arrived if at == number * MS + 2.5 * MS]
    assert within_3_sigma(len(held), PACKETS, 0.1)
    assert pipe.fates[Fate.REORDERED] == len(held)
    place = {number: index for index, number in enumerate(numbers)}
    overtaken = [number for number in held[:-1] if place[number + 1] < place[number] or number + 1 in set(held)]
    assert overtaken == held[:-1], "the next one comes first, unless it is held back too"


def test_duplicates_arrive_twice() -> None:
    pipe = new_pipe(duplicate=0.1, delay_ms=3)
    counts = Counter(number for _, number in arrivals(pipe, PACKETS))
    assert sorted(counts) == list(range(PACKETS))
    doubled = sum(count == 2 for count in counts.values())
    assert within_3_sigma(doubled, PACKETS, 0.1)
    assert pipe.fates[Fate.DUPLICATED] == doubled == counts.total() - PACKETS


def test_cut_is_silence_and_loses_what_was_under_way() -> None:
    pipe = new_pipe(delay_ms=1)
    pipe.push("arrived", 1, 0)
    assert pipe.pop(MS)
    pipe.push("under way", 2, MS)
    pipe.cut(MS)
    assert not pipe.push("into silence", 3, MS)
    assert pipe.pop(SECOND_NS) == []
    pipe.heal()
    assert pipe.push("after", 4, SECOND_NS)
    assert pipe.pop(2 * SECOND_NS) == [(SECOND_NS + MS, "after")]
    assert (pipe.carried_bytes, pipe.lost_bytes, pipe.fates[Fate.CUT]) == (5, 5, 2)


def test_cut_loses_what_was_held_back_too() -> None:
    pipe = new_pipe(reorder=1.0)
    pipe.push("held back", 1, 0)
    pipe.cut(MS)
    assert pipe.fates[Fate.CUT] == 1
    assert pipe.pop(SECOND_NS) == []


def test_a_change_moves_what_waits_and_leaves_what_flies() -> None:
    pipe = new_pipe(delay_ms=100, rate_kbit=8)  # 1000 bytes take a second
    for number in range(3):
        pipe.push(number, 1000, 0)
    pipe.change(DirectionModel(delay_ms=10, rate_kbit=16), 1050 * MS)
    assert pipe.queued_bytes(1050 * MS) == 1950
    pipe.push(3, 1000, 1050 * MS)
    assert pipe.pop(FOREVER_NS) == [(1100 * MS, 0), (1625 * MS, 1), (2125 * MS, 2), (2535 * MS, 3)]


def test_a_change_to_no_bottleneck_empties_it() -> None:
    pipe = new_pipe(rate_kbit=8)
    for number in range(3):
        pipe.push(number, 1000, 0)
    pipe.change(DirectionModel(delay_ms=10), 500 * MS)
    pipe.push(3, 1000, 500 * MS)
    assert pipe.pop(FOREVER_NS) == [(500 * MS, 0), (500 * MS, 1), (500 * MS, 2), (510 * MS, 3)]


def test_a_shorter_wire_lets_nothing_overtake() -> None:
    pipe = new_pipe(delay_ms=100)
    pipe.push("first", 1, 0)
    pipe.change(DirectionModel(delay_ms=1), MS)
    pipe.push("second", 1, MS)
    assert pipe.pop(FOREVER_NS) == [(100 * MS, "first"), (100 * MS, "second")]


def test_a_change_begins_new_chances() -> None:
    pipe = new_pipe()
    assert len(arrivals(pipe, 100)) == 100
    pipe.change(DirectionModel(loss=1.0), SECOND_NS)
    assert not pipe.push(0, 1, SECOND_NS)


def test_one_seed_one_fate() -> None:
    keys: dict[str, Any] = {"delay_ms": 5, "jitter_ms": 5, "loss": 0.1, "burst": 3, "reorder": 0.1, "duplicate": 0.1}
    first, second, other = (arrivals(new_pipe(seed, **keys), 2000) for seed in (1, 1, 2))
    assert first == second
    assert first != other


def test_each_fate_is_told() -> None:
    told: Counter[Fate] = Counter()
    model = DirectionModel(loss=0.1, duplicate=0.1, reorder=0.1, rate_kbit=8_000, buffer_kib=2)
    pipe: Pipe[int] = Pipe(model, Random(1), lambda fate, size_bytes, now_ns: told.update({fate: size_bytes}))
    for number in range(1000):
        pipe.push(number, 1000, number * MS * 9 // 10)
    pipe.cut(SECOND_NS)
    assert {fate: size_bytes // 1000 for fate, size_bytes in told.items()} == pipe.fates
    assert all(pipe.fates.values())


models = st.builds(
    DirectionModel,
    delay_ms=st.sampled_from([0.0, 0.3, 50.0]),
    jitter_ms=st.sampled_from([0.0, 20.0]),
    rate_kbit=st.sampled_from([0, 1, 100, 100_000]),
    buffer_kib=st.sampled_from([1, 64]),
    loss=st.sampled_from([0.0, 0.2, 1.0]),
    burst=st.sampled_from([1.0, 5.0]),
    reorder=st.sampled_from([0.0, 0.2, 1.0]),
    reorder_ms=st.sampled_from([0.0, 15.0]),
    duplicate=st.sampled_from([0.0, 0.2, 1.0]),
)
acts = st.lists(
    st.tuples(
        st.sampled_from(["push"] * 12 + ["pop", "pop", "cut", "heal", "change"]),
        st.integers(0, 30 * MS),
        st.integers(0, 2000),
        models,
    ),
    max_size=80,
)


@given(model=models, acts=acts, seed=st.integers(0, 100))
def test_nothing_is_made_or_lost_unseen(
    model: DirectionModel, acts: list[tuple[str, int, int, DirectionModel]], seed: int
) -> None:
    pipe: Pipe[int] = Pipe(model, Random(seed))
    now, pushed, sizes, popped = 0, {}, 0, []
    for number, (act, gap_ns, size_bytes, other) in enumerate(acts):
        now += gap_ns
        match act:
            case "push":
                pipe.push(number, size_bytes, now)
                pushed[number], sizes = now, sizes + size_bytes
            case "pop":
                deadline_ns = pipe.deadline()
                arrived = pipe.pop(now)
                assert bool(arrived) == (deadline_ns is not None and deadline_ns <= now)
                popped += arrived
            case "cut":
                pipe.cut(now)
                assert pipe.under_way == 0
            case "heal":
                pipe.heal()
            case "change":
                pipe.change(other, now)
        made = len(pushed) + pipe.fates[Fate.DUPLICATED]
        assert made == pipe.carried + pipe.lost + pipe.under_way
        assert pipe.carried == len(popped)
    popped += pipe.pop(now + FOREVER_NS)
    assert pipe.under_way == 0
    assert pipe.deadline() is None
    assert all(at >= pushed[number] for at, number in popped)
    if not pipe.fates[Fate.DUPLICATED]:
        assert pipe.carried_bytes + pipe.lost_bytes == sizes
        assert len({number for _, number in popped}) == len(popped)
    if not pipe.fates[Fate.REORDERED]:
        assert [number for _, number in popped] == sorted(number for _, number in popped)
        assert [at for at, _ in popped] == sorted(at for at, _ in popped)
