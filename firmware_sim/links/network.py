"""The relay as the fleet sees it: links on loopback for TCP, UDP and serial cables."""

from typing import Literal

from .control import LinkControl, NetworkError
from .orders import Answer, Connect, Disturb, Forward, Plug, Unplug

__all__ = ["Network", "NetworkError"]


class Network(LinkControl[Answer]):
    """`async with Network() as network:` starts the relay's process and ends it. When a link moves, its UDP clients
    show a new port.
    """

    def __init__(self) -> None:
        super().__init__("firmware_sim.links.process", Answer)

    async def forward(self, link: str, protocol: Literal["tcp", "udp"], host: str, port: int) -> int:
        """Carry `protocol` to `host:port` over `link`; returns the port of 127.0.0.1 to connect to."""
        return (await self._ask(Forward(link, protocol, host, port))).port

    async def cable(self, link: str) -> tuple[str, str]:
        """A serial cable; returns the paths of the gateway's end and of the device's, which stay when it is pulled."""
        answer = await self._ask(Connect(link))
        return answer.gateway, answer.device

    async def disturb(self, link: str, damaged: float = 0.0, inserted: float = 0.0) -> None:
        """Noise on the link's cables: such shares of the bytes are damaged, and inserted."""
        await self._ask(Disturb(link, damaged, inserted))

    async def unplug(self, link: str) -> None:
        """Pull the link's cables: both ends read an error or the end, and cannot be opened."""
        await self._ask(Unplug(link))

    async def plug(self, link: str) -> None:
        """Put them back, under the same names."""
        await self._ask(Plug(link))
