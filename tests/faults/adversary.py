"""Does to nodes, links and clients what a schedule says: to each node and link one thing after the other, to a client
whenever it comes.
"""

from __future__ import annotations

import asyncio
import signal
from collections import Counter
from collections.abc import Callable, Mapping

from faults.clients import Clock, Peer
from faults.process import NodeProcess
from faults.roads import Roads
from faults.schedule import Fault, Schedule
from faults.subscriber import Subscriber
from faults.testator import Testator
from firmware_sim.links.model import Direction

HOURS = 10
"""The farthest jump of a clock."""


class Adversary:
    """Strikes.

    Args:
        note: takes what was done, in words, when it is done.

    Attributes:
        done: how often each kind of fault was.
    """

    def __init__(
        self,
        plan: Schedule,
        nodes: Mapping[str, NodeProcess],
        roads: Roads,
        peers: Mapping[str, Peer],
        clock: Clock,
        note: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._nodes = nodes
        self._roads = roads
        self._peers = peers
        self._clock = clock
        self._note = note
        self.done: Counter[str] = Counter()
        self._began_s = 0.0

    async def strike(self) -> None:
        """All of it, and no less than the schedule lasts."""
        self._began_s = self._clock()
        victims: dict[str, list[Fault]] = {}
        for fault in self._plan.faults:
            victims.setdefault(fault.whom, []).append(fault)
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.sleep(self._plan.duration_s))
            for name, faults in victims.items():
                if name in self._nodes:
                    group.create_task(self._strike_node(self._nodes[name], faults))
                elif name in self._peers:
                    for fault in faults:
                        group.create_task(self._strike_client(self._peers[name], fault))
                else:
                    group.create_task(self._strike_link(name, faults))

    async def _wait_for(self, fault: Fault) -> None:
        await asyncio.sleep(max(0, self._began_s + fault.at_s - self._clock()))
        self.done[fault.kind] += 1
        self._note(f"{fault.kind} ({fault.whom})")

    # ---- Clients

    async def _strike_client(self, peer: Peer, fault: Fault) -> None:
        await self._wait_for(fault)
        match fault.kind:
            case "cut":
                peer.cut()
            case "cut mid-packet":
                peer.cut_mid_packet(fault.strength)
            case "deaf":
                await peer.be_deaf(fault.for_s)
            case "pause" | "sleep":
                await peer.pause(fault.for_s)
            case "takeover":
                peer.take_over()
            case "hold acknowledgements":
                assert isinstance(peer, Subscriber)
                await peer.hold_acknowledgements(fault.for_s)
            case "death":
                assert isinstance(peer, Testator)
                peer.die()

    # ---- Links

    async def _strike_link(self, name: str, faults: list[Fault]) -> None:
        links = self._roads.links
        for fault in faults:
            await self._wait_for(fault)
            match fault.kind:
                case "silence":
                    await links.cut(name)
                case "half silence":
                    directions: tuple[Direction, ...] = ("up",) if fault.strength < 0.5 else ("down",)
                    await links.cut(name, directions)
                case "other address":
                    await links.move(name)
                    continue
            await asyncio.sleep(fault.for_s)
            await links.heal(name)

    # ---- Nodes

    async def _strike_node(self, node: NodeProcess, faults: list[Fault]) -> None:
        for fault in faults:
            if node.is_dead:
                await self.revive(node)
            await self._wait_for(fault)
            match fault.kind:
                case "kill":
                    await node.kill()
                    await self._rest_and_revive(node, fault)
                case "kill during start":
                    await node.kill()
                    start = asyncio.create_task(node.start())
                    await asyncio.sleep(fault.for_s / 2)
                    await node.kill()
                    await start
                    await node.kill()  # it was not even a process before
                    await self.revive(node)
                case "power cut":
                    await self._cut_power(node)
                    await self._rest_and_revive(node, fault)
                case "stop":
                    node.signal(signal.SIGSTOP)
                    await asyncio.sleep(fault.for_s / 2)
                    node.signal(signal.SIGCONT)
                case "disk full":
                    await self._fill_disk(node, fault)
                case "clock jump":
                    node.jump((2 * fault.strength - 1) * HOURS * 3600)

    async def _cut_power(self, node: NodeProcess) -> None:
        if await node.cut_power():
            self.done["power cut in a write"] += 1

    async def _rest_and_revive(self, node: NodeProcess, fault: Fault) -> None:
        await asyncio.sleep(fault.for_s / 2)
        await self.revive(node)

    async def revive(self, node: NodeProcess) -> None:
        """Start a node. Where it cannot, because its disk is full, again when there is room."""
        if not await node.start():
            if node.disk.is_full:
                self._note(f"no start, its disk is full ({node.name})")
                return
            node.deaths.append(f"life {node.lives} of {node.name} did not begin")
            await node.start()
        self._note(f"restart ({node.name})")

    async def _fill_disk(self, node: NodeProcess, fault: Fault) -> None:
        """Leave no room for a while; the stronger half of these faults ends the node meanwhile."""
        node.disk.fill()
        await asyncio.sleep(fault.for_s / 2)
        if fault.strength > 0.5:
            if node.loses_power:
                self.done["power cut with a full disk"] += 1
                await self._cut_power(node)
            else:
                await node.kill()
            await self.revive(node)
            await asyncio.sleep(fault.for_s / 2)
        node.disk.free()
        self._note(f"room on the disk again ({node.name})")
        if not node.is_up:
            await self.revive(node)
