"""The part of a fleet that the load generator carries: populations in processes of their own, in step with the others.

Devices of several processes have one account: each process writes a journal of what its devices see, this one too, and
all are read into the fleet's ledger when nothing is in a hurry any more.
"""

import asyncio
import contextlib
import gc
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
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

AHEAD_NS = 1_000_000_000
"""The plan is prepared before it begins: so much ahead it is told when that is."""
CONNECTS_PER_S = 1000.0

T = TypeVar("T")


class Crowd:
    """All bulk devices of a fleet, a process for each place that they are in.

    A process that is gone is noted and left out; what it had written down is still read.
    """

    def __init__(self, world: World, scenario: Scenario, members: Sequence[Member], seed: int, ledger: Ledger) -> None:
        self._world = world
        self._scenario = scenario
        self._seed = seed
        self._ledger = ledger
        self._populations = list(dict.fromkeys(member.traits.population for member in members))
        self.names = frozenset(member.name for member in members)
        """Its devices."""
        self.result: Crowds | None = None
        """What carried them, when all is over; None where nobody can say."""
        self.endings: list[str] = []
        """How processes ended that nobody ended, in words."""
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

    def missing(self) -> str:
        """Who is not ready, in words; empty when all are, as far as they have said."""
        return ", ".join(filter(None, (bulk.missing() for bulk in self._bulks)))

    async def open(self, ready_s: float) -> None:
        """Start, and wait until all are connected. Raises `WorldError`."""
        places: dict[Callable[[], None] | None, list[str]] = {}
        for name in self._populations:
            places.setdefault(self._world.settle(name), []).append(name)
        try:
            for number, (settle, names) in enumerate(places.items(), 1):
                await self._start(Bulk(settle), names, Path(self._folder.name) / f"bulk-{number}")
            within_s = ready_s + len(self.names) / CONNECTS_PER_S
            await asyncio.gather(*(bulk.wait_until_ready(within_s) for bulk in self._bulks))
        except BulkError as error:
            raise WorldError(str(error)) from error
        if self._bulks:
            self._journals = Journals(self._ledger, self._files)

    async def _start(self, bulk: Bulk, populations: list[str], file: Path) -> None:
        config = BulkConfig(
            run=self._world.run,
            seed=self._seed,
            scenario=self._scenario,
            doors={name: self._world.doors(name) for name in populations},
            journal=str(file),
            connects_per_s=CONNECTS_PER_S,
        )
        await bulk.start(config)
        self._bulks.append(bulk)
        self._files.append(file)

    async def begin(self) -> int:
        """Have the plan begin; when, in ns of CLOCK_MONOTONIC, which is a moment ahead. Without devices: 0."""
        if not self._bulks:
            return 0
        at_ns = time.monotonic_ns() + AHEAD_NS
        await self._all(lambda bulk: bulk.begin(at_ns))
        return at_ns

    def act(self, action: Action) -> None:
        """What is done to one of its devices."""
        for bulk in self._bulks:
            if action.to in bulk.names:
                bulk.do(Do(action.to, action.do, action.values))

    def check(self) -> bool:
        """Whether all its processes are still there."""
        for bulk in list(self._bulks):
            try:
                bulk.check()
            except BulkError as error:
                self._gone(bulk, error)
        return not self.endings

    async def quiet(self) -> None:
        """Say nothing more."""
        await self._all(Bulk.quiet)

    async def catch_up(self) -> None:
        """Bring the ledger up to date with what everybody has seen."""
        if self.journal is not None and self._journals is not None and self._bulks:
            flushed_ns = await self._all(Bulk.flush)
            self.journal.flush()
            if flushed_ns:
                await self._read(self._journals, min(flushed_ns))

    async def close(self, ended_ns: int) -> None:
        """Read the rest, up to `ended_ns`; the processes end."""
        if self.journal is None:
            return
        try:
            closed = await self._all(Bulk.close)
            self.journal.close()
            if self._journals is not None:
                await self._read(self._journals, ended_ns)
            if closed and not self.endings:
                self.result = _sum_up(closed, len(self.names))
        finally:
            self.journal.close()
            self._file.close()
            if self._journals is not None:
                self._journals.close()
            await asyncio.gather(*(bulk.abandon() for bulk in self._bulks))
            self._folder.cleanup()

    async def _all(self, order: Callable[[Bulk], Awaitable[T]]) -> list[T]:
        """Have every process do something at once; what those answer that are still there."""
        bulks = list(self._bulks)
        answers = await asyncio.gather(*(order(bulk) for bulk in bulks), return_exceptions=True)
        said: list[T] = []
        for bulk, answer in zip(bulks, answers, strict=True):
            if isinstance(answer, BulkError):
                self._gone(bulk, answer)
                await bulk.abandon()
            elif isinstance(answer, BaseException):
                raise answer
            else:
                said.append(answer)
        return said

    def _gone(self, bulk: Bulk, error: BulkError) -> None:
        self._bulks.remove(bulk)
        populations = dict.fromkeys(name.rpartition("-")[0] for name in sorted(bulk.names))
        self.endings.append(f"{', '.join(populations)} in bulk: {error}")

    async def _read(self, journals: Journals, until_ns: int) -> None:
        with _uncollected():
            for _ in journals.read(until_ns):
                await asyncio.sleep(0)  # messages may still be under way


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector's walks over all that is read, which would take longer every time."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


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
