"""Sources and asyncio's own business on one loop: neither keeps the other waiting."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from broker.listeners.loop import READABLE, WRITABLE, Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    loop = Loop()
    yield loop
    loop.close()


class Ear:
    """A source at one end of a socket pair; `answer` is called with what it reads, or with nothing if it does not."""

    def __init__(self, loop: Loop, answer: Callable[[bytes], object], reads: bool = True) -> None:
        self.loop = loop
        self.ours, self.theirs = socket.socketpair()
        self.ours.setblocking(False)
        self.answer = answer
        self.reads = reads
        self.events: list[int] = []
        self.faults: list[Exception] = []
        loop.watch(self.ours.fileno(), READABLE, self)

    def ready(self, events: int) -> None:
        self.events.append(events)
        self.answer(self.ours.recv(100) if self.reads else b"")

    def broken(self, error: Exception) -> None:
        self.faults.append(error)

    def end(self) -> None:
        self.loop.watch(self.ours.fileno(), 0, self)
        self.ours.close()
        self.theirs.close()


@pytest.fixture
def ear(loop: Loop) -> Iterator[Callable[..., Ear]]:
    ears: list[Ear] = []

    def make(answer: Callable[[bytes], object], reads: bool = True) -> Ear:
        ears.append(Ear(loop, answer, reads))
        return ears[-1]

    yield make
    for made in ears:
        if made.ours.fileno() >= 0:
            made.end()


def test_what_is_deferred_comes_once_after_all_that_are_ready(loop: Loop, ear: Callable[..., Ear]) -> None:
    order: list[object] = []

    def note(data: bytes) -> None:
        order.append(data)
        loop.defer(lambda: order.append("turn"))

    for data in (b"a", b"b"):
        ear(note).theirs.send(data)
    loop.run_until_complete(asyncio.sleep(0.01))
    assert (sorted(order[:2]), order[2:]) == ([b"a", b"b"], ["turn", "turn"])  # type: ignore[type-var]


def test_what_asyncio_defers_comes_before_the_loop_waits(loop: Loop) -> None:
    done = loop.create_future()
    loop.defer(lambda: done.set_result("turn"))
    assert loop.run_until_complete(asyncio.wait_for(done, 5)) == "turn"


@pytest.mark.parametrize("depth", [1, 2, 5, 20])
def test_what_is_deferred_may_defer(loop: Loop, depth: int) -> None:
    """Each in a pass of its own, none of which waits for somebody else."""
    done = loop.create_future()

    def again(left: int) -> None:
        if left:
            loop.defer(lambda: again(left - 1))
        else:
            done.set_result(None)

    loop.call_soon(again, depth)
    began = loop.time()
    loop.run_until_complete(asyncio.wait_for(done, 5))
    assert loop.time() - began < 1


def test_a_source_that_is_always_ready_starves_nobody(loop: Loop, ear: Callable[..., Ear]) -> None:
    served = 0

    def count(_: bytes) -> None:
        nonlocal served
        served += 1

    ear(count, reads=False).theirs.send(b"never read")

    async def business() -> bytes:
        """A timer, a task, another thread, a socket of asyncio's own."""
        await asyncio.sleep(0.01)
        await asyncio.create_task(asyncio.sleep(0))
        await loop.run_in_executor(None, threading.Event().is_set)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            ours.setblocking(False)
            theirs.send(b"x")
            return await loop.sock_recv(ours, 1)

    assert loop.run_until_complete(asyncio.wait_for(business(), 5)) == b"x"
    assert served > 10


@pytest.mark.parametrize("way", ["call_soon", "call_later", "task", "defer", "stop"])
def test_a_source_gives_asyncio_something_to_do(loop: Loop, ear: Callable[..., Ear], way: str) -> None:
    """While nothing else would end its wait."""
    done = asyncio.Event()

    async def task() -> None:
        done.set()

    ways: dict[str, Callable[[], object]] = {
        "call_soon": lambda: loop.call_soon(done.set),
        "call_later": lambda: loop.call_later(0.001, done.set),
        "task": lambda: tasks.append(loop.create_task(task())),
        "defer": lambda: loop.defer(lambda: loop.call_soon(done.set)),
        "stop": loop.stop,
    }
    tasks: list[asyncio.Task[None]] = []
    listening = ear(lambda data: ways[way]())
    if way == "stop":
        listening.theirs.send(b"x")
        loop.run_forever()
    else:
        waiting = loop.create_task(done.wait())
        loop.call_later(0.01, listening.theirs.send, b"x")
        assert loop.run_until_complete(waiting)
    assert listening.events == [READABLE]


def test_a_signal_is_heard(loop: Loop) -> None:
    done = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, done.set)
    killing = threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGUSR1))
    killing.start()
    assert loop.run_until_complete(asyncio.wait_for(done.wait(), 5))
    killing.join()
    loop.remove_signal_handler(signal.SIGUSR1)


def test_a_source_that_fails_is_reported_and_the_others_go_on(loop: Loop, ear: Callable[..., Ear]) -> None:
    reports: list[Any] = []
    heard: list[bytes] = []
    loop.set_exception_handler(lambda _, context: reports.append(context["exception"]))

    def fail(data: bytes) -> None:
        loop.defer(lambda: 1 / 0)
        raise ValueError(data)

    ears = [ear(answer) for answer in (fail, heard.append, fail, heard.append)]
    for one in ears:
        one.theirs.send(b"x")
    loop.run_until_complete(asyncio.sleep(0.01))
    assert [len(one.faults) for one in ears] == [1, 0, 1, 0]
    assert heard == [b"x", b"x"]
    assert [type(error) for error in reports] == [ValueError, ValueError, ZeroDivisionError, ZeroDivisionError]


def test_a_source_that_another_ended_is_not_served(loop: Loop, ear: Callable[..., Ear]) -> None:
    def end_the_other(_: bytes) -> None:
        for one in ears:
            if not one.events:
                one.end()

    ears = [ear(end_the_other) for _ in range(2)]
    for one in ears:
        one.theirs.send(b"x")
    loop.run_until_complete(asyncio.sleep(0.01))
    assert sorted(len(one.events) for one in ears) == [0, 1]


def test_events_are_those_that_were_asked_for(loop: Loop, ear: Callable[..., Ear]) -> None:
    listening = ear(lambda data: None, reads=False)
    number = listening.ours.fileno()
    listening.theirs.send(b"x")
    for events in (WRITABLE, READABLE, READABLE | WRITABLE, 0):
        listening.events.clear()
        loop.watch(number, events, listening)
        loop.run_until_complete(asyncio.sleep(0.005))
        assert set(listening.events) == ({events} if events else set())
    loop.watch(number, 0, listening)  # twice is no error


def test_nothing_stays_open() -> None:
    before = sorted(Path("/proc/self/fd").iterdir())
    loop = Loop()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert sorted(Path("/proc/self/fd").iterdir()) == before
