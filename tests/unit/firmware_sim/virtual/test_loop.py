"""Virtual time: order, timeouts, what is deferred, and a word when nobody will ever wake anybody."""

import asyncio
import gc
import os
import signal
import time
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_sim.virtual.loop import SECOND_NS, Timeline, VirtualLoop, run

DAY_S = 86_400


@given(st.lists(st.integers(0, 20), max_size=30))
def test_the_timeline_is_in_order_and_fair(times: list[int]) -> None:
    timeline = Timeline()
    done: list[tuple[int, int]] = []
    for number, when in enumerate(times):
        timeline.at(timeline.now + when, done.append, (when, number))
    count = 0
    while timeline.next_ns() is not None:
        count += timeline.run()
    assert done == sorted(done), "by time, and at one time as it was put there"
    assert count == len(times)


def test_time_jumps_and_never_goes_back() -> None:
    timeline = Timeline()
    seen: list[int] = []
    timeline.at(timeline.now + 5 * SECOND_NS, lambda: timeline.at(0, lambda: seen.append(timeline.now)))
    timeline.run()
    assert seen == [6 * SECOND_NS], "what is overdue is done now"
    assert timeline.now_ms() == 6000


def test_a_day_takes_no_time() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        seen: list[str] = []

        async def sleeper(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            seen.append(f"{name} {loop.time():g}")

        await asyncio.gather(sleeper("late", DAY_S), sleeper("early", 0.25), sleeper("noon", DAY_S / 2))
        return seen

    began_s = time.monotonic()
    assert run(main) == ["early 1.25", "noon 43201", "late 86401"]
    assert time.monotonic() - began_s < 5


def test_timeouts_of_asyncio_are_in_virtual_time() -> None:
    async def main(loop: VirtualLoop) -> float:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 3600)
        event = asyncio.Event()
        loop.timeline.at(loop.timeline.now + 60 * SECOND_NS, event.set)
        await asyncio.wait_for(event.wait(), 3600)
        return loop.time()

    assert run(main) == 1 + 3600 + 60


def test_calls_tasks_and_the_timeline_take_their_turns() -> None:
    async def main(loop: VirtualLoop) -> list[tuple[str, float]]:
        seen: list[tuple[str, float]] = []

        def note(what: str) -> None:
            seen.append((what, loop.time()))

        loop.timeline.at(3 * SECOND_NS, note, "timeline")
        loop.call_at(2.5, note, "call")
        loop.timeline.at(2 * SECOND_NS, lambda: asyncio.ensure_future(task()))

        async def task() -> None:
            note("task")
            await asyncio.sleep(0.25)
            note("task again")

        await asyncio.sleep(3)
        return seen

    assert run(main) == [("task", 2.0), ("task again", 2.25), ("call", 2.5), ("timeline", 3.0)]


def test_what_is_deferred_comes_after_all_else_of_the_moment_and_once() -> None:
    async def main(loop: VirtualLoop) -> list[str]:
        seen: list[str] = []

        def turn() -> None:
            seen.append(f"turn {loop.time():g}")

        def event(name: str) -> None:
            seen.append(name)
            loop.defer(turn) if name != "second" else None

        loop.timeline.at(2 * SECOND_NS, event, "first")
        loop.timeline.at(2 * SECOND_NS, event, "second")
        loop.timeline.at(3 * SECOND_NS, event, "third")
        await asyncio.sleep(5)
        return seen

    assert run(main) == ["first", "second", "turn 2", "third", "turn 3"]


def test_who_waits_for_what_nobody_will_do_hears_of_it() -> None:
    async def main(loop: VirtualLoop) -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="virtual time has come to an end: somebody waits for what nobody will do"):
        run(main)


def test_a_fault_on_the_timeline_is_no_silence() -> None:
    async def main(loop: VirtualLoop) -> None:
        loop.timeline.at(2 * SECOND_NS, lambda: 1 // 0)
        await asyncio.sleep(10)

    with pytest.raises(ZeroDivisionError):
        run(main)


def test_a_fault_in_what_is_deferred_is_no_silence() -> None:
    async def main(loop: VirtualLoop) -> None:
        loop.defer(lambda: 1 // 0)
        await asyncio.sleep(10)

    with pytest.raises(ZeroDivisionError):
        run(main)


@pytest.mark.parametrize("again", [False, True], ids=["once", "again and again"])
def test_after_a_fault_everybody_may_clean_up_and_nothing_is_left(
    again: bool, caplog: pytest.LogCaptureFixture
) -> None:
    ended: list[str] = []

    async def generate() -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            ended.append("generator")

    async def main(loop: VirtualLoop) -> None:
        timeline = loop.timeline

        def fail() -> None:
            raise ZeroDivisionError

        async def waiting() -> None:
            try:
                await asyncio.Event().wait()
            finally:
                if again:
                    timeline.at(timeline.now + SECOND_NS, fail)
                    await asyncio.Event().wait()
                else:
                    await asyncio.sleep(3)
                    ended.append("task")

        timeline.at(timeline.now + SECOND_NS, fail)
        task, numbers = asyncio.create_task(waiting()), generate()
        assert await anext(numbers) == 1
        try:
            await asyncio.sleep(10)
        finally:
            ended.append("main")
            await task

    with pytest.raises(ZeroDivisionError):
        run(main)
    gc.collect()
    assert ended == (["main", "generator"] if again else ["main", "task", "generator"])
    assert not caplog.records, "nothing was destroyed that waited"


def test_a_signal_is_heard_while_time_flies() -> None:
    async def main(loop: VirtualLoop) -> bool:
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGUSR1, stop.set)
        timeline = loop.timeline

        def again(left: int) -> None:
            if left == 90_000:
                os.kill(os.getpid(), signal.SIGUSR1)
            if left and not stop.is_set():
                timeline.at(timeline.now + 1000, again, left - 1)
            elif left:
                heard.append(left)

        heard: list[int] = []
        again(100_000)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.Event().wait(), 1)
        return bool(heard)

    assert run(main)
