"""The network's own process: links live here, so that a busy device simulator cannot make them slow.

Orders come on stdin, answers leave on stdout (`orders.py`). It ends when stdin does: no network outlives its fleet, and
none ends before it (`network.py` starts it deaf to signals).
"""

import asyncio
import resource
import sys
import tempfile
from pathlib import Path
from random import Random
from typing import Any

import msgspec

from .cable import Cable
from .link import Link
from .orders import (
    AddLink,
    Answer,
    Change,
    Connect,
    Count,
    Cut,
    Disturb,
    Forward,
    Heal,
    Move,
    Order,
    Plug,
    Unplug,
)
from .tcp import OUT_OF_FILES, TcpRelay
from .udp import UdpRelay


class Links:
    """Every link of the network and what goes over it. The names of cables have a folder of their own."""

    def __init__(self) -> None:
        self._folder: Path | None = None
        self._links: dict[str, Link] = {}
        self._seeds: dict[str, int] = {}
        self._relays: list[TcpRelay | UdpRelay] = []
        self._ports: dict[int, Link] = {}
        self._cables: dict[str, list[Cable]] = {}

    async def obey(self, order: Order) -> Answer:
        """Do what `order` says. Raises KeyError for a link that does not exist, OSError from the system."""
        match order:
            case AddLink(name, model, seed):
                self._links[name] = Link(name, model, seed)
                self._seeds[name] = seed
                self._cables[name] = []
            case Forward(name, protocol, host, port):
                return Answer(port=await self._forward(self._links[name], protocol, host, port))
            case Connect(name):
                return self._connect(name)
            case Cut(name, directions):
                self._links[name].cut(directions)
            case Heal(name, directions):
                self._links[name].heal(directions)
            case Change(name, model):
                self._links[name].change(model)
            case Move(name):
                self._links[name].move()
            case Disturb(name, damaged, inserted):
                for cable in self._cables[name]:
                    cable.disturb(damaged, inserted)
            case Unplug(name):
                for cable in self._cables[name]:
                    cable.unplug()
            case Plug(name):
                for cable in self._cables[name]:
                    cable.plug()
            case Count():
                for relay in self._relays:
                    if isinstance(relay, UdpRelay):
                        relay.check()
                return Answer(counters={name: link.count() for name, link in self._links.items()})
        return Answer()

    async def close(self) -> None:
        """Close every socket and terminal."""
        for relay in self._relays:
            await relay.close()
        for cables in self._cables.values():
            for cable in cables:
                cable.unplug()
        if self._folder is not None:
            self._folder.rmdir()

    def trouble(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """What asyncio tells of errors that it handles itself: a listener without a file for its next connection."""
        error, listener = context.get("exception"), context.get("socket")
        link = self._ports.get(listener.getsockname()[1]) if listener else None
        if link is not None and isinstance(error, OSError) and error.errno in OUT_OF_FILES:
            files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
            link.refuse(f"connections have to wait: {error.strerror} (limit {files})")
        else:
            loop.default_exception_handler(context)

    async def _forward(self, link: Link, protocol: str, host: str, port: int) -> int:
        relay = (TcpRelay if protocol == "tcp" else UdpRelay)(link, host, port)
        near_port = await relay.open()
        self._relays.append(relay)
        self._ports[near_port] = link
        return near_port

    def _connect(self, name: str) -> Answer:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="oriole-cables-"))
        cables = self._cables[name]
        number = len(cables)
        gateway, device = (self._folder / f"{name}-{number}-{end}" for end in ("gateway", "device"))
        cable = Cable(self._links[name], gateway, device, Random(f"{self._seeds[name]}/{name}/{number}"))
        cables.append(cable)
        cable.plug()
        return Answer(gateway=str(gateway), device=str(device))


async def serve() -> None:
    """Obey orders until stdin ends."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    links = Links()
    loop.set_exception_handler(links.trouble)
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


def main() -> None:
    """With as many files as the system allows: a connection takes two."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    asyncio.run(serve())


if __name__ == "__main__":
    main()
