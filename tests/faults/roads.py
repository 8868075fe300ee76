"""How clients and edges reach a node: straight, or over a link, which a relay or a network of packets stands for.

A node has the same address in all its lives. Where there is no network of its own for a run, that is one of the many
addresses of loopback, so that nobody else can be there: `number` tells runs of this process apart.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol

from faults.schedule import Schedule
from firmware_sim.links.control import LinkControl
from firmware_sim.links.network import Network
from firmware_sim.real.carrier import PacketCarrier

FIRST_PORT = 1883
DIAL_S = 3.0
RUNS = 250


@dataclass(slots=True, frozen=True)
class Road:
    """Leads to a node: connect to this address, with a socket that is made inside."""

    host: str
    port: int
    inside: Callable[[], AbstractContextManager[None]] = nullcontext

    async def dial(self, make: Callable[[], asyncio.Protocol]) -> None:
        """Connect. Raises OSError."""
        with self.inside():
            connection = socket.socket()
        try:
            connection.setblocking(False)
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(DIAL_S):
                await loop.sock_connect(connection, (self.host, self.port))
            await loop.create_connection(make, sock=connection)
        except BaseException:
            connection.close()
            raise


class Roads(Protocol):
    """All roads of a run.

    Attributes:
        host: where nodes listen, on the ports in `ports`, by name.
    """

    host: str
    ports: dict[str, int]

    @property
    def links(self) -> LinkControl[Any]:
        """Through which something is done to links."""

    async def open(self, stack: AsyncExitStack) -> None:
        """Make all links; `stack` ends them."""

    async def road(self, near: str, link: str, node: str) -> Road:
        """From `near`, an edge or wherever clients are, to a node."""

    def settle(self, node: str) -> Callable[[], None] | None:
        """What the process of a node has to do before it begins."""


def roads_of(plan: Schedule, number: int) -> Roads:
    """Those of a schedule."""
    return _PacketRoads(plan) if plan.has_packets else _LoopbackRoads(plan, number)


class _LoopbackRoads:
    """Relays, which run only where there are links."""

    def __init__(self, plan: Schedule, number: int) -> None:
        who = os.getpid() & 0xFFFF
        self.host = f"127.{who >> 8}.{who & 0xFF}.{1 + number % RUNS}"
        self.ports = {node.name: FIRST_PORT + index for index, node in enumerate(plan.nodes)}
        self._plan = plan
        self._relays = Network()
        self._by_link: dict[str, Road] = {}

    @property
    def links(self) -> LinkControl[Any]:
        """See `Roads`."""
        return self._relays

    async def open(self, stack: AsyncExitStack) -> None:
        """See `Roads`."""
        if not self._plan.links:
            return
        await stack.enter_async_context(self._relays)
        for link in self._plan.links:
            await self._relays.add(link.name, link.model, self._plan.seed)
            port = await self._relays.forward(link.name, "tcp", self.host, self.ports[link.node])
            self._by_link[link.name] = Road("127.0.0.1", port)

    async def road(self, near: str, link: str, node: str) -> Road:
        """See `Roads`."""
        return self._by_link.get(link) or Road(self.host, self.ports[node])

    def settle(self, node: str) -> Callable[[], None] | None:
        """See `Roads`."""
        return None


class _PacketRoads:
    """Each node is in a network namespace, and so are the clients of each link. Linux, and root."""

    def __init__(self, plan: Schedule) -> None:
        self.host = "0.0.0.0"
        self.ports = {node.name: FIRST_PORT for node in plan.nodes}
        self._plan = plan
        self._carrier = PacketCarrier()
        self._places: dict[str, None] = {}

    @property
    def links(self) -> LinkControl[Any]:
        """See `Roads`."""
        return self._carrier.links

    async def open(self, stack: AsyncExitStack) -> None:
        """See `Roads`."""
        await self._carrier.open(stack)
        for link in self._plan.links:
            await self._carrier.links.add(link.name, link.model, self._plan.seed)
        for node in self._plan.nodes:
            await self._place(node.name)

    async def _place(self, name: str) -> None:
        if name not in self._places:
            self._places[name] = None
            await self._carrier.place(name)

    async def road(self, near: str, link: str, node: str) -> Road:
        """See `Roads`."""
        place = near or link or f"beside {node}"
        await self._place(place)
        host, port = await self._carrier.road(link, place, node, "tcp", self.ports[node])
        return Road(host, port, self._carrier.inside(place))

    def settle(self, node: str) -> Callable[[], None] | None:
        """See `Roads`."""
        return self._carrier.settle(node)
