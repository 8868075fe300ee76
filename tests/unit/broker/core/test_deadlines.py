"""One structure for all deadlines: who is due is woken once, and nobody is kept for a time he no longer waits for."""

from __future__ import annotations

import gc
import weakref

from hypothesis import given
from hypothesis import strategies as st

from broker.core.deadlines import MOST_STALE, Deadlines


class Sleeper:
    """Notes when it was woken; sleeps again for `naps`."""

    def __init__(self, *naps: int) -> None:
        self.wake_at = 0
        self.naps = list(naps)
        self.woken: list[int] = []

    def due(self, now: int) -> int | None:
        self.woken.append(now)
        return now + self.naps.pop(0) if self.naps else None


def test_the_sooner_entry_counts_and_the_owner_names_the_next_time() -> None:
    deadlines, sleeper = Deadlines(), Sleeper(50)
    for at in (100, 200, 40):
        deadlines.schedule(sleeper, at)
    assert deadlines.next_at() == 40
    for now in range(0, 300, 10):
        deadlines.run(now)
    assert sleeper.woken == [40, 90]
    assert (deadlines.next_at(), sleeper.wake_at) == (None, 0)


def test_a_late_clock_wakes_everybody_once_in_order() -> None:
    deadlines = Deadlines()
    order: list[int] = []

    class Noting(Sleeper):
        def due(self, now: int) -> int | None:
            order.append(self.naps[0])
            return None

    for at in (30, 10, 20, 10):
        deadlines.schedule(Noting(at), at)
    deadlines.run(1000)
    assert order == [10, 10, 20, 30]


def test_who_withdraws_is_not_woken_and_not_kept() -> None:
    deadlines, stayer = Deadlines(), Sleeper()
    deadlines.schedule(stayer, 10**9)
    references = []
    for _ in range(4 * MOST_STALE):
        sleeper = Sleeper()
        deadlines.schedule(sleeper, 10**8)
        deadlines.withdraw(sleeper)
        deadlines.withdraw(sleeper)
        references.append(weakref.ref(sleeper))
    del sleeper
    gc.collect()
    assert sum(reference() is not None for reference in references) <= 2 * MOST_STALE
    deadlines.run(10**9)
    assert stayer.woken == [10**9]
    assert len(deadlines) == 0


@given(st.lists(st.tuples(st.sampled_from("swr"), st.integers(0, 3), st.integers(1, 50)), max_size=200))
def test_against_a_dictionary(steps: list[tuple[str, int, int]]) -> None:
    deadlines, sleepers, model, now = Deadlines(), [Sleeper() for _ in range(4)], dict[int, int](), 0
    for step, number, amount in steps:
        if step == "s":
            deadlines.schedule(sleepers[number], now + amount)
            model[number] = min(now + amount, model.get(number, now + amount))
        elif step == "w":
            deadlines.withdraw(sleepers[number])
            model.pop(number, None)
        else:
            now += amount
            before = [len(sleeper.woken) for sleeper in sleepers]
            deadlines.run(now)
            woken = {n for n, sleeper in enumerate(sleepers) if len(sleeper.woken) > before[n]}
            assert woken == {n for n, at in model.items() if at <= now}
            model = {n: at for n, at in model.items() if at > now}
        assert (deadlines.next_at() or 0) <= min(model.values(), default=10**9)
