"""The part of a fleet that the load generator carries: populations as groups of a bulk process, in step with others."""

import time
from collections.abc import Sequence
from typing import Any

from firmware_sim.bulk import Bulk, BulkConfig, BulkError, BulkResult, Do, Group, TargetOf
from firmware_sim.report.result import Crowds
from firmware_sim.scenario.plan import Action
from firmware_sim.scenario.roster import Member

from .world import World, WorldError

AHEAD_NS = 2_000_000_000
"""The plan is prepared before it begins: so much ahead it is told when that is."""
CONNECTS_PER_S = 1000.0


class Crowd:
    """All bulk devices of a fleet, in one process. Raises `WorldError`."""

    def __init__(self, world: World, members: Sequence[Member], seed: int) -> None:
        self._world = world
        self._seed = seed
        self._groups: dict[str, list[Member]] = {}
        for member in members:
            self._groups.setdefault(member.traits.population, []).append(member)
        self.names = frozenset(member.name for member in members)
        """Its devices."""
        self._bulk: Bulk | None = None
        self.result: Crowds | None = None

    def progress(self) -> str:
        """Where it is, in words; empty where there is nobody."""
        now = self._bulk.progress if self._bulk is not None else None
        return "" if now is None else f"; in bulk {now.ready} devices, {now.sent} sent, {now.received} received"

    async def open(self, ready_s: float) -> None:
        """Start, and wait until all are connected."""
        if not self._groups:
            return
        groups = [_group(name, members[0], self._world.doors(name)) for name, members in self._groups.items()]
        config = BulkConfig(run=self._world.run, seed=self._seed, groups=groups, connects_per_s=CONNECTS_PER_S)
        self._bulk = Bulk(self._world.settle(next(iter(self._groups))))
        try:
            await self._bulk.start(config)
            await self._bulk.wait_until_ready(ready_s + config.count / CONNECTS_PER_S)
        except BulkError as error:
            raise WorldError(str(error)) from error

    async def begin(self) -> int:
        """Have the plan begin; when, in ns of CLOCK_MONOTONIC, which is a moment ahead. Without devices: now."""
        if self._bulk is None:
            return 0
        at_ns = time.monotonic_ns() + AHEAD_NS
        await self._tell(self._bulk.begin(at_ns))
        return at_ns

    async def act(self, action: Action) -> None:
        """What is done to one of its devices."""
        assert self._bulk is not None
        verb: Any = action.do
        await self._tell(self._bulk.do(Do(verb=verb, to=[action.to], values=action.values)))

    async def quiet(self) -> None:
        """Say nothing more."""
        if self._bulk is not None:
            await self._tell(self._bulk.quiet())

    async def drain(self, timeout_s: float) -> None:
        """Wait for what is under way."""
        if self._bulk is not None:
            await self._tell(self._bulk.drain(timeout_s))

    async def close(self) -> None:
        """Close its books; the process ends."""
        if self._bulk is not None:
            try:
                self.result = _sum_up(await self._bulk.close())
            except BulkError:
                await self._bulk.abandon()

    async def _tell(self, order: Any) -> None:
        try:
            await order
        except BulkError as error:
            raise WorldError(str(error)) from error


def _group(name: str, first: Member, doors: list[tuple[str, int]]) -> Group:
    """A population as the bulk process knows it: devices that differ in nothing but their names."""
    traits, population = first.traits, first.population
    qos: Any = traits.qos
    version: Any = first.mqtt_version
    return Group(
        name=name,
        kind=first.kind.kind,
        count=population.count,
        place=traits.place,
        addresses=doors,
        way=traits.way,
        every_ns=traits.every_ns,
        qos=qos,
        lifetime_s=traits.lifetime_s,
        hears=list(traits.hears),
        targets=[TargetOf(target.topic, target.kind.kind) for target in traits.targets],
        announces=traits.announces,
        awake_ns=traits.awake_ns,
        padding=traits.padding,
        takes_firmware=traits.takes_firmware,
        mqtt_version=version,
        session_s=first.session_s,
        keep_alive_s=first.keep_alive_s,
        starts_ns=population.starts.ns,
        spread_ns=population.spread.ns,
    )


def _sum_up(result: BulkResult) -> Crowds:
    return Crowds(
        client=result.client,
        devices=result.devices,
        sent=result.sent,
        accepted=result.accepted,
        due=result.due,
        delivered=sum(row.delivered for row in result.subscribers),
        missing=dict(result.missed()),
        doubled=sum(row.doubled for row in result.subscribers),
        out_of_order=sum(row.out_of_order for row in result.subscribers),
        orders=result.orders,
        orders_confirmed=result.orders_confirmed,
        adds_up=result.adds_up,
        is_clean=result.is_clean,
        latency=result.latency(),
        lag=result.lag.summary(),
        connections_lost=len(result.losses),
        faults=list(result.faults()),
    )
