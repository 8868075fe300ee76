"""The part of a fleet that the load generator carries: populations in processes of their own, in step with the others.

Devices of several processes have one account: each process writes a journal of what its devices see, this one too, and
all are read into the fleet's ledger when nothing is in a hurry any more.
"""

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from firmware_sim.bulk import Bulk, BulkConfig, BulkError, Closed, Do, Histogram
from firmware_sim.report.journal import Journal, Journals
from firmware_sim.report.ledger import Ledger
from firmware_sim.report.result import Crowds
from firmware_sim.scenario.file import Scenario
from firmware_sim.scenario.plan import Action
from firmware_sim.scenario.roster import Member

from .world import World, WorldError

T = TypeVar("T")

AHEAD_NS = 1_000_000_000
"""The plan is prepared before it begins: so much ahead it is told when that is."""


class Crowd:
    """All bulk devices of a fleet, a process for each place that they are in. Raises `WorldError`."""

    def __init__(self, world: World, scenario: Scenario, members: Sequence[Member], seed: int, ledger: Ledger) -> None:
        self._world = world
        self._scenario = scenario
        self._seed = seed
        self._ledger = ledger
        self._populations = list(dict.fromkeys(member.traits.population for member in members))
        self.names = frozenset(member.name for member in members)
        """Its devices."""
        self.result: Crowds | None = None
        self.ending = ""
        """Why one of its processes ended though nobody ended it, in words."""
        self._bulks: list[Bulk] = []
        self._journals: Journals | None = None
        self.journal: Journal | None = None
        """Where the fleet's other devices tell what they see; None where there is no crowd."""
        if members:
            self._folder = tempfile.TemporaryDirectory(prefix="oriole-crowd-")
            own = Path(self._folder.name) / "fleet"
            self._file = own.open("wb")
            self._files = [own]
            self.journal = Journal(world.run, self._file, world.clock.now_ns)

    def progress(self) -> str:
        """Devices that are ready, messages sent and received, those of the fleet's other devices among them."""
        assert self.journal is not None
        said = [bulk.progress for bulk in self._bulks if bulk.progress is not None]
        ready = sum(each.ready for each in said)
        sent = self.journal.sent_total + sum(each.sent for each in said)
        received = self.journal.received_total + sum(each.received for each in said)
        return f"{ready} devices in bulk, {sent} sent, {received} received"

    async def open(self, ready_s: float) -> None:
        """Start, and wait until all are connected."""
        places: dict[Callable[[], None] | None, list[str]] = {}
        for name in self._populations:
            places.setdefault(self._world.settle(name), []).append(name)
        for number, (settle, names) in enumerate(places.items(), 1):
            file = Path(self._folder.name) / f"bulk-{number}"
            config = BulkConfig(
                run=self._world.run,
                seed=self._seed,
                scenario=self._scenario,
                doors={name: self._world.doors(name) for name in names},
                journal=str(file),
            )
            bulk = Bulk(settle)
            self._bulks.append(bulk)
            await _told(bulk.start(config))
            self._files.append(file)
            await _told(bulk.wait_until_ready(ready_s + config.count / config.connects_per_s))
        if self._bulks:
            self._journals = Journals(self._ledger, self._files)

    async def begin(self) -> int:
        """Have the plan begin; when, in ns of CLOCK_MONOTONIC, which is a moment ahead. Without devices: 0."""
        if not self._bulks:
            return 0
        at_ns = time.monotonic_ns() + AHEAD_NS
        for bulk in self._bulks:
            await _told(bulk.begin(at_ns))
        return at_ns

    async def act(self, action: Action) -> None:
        """What is done to one of its devices."""
        for bulk in self._bulks:
            if action.to in bulk.names:
                await _told(bulk.do(Do(action.to, action.do, action.values)))

    async def quiet(self) -> None:
        """Say nothing more."""
        for bulk in self._bulks:
            await _told(bulk.quiet())

    async def catch_up(self) -> None:
        """Bring the ledger up to date with what everybody has seen."""
        if self.journal is not None and self._journals is not None:
            flushed_ns = [await _told(bulk.flush()) for bulk in self._bulks]
            self.journal.flush()
            await self._read(self._journals, min(flushed_ns))

    async def close(self, ended_ns: int) -> None:
        """Read the rest, up to `ended_ns`; the processes end."""
        if self.journal is None:
            return
        try:
            closed = await self._close()
            self.journal.close()
            if self._journals is not None:
                await self._read(self._journals, ended_ns)
                self.result = _sum_up(closed, len(self.names))
        finally:
            self._file.close()
            if self._journals is not None:
                self._journals.close()
            self._folder.cleanup()

    async def _close(self) -> list[Closed]:
        """What the processes say at their end."""
        closed = []
        for bulk in self._bulks:
            try:
                closed.append(await bulk.close())
            except BulkError as error:
                self.ending = f"devices in bulk: {error}"
                await bulk.abandon()
        return closed

    async def _read(self, journals: Journals, until_ns: int) -> None:
        for _ in journals.read(until_ns):
            await asyncio.sleep(0)  # messages may still be under way


async def _told(order: Awaitable[T]) -> T:
    try:
        return await order
    except BulkError as error:
        raise WorldError(str(error)) from error


def _sum_up(closed: Sequence[Closed], devices: int) -> Crowds:
    lag, passes = Histogram(), Histogram()
    for each in closed:
        lag.take(each.lag)
        passes.take(each.passes)
    return Crowds(
        client="bulk: Oriole's own MQTT client, many in a process",
        devices=devices,
        lag=lag.summary(),
        passes=passes.summary(),
        cpu_s=sum(each.cpu_s for each in closed),
        resident_mib=sum(each.resident_mib for each in closed),
    )
