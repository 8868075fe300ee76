"""Plays a schedule with real nodes and real connections, and has it checked."""

from __future__ import annotations

import asyncio
import itertools
import random
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import msgspec

from faults import schedule
from faults.adversary import Adversary
from faults.checker import EVERYBODYS, Findings, Sent, check, missing, told, wrongly_retained
from faults.clients import Peer
from faults.node import Options
from faults.process import NodeProcess
from faults.publisher import Publisher
from faults.roads import roads_of
from faults.schedule import CENTRE, Schedule
from faults.subscriber import Subscriber
from faults.testator import Testator
from oriole.wire.mqtt import V5

GLANCE_S = 0.05
PATIENCE = 500
"""Who looked so often and saw nothing new expects nothing more. Looks are counted, and not seconds: a machine that is
busy with other things makes them rarer.
"""
MUTANT_PATIENCE = 60
"""The same of nodes that are to lose something."""
QUIET_S = 0.3
"""What comes so long after all that had to come would be one too many."""
WATCHER = schedule.Subscriber(
    name="watcher",
    node=CENTRE,
    link="",
    version=V5,
    filters=((f"{EVERYBODYS}#", 2), ("w/#", 2)),
    receive_maximum=20,
)
"""Nothing is done to it, so that it sees all in the centre's order."""

_runs = itertools.count()


class Outcome(msgspec.Struct):
    """What came of a schedule: counts, what was found, and what was done when."""

    seed: int
    mutant: str
    acknowledged: int
    refused: int
    seen: int
    edges: int
    links: int
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
    """Run a schedule in an empty folder, which is left as the run left it. Raises NotBegunError."""
    async with AsyncExitStack() as stack:
        world = World(plan, folder, mutant)
        await world.open(stack)
        return await world.run()


class NotBegunError(Exception):
    """Nodes did not start, or not everybody got to hear of everybody, before anything was done to anybody."""


