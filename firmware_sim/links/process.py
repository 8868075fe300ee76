"""The network's own process: links live here, so that a busy device simulator cannot make them slow.

Orders come on stdin, answers leave on stdout (`orders.py`). It ends when stdin does: no network outlives its fleet, and
none ends before it (`network.py` starts it deaf to signals).
"""

import asyncio
import sys

import msgspec

from .cable import Cable
from .link import Link
from .orders import AddLink, Answer, Connect, Count, Cut, Forward, Heal, LinkModel, Order
from .pipe import PipeModel
from .tcp import TcpRelay
from .udp import UdpRelay


class Links:
    """Every link of the network and what goes over it."""

    def __init__(self) -> None:
        self._links: dict[str, Link] = {}
        self._relays: list[TcpRelay | UdpRelay] = []
        self._cables: list[Cable] = []

    async def obey(self, order: Order) -> Answer:
        """Do what `order` says. Raises KeyError for a link that does not exist, OSError from the system."""
        match order:
            case AddLink(name, model):
                self._links[name] = Link(pipe_model(model), pipe_model(model))
            case Forward(name, protocol, host, port):
                relay = (TcpRelay if protocol == "tcp" else UdpRelay)(self._links[name], host, port)
                self._relays.append(relay)
                return Answer(port=await relay.open())
            case Connect(name):
                cable = Cable(self._links[name])
                self._cables.append(cable)
                gateway, device = cable.open()
                return Answer(gateway=gateway, device=device)
            case Cut(name):
                self._links[name].cut()
            case Heal(name):
                self._links[name].heal()
            case Count():
                return Answer(counters={name: link.count() for name, link in self._links.items()})
        return Answer()

    async def close(self) -> None:
        """Close every socket and terminal."""
        for relay in self._relays:
            await relay.close()
        for cable in self._cables:
            cable.close()


def pipe_model(model: LinkModel) -> PipeModel:
    """The same in the pipe's units."""
    return PipeModel(round(model.delay_ms * 1e6), model.rate_kbit * 1000 // 8, model.buffer_kib * 1024)


async def serve() -> None:
    """Obey orders until stdin ends."""
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    links = Links()
    try:
        async for line in orders:
            try:
                answer = await links.obey(msgspec.json.decode(line, type=Order))
            except KeyError as error:
                answer = Answer(error=f"no link is called {error}")
            except (OSError, msgspec.DecodeError) as error:
                answer = Answer(error=str(error))
            sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
            sys.stdout.flush()
    finally:
        await links.close()


if __name__ == "__main__":
    asyncio.run(serve())
