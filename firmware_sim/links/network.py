"""The network as the fleet sees it: a handle on the process that holds the links."""

import asyncio
import signal
from typing import Literal, Self

import msgspec

from firmware_sim.child import python_module

from .link import Counters
from .orders import AddLink, Answer, Connect, Count, Cut, Forward, Heal, LinkModel, Order

CLOSE_S = 5.0


class NetworkError(RuntimeError):
    """The network's process refused an order, or is gone."""


class Network:
    """`async with Network() as network:` starts the process and ends it. Every method raises `NetworkError`."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()

    async def __aenter__(self) -> Self:
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *python_module("firmware_sim.links.process"), stdin=pipe, stdout=pipe, preexec_fn=_ignore_signals
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), CLOSE_S)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()

    async def add(self, name: str, model: LinkModel) -> None:
        """Make a link."""
        await self._ask(AddLink(name, model))

    async def forward(self, link: str, protocol: Literal["tcp", "udp"], host: str, port: int) -> int:
        """Carry `protocol` to `host:port` over `link`; returns the port of 127.0.0.1 to connect to."""
        return (await self._ask(Forward(link, protocol, host, port))).port

    async def cable(self, link: str) -> tuple[str, str]:
        """A serial cable; returns the paths of the gateway's end and of the device's."""
        answer = await self._ask(Connect(link))
        return answer.gateway, answer.device

    async def cut(self, link: str) -> None:
        """Silence: nothing is reset, nothing gets through."""
        await self._ask(Cut(link))

    async def heal(self, link: str) -> None:
        """End the silence."""
        await self._ask(Heal(link))

    async def count(self) -> dict[str, Counters]:
        """What went over each link so far."""
        return (await self._ask(Count())).counters

    async def _ask(self, order: Order) -> Answer:
        return await asyncio.shield(self._exchange(order))  # half an exchange would leave its answer to the next one

    async def _exchange(self, order: Order) -> Answer:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        async with self._lock:
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")
            line = await self._process.stdout.readline()
        if not line:
            raise NetworkError("the network's process ended unexpectedly")
        answer = msgspec.json.decode(line, type=Answer)
        if answer.error:
            raise NetworkError(answer.error)
        return answer


def _ignore_signals() -> None:
    """Run in the new process: Ctrl-C, and what stops a whole group or service, reaches it too, but the fleet decides
    when it ends. Here, because a signal may come before its own first line.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
