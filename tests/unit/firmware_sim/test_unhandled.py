"""A fault in a callback ends what runs, after it has cleaned up; without one nothing is different."""

import asyncio

import pytest

from firmware_sim.unhandled import or_raise


def fail() -> None:
    raise ZeroDivisionError


async def fail_later() -> None:
    fail()


@pytest.mark.parametrize("where", ["callback", "timer", "task", "twice"])
def test_what_nobody_handles_is_raised_when_all_is_cleaned_up(where: str) -> None:
    done: list[str] = []

    async def work() -> None:
        loop = asyncio.get_running_loop()
        try:
            match where:
                case "callback" | "twice":
                    loop.call_soon(fail)
                case "timer":
                    loop.call_later(0.001, fail)
                case "task":
                    loop.create_task(fail_later()).add_done_callback(lambda _: None)
            await asyncio.sleep(10)
        finally:
            if where == "twice":
                loop.call_soon(fail)
            await asyncio.sleep(0.01)
            done.append("cleaned up")
            if where == "twice":
                raise KeyError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(or_raise(work()))
    assert done == ["cleaned up"]


def test_a_fault_at_the_very_end_is_one() -> None:
    async def work() -> int:
        asyncio.get_running_loop().call_soon(fail)
        await asyncio.sleep(0)
        return 1

    with pytest.raises(ZeroDivisionError):
        asyncio.run(or_raise(work()))


def test_what_is_handled_is_nobody_elses() -> None:
    async def work() -> int:
        return 1

    async def wrong() -> None:
        raise KeyError("mine")

    assert asyncio.run(or_raise(work())) == 1
    with pytest.raises(KeyError, match="mine"):
        asyncio.run(or_raise(wrong()))


def test_who_is_cancelled_is_cancelled() -> None:
    async def whole() -> bool:
        task = asyncio.create_task(or_raise(asyncio.sleep(10)))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        return task.cancelled()

    assert asyncio.run(whole())
