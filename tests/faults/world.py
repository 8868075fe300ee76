"""Plays a schedule with a real broker and real connections, and has it checked."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from faults import schedule
from faults.broker import Options
from faults.checker import Findings, Sent, check, missing, told, wrongly_retained
from faults.clients import Publisher, Subscriber
from faults.process import BrokerProcess
from faults.schedule import BROKER, Fault, Schedule
from oriole.wire.mqtt import V5

PATIENCE_S = 8.0
"""What has not come is lost when nothing else came for so long."""
MUTANT_PATIENCE_S = 2.0
"""The same of a broker that is to lose something."""
MOST_DRAIN_S = 60.0
"""From the last fault until everybody has everything, at most."""
QUIET_S = 0.3
"""What comes so long after all that had to come would be one too many."""
SMALL_DISK = "24m"


class Outcome(msgspec.Struct):
    """What came of a schedule: counts, what was found, and what was done when."""

    seed: int
    mutant: str
    acknowledged: int
    refused: int
    seen: int
    restarts: int
    faults: dict[str, int]
    lost: list[str]
    doubled: list[str]
    disordered: list[str]
    other: list[str]
    incidents: list[str]

    @property
    def found(self) -> list[str]:
        """All that was found, the worst first."""
        return self.lost + self.doubled + self.disordered + self.other

    @property
    def is_clean(self) -> bool:
        """Whether nothing was found."""
        return not self.found


async def play(plan: Schedule, folder: Path, mutant: str = "") -> Outcome:
    """Run a schedule in an empty folder, which is left as the run left it."""
    with _disk(plan, folder):
        world = World(plan, folder, mutant)
        try:
            return await world.run()
        finally:
            await world.broker.kill()


@contextmanager
def _disk(plan: Schedule, folder: Path) -> Iterator[None]:
    """The data folder; a small disk of its own where it is to get full, which is copied in the end."""
    data = folder / "data"
    data.mkdir()
    if plan.disk != "small":
        yield
        return
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={SMALL_DISK}", "none", data], check=True)
    try:
        yield
        shutil.copytree(data, folder / "copy")
    finally:
        subprocess.run(["umount", "--lazy", data], check=True)


class World:
    """One run."""

    def __init__(self, plan: Schedule, folder: Path, mutant: str) -> None:
        self._plan = plan
        self._data = folder / "data"
        self._mutant = mutant
        self._patience_s = MUTANT_PATIENCE_S if mutant else PATIENCE_S
        self._began = time.monotonic()
        self._incidents: list[tuple[float, str]] = []
        self._done: Counter[str] = Counter()
        self._is_full = False
        loses_power = plan.loses_power or mutant == "nosync"
        self.broker = BrokerProcess(folder, Options(plan.seed, plan.segment_bytes, plan.commit_ms, loses_power, mutant))
        self.publishers = [Publisher(each, self._port, self.clock, self._chance(each)) for each in plan.publishers]
        self.subscribers = [Subscriber(each, self._port, self.clock, self._chance(each)) for each in plan.subscribers]

    def clock(self) -> float:
        """Seconds since the run began."""
        return time.monotonic() - self._began

    def _chance(self, peer: schedule.Publisher | schedule.Subscriber) -> random.Random:
        return random.Random(f"{self._plan.seed} {peer.name}")

    def _port(self) -> int | None:
        return self.broker.port

    def _note(self, what: str) -> None:
        self._incidents.append((self.clock(), what))

    @property
    def _sent(self) -> list[Sent]:
        return [message for publisher in self.publishers for message in publisher.sent]

    # ---- From the beginning to the end

    async def run(self) -> Outcome:
        """Everything."""
        if not await self.broker.start():
            raise RuntimeError(f"the broker does not start: see {self.broker.folder / 'stderr'}")
        peers = [*self.publishers, *self.subscribers]
        async with _tasks(peer.live() for peer in peers):
            async with asyncio.timeout(PATIENCE_S):
                for subscriber in self.subscribers:
                    await subscriber.is_subscribed.wait()
            self._began = time.monotonic()
            for subscriber in self.subscribers:  # these were granted before the run began
                subscriber.notes.granted = {filter: (qos, 0.0) for filter, (qos, _) in subscriber.notes.granted.items()}
            async with _tasks(publisher.speak() for publisher in self.publishers):
                await self._suffer()
            self._note("all is well from here on")
            unfinished = await self._drain()
            retained = await self._retained()
        findings = check(self._sent, [subscriber.notes for subscriber in self.subscribers], retained, self._between)
        findings.other += unfinished + self.broker.deaths
        for peer in peers:
            findings.other += peer.complaints
        return self._outcome(findings)

    def _outcome(self, findings: Findings) -> Outcome:
        acknowledged = sum(message.acknowledged_s is not None for message in self._sent)
        return Outcome(
            seed=self._plan.seed,
            mutant=self._mutant,
            acknowledged=acknowledged,
            refused=len(self._sent) - acknowledged,
            seen=sum(len(subscriber.notes.seen) for subscriber in self.subscribers),
            restarts=self.broker.lives - 1,
            faults=dict(self._done),
            incidents=[f"{at:.3f} s: {what}" for at, what in self._incidents],
            **asdict(findings),
        )

    def _between(self, begin_s: float, end_s: float) -> str:
        """The faults around a span of time: the last before it, those in it, and the first after it."""
        before = [each for each in self._incidents if each[0] < begin_s][-1:]
        within = [each for each in self._incidents if begin_s <= each[0] <= end_s][-4:]
        after = [each for each in self._incidents if each[0] > end_s][:1]
        return "around it " + "; ".join(f"{what} at {at:.3f} s" for at, what in before + within + after)

    async def _drain(self) -> list[str]:
        """Until everybody has everything, or nothing comes any more; what is not answered."""
        ends = self.clock() + MOST_DRAIN_S
        progress, moved_s = -1, self.clock()
        while self.clock() < min(ends, moved_s + self._patience_s):
            await asyncio.sleep(0.05)
            if self.broker.is_dead:
                await self._revive()
            if self._progress() != progress:
                progress, moved_s = self._progress(), self.clock()
            elif self.clock() - moved_s > QUIET_S and self._is_complete():
                break
        return [f"no answer to {told(message)}" for publisher in self.publishers for message in publisher.unanswered]

    def _progress(self) -> int:
        """Grows while there is any."""
        seen = sum(len(subscriber.notes.seen) for subscriber in self.subscribers)
        return seen - sum(len(publisher.unanswered) for publisher in self.publishers)

    def _is_complete(self) -> bool:
        sent = self._sent
        is_answered = not any(publisher.unanswered for publisher in self.publishers)
        return is_answered and not any(missing(sent, subscriber.notes) for subscriber in self.subscribers)

    async def _retained(self) -> dict[str, bytes]:
        """What a newcomer gets."""
        newcomer = Subscriber(
            schedule.Subscriber("newcomer", V5, (("r/#", 1),), 20), self._port, self.clock, random.Random(0)
        )
        found: dict[str, bytes] = {}
        patient_until = self.clock() + self._patience_s
        async with _tasks([newcomer.live()]):
            while self.clock() < patient_until:
                await asyncio.sleep(QUIET_S)
                found = {seen.topic: seen.payload for seen in newcomer.notes.seen}
                if newcomer.notes.granted and not any(wrongly_retained(self._sent, found, self._between)):
                    break
        return found

    # ---- What is done to them

    async def _suffer(self) -> None:
        """All faults: one after the other to the broker, whenever they come to clients."""
        to_broker = [fault for fault in self._plan.faults if fault.whom == BROKER]
        to_clients = [fault for fault in self._plan.faults if fault.whom != BROKER]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._strike_broker(to_broker))
            for fault in to_clients:
                group.create_task(self._strike_client(fault))
            group.create_task(asyncio.sleep(self._plan.duration_s))

    async def _wait_for(self, at_s: float) -> None:
        await asyncio.sleep(max(0, at_s - self.clock()))

    async def _strike_client(self, fault: Fault) -> None:
        await self._wait_for(fault.at_s)
        peer = next(peer for peer in (*self.publishers, *self.subscribers) if peer.name == fault.whom)
        self._done[fault.kind] += 1
        self._note(f"{fault.kind} ({fault.whom})")
        match fault.kind:
            case "cut":
                peer.cut()
            case "cut mid-packet":
                peer.cut_mid_packet(fault.strength)
            case "deaf":
                await peer.be_deaf(fault.for_s)
            case "pause":
                await peer.pause(fault.for_s)
            case "takeover":
                peer.take_over()
            case "hold acknowledgements":
                assert isinstance(peer, Subscriber)
                await peer.hold_acknowledgements(fault.for_s)

    async def _strike_broker(self, faults: list[Fault]) -> None:
        for fault in faults:
            await self._wait_for(fault.at_s)
            if self.broker.is_dead:
                await self._revive()
            self._done[fault.kind] += 1
            self._note(fault.kind)
            match fault.kind:
                case "kill":
                    await self.broker.kill()
                    await self._rest_and_revive(fault)
                case "kill during start":
                    await self.broker.kill()
                    start = asyncio.create_task(self.broker.start())
                    await asyncio.sleep(fault.for_s)
                    await self.broker.kill()
                    await start
                    await self.broker.kill()  # it was not even a process before
                    await self._revive()
                case "power cut":
                    if await self.broker.cut_power():
                        self._done["power cut in a write"] += 1
                    await self._rest_and_revive(fault)
                case "stop":
                    self.broker.signal(signal.SIGSTOP)
                    await asyncio.sleep(fault.for_s)
                    self.broker.signal(signal.SIGCONT)
                case "disk full":
                    await self._fill_disk(fault)

    async def _rest_and_revive(self, fault: Fault) -> None:
        await asyncio.sleep(fault.for_s)
        await self._revive()

    async def _revive(self) -> None:
        """Start the broker. Where it cannot, because its disk is full, again when there is room."""
        if not await self.broker.start():
            if self._is_full:
                self._note("no start: the disk is full")
                return
            self.broker.deaths.append(f"life {self.broker.lives} of the broker did not begin")
            await self.broker.start()
        self._note("restart")

    async def _fill_disk(self, fault: Fault) -> None:
        """Leave no room for a while; the stronger half of these faults kills the broker meanwhile."""
        ballast = self._data / "ballast"
        self._is_full = True
        with ballast.open("wb", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(4096))
        await asyncio.sleep(fault.for_s)
        if fault.strength > 0.5:
            await self.broker.kill()
            await self._revive()
            await asyncio.sleep(fault.for_s)
        self._is_full = False
        ballast.unlink()
        self._note("room on the disk again")
        if self.broker.port is None:
            await self._revive()


@asynccontextmanager
async def _tasks(coroutines: Iterable[Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """Run these meanwhile; what goes wrong in them goes wrong here."""
    running = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        yield
    finally:
        for task in running:
            task.cancel()
        for result in await asyncio.gather(*running, return_exceptions=True):
            if isinstance(result, Exception):
                raise result
