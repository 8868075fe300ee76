"""What carries bytes between the places of a scenario: the relay in userspace, or whole networks of packets.

A place is a node, or a population behind a link. A road leads from a place to a node, over a link or over none.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager, AsyncExitStack, nullcontext
from typing import Any, Literal, Protocol

from firmware_sim.links.control import LinkControl
from firmware_sim.links.model import LinkModel
from firmware_sim.links.network import Network
from firmware_sim.links.packets.network import PacketNetwork

BAUD_KBIT = 92
"""115,200 baud: ten bits on the line for each byte."""

Protocols = Literal["tcp", "udp"]


class Carrier(Protocol):
    """Carries. Everything raises `NetworkError`.

    Attributes:
        links: to be added before a road uses one.
        cables: serial lines, which no network of packets has.
        listen_host: where nodes listen so that roads lead to them.
    """

    links: LinkControl[Any]
    cables: Network
    listen_host: str

    async def open(self, stack: AsyncExitStack) -> None:
        """Begin; `stack` ends it."""

    async def place(self, name: str) -> None:
        """Make a place."""

    async def road(self, link: str, near: str, node: str, protocol: Protocols, port: int) -> tuple[str, int]:
        """Host and port to connect to in `near`, to reach `port` of `node` over `link`; "" is a direct way."""

    def inside(self, place: str) -> Callable[[], AbstractContextManager[None]]:
        """Where sockets of a place are to be made."""

    def settle(self, place: str) -> Callable[[], None] | None:
        """What a program of a place has to do before it begins."""


class RelayCarrier:
    """Everything is on loopback; a link is a relay in between. Needs no rights."""

    def __init__(self) -> None:
        self.cables = Network()
        self.links: LinkControl[Any] = self.cables
        self.listen_host = "127.0.0.1"
        self._ports: dict[tuple[str, str, int], int] = {}

    async def open(self, stack: AsyncExitStack) -> None:
        """See `Carrier`."""
        await stack.enter_async_context(self.cables)

    async def place(self, name: str) -> None:
        """See `Carrier`."""

    async def road(self, link: str, near: str, node: str, protocol: Protocols, port: int) -> tuple[str, int]:
        """See `Carrier`."""
        if not link:
            return self.listen_host, port
        key = link, protocol, port
        if key not in self._ports:
            self._ports[key] = await self.cables.forward(link, protocol, self.listen_host, port)
        return self.listen_host, self._ports[key]

    def inside(self, place: str) -> Callable[[], AbstractContextManager[None]]:
        """See `Carrier`."""
        return nullcontext

    def settle(self, place: str) -> Callable[[], None] | None:
        """See `Carrier`."""
        return None


class PacketCarrier:
    """Every place is a network namespace, every link carries IP packets. Linux, and root."""

    def __init__(self) -> None:
        self._network = PacketNetwork()
        self.links: LinkControl[Any] = self._network
        self.cables = Network()
        self.listen_host = "0.0.0.0"
        self._joined: dict[tuple[str, str, str], None] = {}

    async def open(self, stack: AsyncExitStack) -> None:
        """See `Carrier`."""
        await stack.enter_async_context(self._network)
        await stack.enter_async_context(self.cables)

    async def place(self, name: str) -> None:
        """See `Carrier`."""
        await self._network.place(name)

    async def road(self, link: str, near: str, node: str, protocol: Protocols, port: int) -> tuple[str, int]:
        """See `Carrier`."""
        if not link:
            link = f"{near}-{node}"
            if (link, near, node) not in self._joined:
                await self._network.add(link, LinkModel())
        if (link, near, node) not in self._joined:
            self._joined[link, near, node] = None
            await self._network.join(link, near, node)
        return self._network.address(node, link), port

    def inside(self, place: str) -> Callable[[], AbstractContextManager[None]]:
        """See `Carrier`."""
        return lambda: self._network.inside(place)

    def settle(self, place: str) -> Callable[[], None] | None:
        """See `Carrier`."""
        return self._network.settle(place)
