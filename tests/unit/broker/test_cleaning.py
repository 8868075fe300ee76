"""Old segments go when what lives is on the disk behind them, and not when that is only promised."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import pytest

from broker import cleaning
from broker.core.message import Message
from broker.core.promises import JournalError
from broker.journal import durable
from broker.journal.durable import DurableJournal
from broker.journal.files import numbers
from broker.listeners.loop import Loop
from broker.node import Node
from oriole.config import BrokerConfig
from oriole.data_dir import DataDir

WITHIN_S = 10


@pytest.fixture
def data(tmp_path: Path) -> Iterator[DataDir]:
    with DataDir(tmp_path) as data:
        yield data


def live(data: DataDir, work: Callable[[Node], Awaitable[None]], **options: str) -> None:
    """A life of a node, without listeners."""
    loop = Loop()

    async def run() -> None:
        node = Node(BrokerConfig(**options), loop, data)  # type: ignore[arg-type]
        try:
            async with asyncio.timeout(WITHIN_S):
                await work(node)
        finally:
            await node.leave()

    try:
        loop.run_until_complete(run())
    finally:
        loop.close()


async def nothing(node: Node) -> None:
    """A life that leaves a segment."""


def bases(data: DataDir) -> list[int]:
    return numbers(data.path / "journal", "base")


def test_history_goes_when_somebody_asks_for_it(data: DataDir) -> None:
    async def clean(node: Node) -> None:
        await node.cleaner.clean()
        assert bases(data) == [2]
        await asyncio.gather(node.cleaner.clean(), node.cleaner.clean())
        assert bases(data) == [4]

    live(data, nothing)
    live(data, clean)


def test_a_relaxed_journal_keeps_its_files_until_the_disk_has_what_replaces_them(
    data: DataDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(durable, "RELAXED_S", 0.5)
    monkeypatch.setattr(cleaning, "BEHIND_S", 0.01)
    found: list[tuple[int, int]] = []

    def forget(journal: DurableJournal, upto: int, done: Callable[[OSError | None], None]) -> None:
        found.append((journal.reach.position, journal.appended))
        done(None)

    monkeypatch.setattr(DurableJournal, "forget", forget)

    async def clean(node: Node) -> None:
        assert node.journal is not None
        for payload in (b"committed at once", b"waits for the next commit"):
            node.router.publish(Message(b"t", payload, 1, retain=True), node.host.now())
            node.host.turn()
            await asyncio.sleep(0.05)
        await node.cleaner.clean()

    live(data, clean, durability="relaxed")
    assert [on_disk == promised for on_disk, promised in found] == [True]


def test_a_disk_that_fails_keeps_the_old_files_and_says_so(data: DataDir, monkeypatch: pytest.MonkeyPatch) -> None:
    def forget(_: DurableJournal, upto: int, done: Callable[[OSError | None], None]) -> None:
        done(OSError("input/output error"))

    monkeypatch.setattr(DurableJournal, "forget", forget)

    async def clean(node: Node) -> None:
        with pytest.raises(JournalError, match="input/output error"):
            await node.cleaner.clean()
        assert bases(data) == []

    live(data, nothing)
    live(data, clean)


@pytest.mark.parametrize("when", ["before it begins", "under way"])
def test_a_disk_that_takes_nothing_keeps_the_old_files(
    data: DataDir, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    monkeypatch.setattr(cleaning, "BEHIND_S", 0.01)

    async def clean(node: Node) -> None:
        assert node.journal is not None
        if when == "under way":
            cleaned = asyncio.ensure_future(node.cleaner.clean())
            await asyncio.sleep(0)
        node.journal._is_void = True  # as after a failure
        if when != "under way":
            cleaned = asyncio.ensure_future(node.cleaner.clean())
        await asyncio.wait((cleaned,))
        error = cleaned.exception()
        assert isinstance(error, JournalError)
        assert str(error).endswith("make room first" if when != "under way" else cleaning.NOT_TAKEN)
        node.journal._is_void = False
        await asyncio.sleep(0.1)
        assert bases(data) == []
        await node.cleaner.clean()  # with room, it works again
        assert len(bases(data)) == 1

    live(data, nothing)
    live(data, clean)