class World:
    """One run."""

    def __init__(self, plan: Schedule, folder: Path, mutant: str) -> None:
        self._plan = plan
        self._folder = folder
        self._mutant = mutant
        self._patience = MUTANT_PATIENCE if mutant else PATIENCE
        self._began = time.monotonic()
        self._incidents: list[tuple[float, str]] = []
        self._roads = roads_of(plan, next(_runs))
        self._nodes: dict[str, NodeProcess] = {}
        self._publishers: list[Publisher] = []
        self._subscribers: list[Subscriber] = []
        self._testators: list[Testator] = []

    async def open(self, stack: AsyncExitStack) -> None:
        """Make links, disks, nodes and clients."""
        await self._roads.open(stack)
        for plan in self._plan.nodes:
            self._nodes[plan.name] = node = await self._node(plan)
            if "small" in plan.disk:
                stack.enter_context(node.disk.small())
            stack.push_async_callback(node.kill)
        for publisher in self._plan.publishers:
            self._publishers.append(Publisher(publisher, *await self._surroundings(publisher)))
        for subscriber in (WATCHER, *self._plan.subscribers):
            self._subscribers.append(Subscriber(subscriber, *await self._surroundings(subscriber)))
        for testator in self._plan.testators:
            self._testators.append(Testator(testator, *await self._surroundings(testator)))
        self._adversary = Adversary(
            self._plan, self._nodes, self._roads, {peer.name: peer for peer in self._peers}, self.clock, self._note
        )

    async def _node(self, plan: schedule.Node) -> NodeProcess:
        arguments = ["broker", "--listen", f"mqtt://{self._roads.host}:{self._roads.ports[plan.name]}"]
        if self._plan.has_packets:
            arguments.append("--allow-anonymous")
        if plan.above:
            road = await self._roads.road(plan.name, plan.link, plan.above)
            arguments = ["edge", *arguments[1:], "--name", plan.name, "--uplink", f"mqtt://{road.host}:{road.port}"]
        loses_power = "power" in plan.disk or self._mutant == "nosync"
        options = Options(arguments, self._plan.seed, plan.segment_bytes, plan.commit_ms, loses_power, self._mutant)
        return NodeProcess(plan.name, self._folder / plan.name, options, self._roads.settle(plan.name))

    async def _surroundings(self, plan: schedule.Peer) -> tuple[Any, ...]:
        road = await self._roads.road("", plan.link, plan.node)
        return road, self.clock, random.Random(f"{self._plan.seed} {plan.name}")

    def clock(self) -> float:
        """Seconds since all of it was made."""
        return time.monotonic() - self._began

    def _note(self, what: str) -> None:
        self._incidents.append((self.clock(), what))

    @property
    def _peers(self) -> list[Peer]:
        return [*self._publishers, *self._subscribers, *self._testators]

    @property
    def _sent(self) -> list[Sent]:
        messages = [message for publisher in self._publishers for message in publisher.sent]
        return messages + [will for testator in self._testators for will in testator.wills]

    # ---- From the beginning to the end

    async def run(self) -> Outcome:
        """Everything."""
        nodes = self._nodes.values()
        for node, is_up in zip(nodes, await asyncio.gather(*(node.start() for node in nodes)), strict=True):
            if not is_up:
                raise NotBegunError(f"{node.name} does not start: see {self._folder / node.name / 'stderr'}")
        async with _tasks([*(peer.live() for peer in self._peers), self._tick()]):
            await self._meet()
            async with _tasks(publisher.speak() for publisher in self._publishers):
                await self._adversary.strike()
            self._note("all is well from here on")
            for publisher in self._publishers:
                publisher.take_leave()
            unfinished = await self._drain()
            for subscriber in self._subscribers:
                ends = self._nodes[subscriber.notes.node].ends
                subscriber.notes.ends = [(begin - self._began, end - self._began) for begin, end in ends]
            findings = check(self._sent, [subscriber.notes for subscriber in self._subscribers], self._between)
            findings.other += unfinished + await self._retained()
        self._write_down()
        for node in self._nodes.values():
            findings.other += node.deaths
        for peer in self._peers:
            findings.other += peer.complaints
        return self._outcome(findings)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(0.2)
            for peer in self._peers:
                peer.tick()

    async def _meet(self) -> None:
        """Until every subscriber gets what every publisher says: what is said from then on has to come."""
        for _ in self._looks():
            for publisher in self._publishers:
                if not publisher.unanswered:
                    publisher.greet()
            await asyncio.sleep(GLANCE_S)
            if self._have_met():
                break
        else:
            raise NotBegunError("not everybody gets to hear of everybody")
        now_s = self.clock()
        for subscriber in self._subscribers:
            subscriber.notes.granted = {filter: (qos, now_s) for filter, (qos, _) in subscriber.notes.granted.items()}

    def _have_met(self) -> bool:
        for subscriber in self._subscribers:
            if not subscriber.notes.granted:
                return False
            heard = {(publisher, topic) for (publisher, _), topic in subscriber.notes.here.items()}
            for publisher in self._publishers:
                wanted = (topic for topic in publisher.topics if subscriber.notes.granted_for(topic))
                if any((publisher.name, topic) not in heard for topic in wanted):
                    return False
        return True

    def _looks(self) -> range:
        return range(self._patience)

    async def _drain(self) -> list[str]:
        """Until everybody has what was said last, or nothing comes any more; what is not answered.

        What was said before comes before it, on the same ways: whatever is missing then was lost.
        """
        progress, looks, quiet_until = -1, 0, 0.0
        while looks < self._patience:
            await asyncio.sleep(GLANCE_S)
            for node in self._nodes.values():
                if node.is_dead:
                    await self._adversary.revive(node)
            looks += 1
            if self._progress() != progress:
                progress, looks, quiet_until = self._progress(), 0, self.clock() + QUIET_S
            elif self.clock() > quiet_until and self._is_complete():
                break
        return [f"no answer to {told(message)}" for publisher in self._publishers for message in publisher.unanswered]

    def _progress(self) -> int:
        """Grows while there is any."""
        seen = sum(len(subscriber.notes.seen) for subscriber in self._subscribers)
        return seen - sum(len(publisher.unanswered) for publisher in self._publishers)

    def _is_complete(self) -> bool:
        last = [mark for publisher in self._publishers for mark in publisher.marks]
        last += [will for testator in self._testators for will in testator.wills]
        is_answered = not any(publisher.unanswered for publisher in self._publishers)
        return is_answered and not any(missing(last, subscriber.notes) for subscriber in self._subscribers)

    async def _retained(self) -> list[str]:
        """What newcomers get that they should not, or miss."""
        newcomers: dict[str, Subscriber] = {}
        for node in self._nodes:
            plan = schedule.Subscriber(
                name=f"newcomer-{node}", node=node, link="", version=V5, filters=(("r/#", 1),), receive_maximum=20
            )
            newcomers[node] = Subscriber(plan, *await self._surroundings(plan))
        found: list[str] = []
        async with _tasks(newcomer.live() for newcomer in newcomers.values()):
            for _ in self._looks():
                await asyncio.sleep(GLANCE_S)
                retained = {node: self._values(newcomer) for node, newcomer in newcomers.items()}
                found = [*wrongly_retained(self._sent, retained, self._values(self._subscribers[0]), self._between)]
                if all(newcomer.notes.granted for newcomer in newcomers.values()) and not found:
                    break
        return found

    def _values(self, subscriber: Subscriber) -> dict[str, bytes]:
        """By topic, the value that came last."""
        no_values = {message.identity for message in self._sent if not message.retain}
        seen = (seen for seen in subscriber.notes.seen if not seen.payload or seen.identity not in no_values)
        return {each.topic: each.payload for each in seen}

    def _between(self, begin_s: float, end_s: float) -> str:
        """The faults around a span of time: the last before it, those in it, and the first after it."""
        before = [each for each in self._incidents if each[0] < begin_s][-1:]
        within = [each for each in self._incidents if begin_s <= each[0] <= end_s][-4:]
        after = [each for each in self._incidents if each[0] > end_s][:1]
        return "around it " + "; ".join(f"{what} at {at:.3f} s" for at, what in before + within + after)

    def _write_down(self) -> None:
        """All that was sent and seen, for who looks into it: a line each."""
        with (self._folder / "sent.jsonl").open("wb") as file:
            file.writelines(msgspec.json.encode(message) + b"\n" for message in self._sent)
        for subscriber in self._subscribers:
            with (self._folder / f"seen by {subscriber.name}.jsonl").open("wb") as file:
                file.writelines(msgspec.json.encode(seen) + b"\n" for seen in subscriber.notes.seen)

    def _outcome(self, findings: Findings) -> Outcome:
        sent = [message for publisher in self._publishers for message in publisher.sent]
        acknowledged = sum(message.acknowledged_s is not None for message in sent)
        return Outcome(
            seed=self._plan.seed,
            mutant=self._mutant,
            acknowledged=acknowledged,
            refused=len(sent) - acknowledged,
            seen=sum(len(subscriber.notes.seen) for subscriber in self._subscribers),
            edges=len(self._nodes) - 1,
            links=len(self._plan.links),
            restarts=sum(node.lives - 1 for node in self._nodes.values()),
            faults=dict(self._adversary.done),
            incidents=[f"{at:.3f} s: {what}" for at, what in self._incidents],
            **asdict(findings),
        )


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
