"""A node: one engine with its protocols and listeners on one event loop. The broker is one; an edge adds to it."""

from __future__ import annotations

import asyncio
import errno
import random
import signal
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

from broker.auth.doorkeeper import Doorkeeper
from broker.coap.settings import CoapSettings
from broker.core.channel import address_of
from broker.core.engine import Engine
from broker.core.message import Message
from broker.core.retained import Retained
from broker.core.router import Router
from broker.core.sink import Sink
from broker.journal.memory import MemoryJournal
from broker.listeners.host import Host
from broker.listeners.loop import Loop
from broker.listeners.tcp import TcpListener
from broker.listeners.udp import UdpListener
from broker.mqtt.service import MqttService
from oriole import __version__
from oriole.config import ProgramConfig
from oriole.data_dir import DataDir, Identity
from oriole.logging import Log
from oriole.urls import Endpoint

if TYPE_CHECKING:
    from broker.coap.service import CoapService
    from broker.settlements import SettlementsFile


class Part(Protocol):
    """Something that a node runs beside its engine: a listener, a serial port, an uplink."""

    def close(self) -> None:
        """Stop, and let go of what it holds."""


class Door(Part, Protocol):
    """A listener."""

    def open(self) -> list[Endpoint]:
        """Listen; the addresses in use, with the port that port 0 became. Raises OSError."""


class ListenError(Exception):
    """An address cannot be listened on; the message says which and why."""


class Node:
    """The engine, its protocols, and what runs on the loop.

    Args:
        config: what a person asked for.
        loop: where it runs; its clock is the node's.
        data: its data folder, where it has one.
        name: what it is called among nodes; None: the first letters of its identity.
        chance: where identifiers and tokens come from: nobody can guess them, but in a simulation they repeat.

    Attributes:
        host: the loop and its clock.
        router: where everything meets.
        mqtt: the MQTT service.
        identity: node and epoch; without a data folder, new at each start.
        addresses: what it listens on, once `open` was called.
        settlements: the file that becomes the account of every message, where one is configured.
    """

    kind: Literal["broker", "edge"] = "broker"

    def __init__(
        self,
        config: ProgramConfig,
        loop: Loop,
        data: DataDir | None,
        name: str | None = None,
        chance: random.Random | None = None,
    ) -> None:
        limits = config.limits
        self.config = config
        self.chance = chance or random.SystemRandom()
        self.identity = data.identity if data is not None else Identity.new(self.chance.randbytes)
        self.engine = Engine(MemoryJournal())
        doorkeeper = Doorkeeper(config.users, config.allow_anonymous)
        self.host = Host(self.engine, loop, doorkeeper.decide)
        self.router = Router(self.engine, Retained(limits.max_retained_messages, limits.max_retained_bytes))
        log = Log("mqtt")
        self.mqtt = MqttService(
            self.router,
            limits,
            lambda: f"auto-{self.chance.randbytes(8).hex()}",
            lambda event, client, peer: log.info(event, client=client, peer=address_of(peer)),
            name=name or self.identity.node[:8],
            epoch=self.chance.randbytes(16).hex(),  # messages are numbered from 1 again at each start
        )
        self.parts: list[Part] = []
        self.addresses: list[Endpoint] = []
        self.settlements = self._open_settlements()
        self._stopped = asyncio.Event()

    def _open_settlements(self) -> SettlementsFile | None:
        if self.config.settlements is None:
            return None
        from broker.settlements import SettlementsFile

        settlements = SettlementsFile(
            self.config.settlements, self.mqtt.name, self.kind, self.mqtt.epoch, self.host.now
        )
        self.engine.settlement.book = settlements
        return settlements

    def owed(self) -> Iterator[tuple[Message, Sink | None, bool]]:
        """What everybody here is owed: messages, to whom (None: the store of retained values), and whether sent."""
        yield from self.mqtt.owed()
        if "coap" in self.__dict__:
            yield from self.coap.owed()

    def open(self) -> None:
        """Open everything that the configuration names. Raises ListenError."""
        self.announce()
        for endpoint in self.config.listen:
            listener = self.listener(endpoint)
            self.parts.append(listener)
            try:
                self.addresses += listener.open()
            except OSError as error:
                hint = "; another program listens there: stop it, or choose another port with --listen"
                reason = f"{error.strerror or error}{hint if error.errno == errno.EADDRINUSE else ''}"
                raise ListenError(f"cannot listen on {endpoint}: {reason}") from error
        self._warn_of_closed_doors()

    def _warn_of_closed_doors(self) -> None:
        """Say so where a listener can be reached from outside and lets nobody in from there."""
        if self.config.allow_anonymous:
            return
        for endpoint in self.addresses:
            if endpoint.is_loopback:
                continue
            if endpoint.scheme == "coap":
                closed = "CoAP clients have no names: only those on this machine are let in; see allow_anonymous"
            elif not self.config.users:
                closed = "only clients on this machine are let in: name `users`, or see allow_anonymous"
            else:
                continue
            Log("node").warning(closed, listener=endpoint)

    def listener(self, endpoint: Endpoint) -> Door:
        """What listens at `endpoint`; in a simulation, not a socket."""
        if endpoint.scheme == "coap":
            return UdpListener(self.host, endpoint, self.coap.open)
        return TcpListener(self.host, endpoint, self.mqtt.open)

    @cached_property
    def coap(self) -> CoapService:
        """The CoAP service, made and paid for where a listener asks for it."""
        from broker.coap.service import CoapService

        settings = CoapSettings(max_payload_bytes=self.config.limits.max_packet_bytes)
        return CoapService(self.router, settings, self.chance.getrandbits)

    def announce(self) -> None:
        """Set the `$SYS` topics that do not change while the node runs."""
        facts = {"version": f"oriole {__version__}", "durability": "memory: messages do not survive a restart"}
        for name, value in facts.items():
            self.router.publish(Message(f"$SYS/broker/{name}".encode(), value.encode(), retain=True), self.host.now())
        self.host.turn()

    def obey_signals(self) -> None:
        """SIGINT and SIGTERM mean `stop`, SIGUSR1 `tell`."""
        for number in (signal.SIGINT, signal.SIGTERM):
            self.host.loop.add_signal_handler(number, self.stop)
        self.host.loop.add_signal_handler(signal.SIGUSR1, self.tell)

    def tell(self) -> None:
        """Write into the settlements what everybody is owed now, where there are any."""
        if self.settlements is not None:
            self.settlements.snapshot(self.owed(), self.host.now())

    async def run(self) -> None:
        """Serve until `stop`, then leave in order."""
        await self._stopped.wait()
        await self.leave()

    def stop(self) -> None:
        """Make `run` return."""
        self._stopped.set()

    async def leave(self) -> None:
        """Tell every client, write it, close."""
        for part in reversed(self.parts):
            part.close()
        self.mqtt.close(self.host.now())
        self.host.turn()
        await asyncio.sleep(0.05)  # what the last turn said is on its way before the process ends
        if self.settlements is not None:
            self.settlements.close(self.owed(), self.host.now())
        self.host.close()
