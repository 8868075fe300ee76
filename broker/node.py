"""A node: one engine with its protocols and listeners on one event loop. The broker is one; an edge adds to it."""

from __future__ import annotations

import asyncio
import errno
import gc
import random
import signal
from collections.abc import Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Literal, Protocol

from broker.auth.doorkeeper import Doorkeeper
from broker.coap.settings import CoapSettings
from broker.control.commands import Commands
from broker.control.door import ControlDoor
from broker.control.sessions import SessionCommands
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
from broker.mqtt.snapshots import node_records
from oriole import __version__
from oriole.config import ProgramConfig
from oriole.control import SOCKET_NAME
from oriole.data_dir import DataDir, DataDirError, Identity
from oriole.logging import Log
from oriole.sessions.row import SessionRow
from oriole.urls import Endpoint

if TYPE_CHECKING:
    from broker.coap.service import CoapService
    from broker.core.records import Record
    from broker.journal.durable import DurableJournal
    from broker.journal.reading import Damage
    from broker.mqtt.recollection import Recollection
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
        commands: what can be asked of it over its control socket, where it has a data folder.
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
        self.data = data
        self.chance = chance or random.SystemRandom()
        self.identity = data.identity if data is not None else Identity.new(self.chance.randbytes)
        self.journal = self._open_journal(data, loop)
        self.engine = Engine(self.journal or MemoryJournal())
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
            epoch=self._epoch().hex(),
        )
        self.commands = Commands()
        SessionCommands(self.host, self.mqtt, self.others).register(self.commands)
        self.parts: list[Part] = []
        self.addresses: list[Endpoint] = []
        self.settlements = self._open_settlements()
        self._stopped = asyncio.Event()
        self._furnish()
        if self.journal is not None:
            self._remember(self.journal)

    def _furnish(self) -> None:
        """Make what this kind of node has beside MQTT, before it remembers anything."""

    def _recall(self, recollection: Recollection) -> None:
        """Be what was remembered."""
        recollection.restore(self.mqtt, self.host.now())

    def others(self) -> Iterator[SessionRow]:
        """Whom messages wait for beside the sessions, as rows of the same kind."""
        return iter(())

    def records(self) -> Iterator[Record]:
        """What must survive of what this kind of node has beside MQTT."""
        return iter(())

    def _open_journal(self, data: DataDir | None, loop: Loop) -> DurableJournal | None:
        """The journal in the data folder. Raises DataDirError."""
        if data is None:
            return None
        from broker.journal.durable import DurableJournal
        from broker.journal.files import OtherFormatError

        node, epoch = bytes.fromhex(data.identity.node), self.chance.randbytes(16)
        try:
            return DurableJournal(data.path / "journal", node, epoch, self.config.durability, loop.call_soon_threadsafe)
        except OtherFormatError as error:
            raise DataDirError(f"{error}: run the version that wrote it, or name another folder with --data") from None
        except OSError as error:
            where = error.filename or data.path / "journal"
            raise DataDirError(f"{where}: {error.strerror}: make room, or name another folder with --data") from error

    def _epoch(self) -> bytes:
        """Names this node's order of messages: without a journal it begins anew at each start."""
        return self.journal.epoch if self.journal is not None else self.chance.randbytes(16)

    def _remember(self, journal: DurableJournal) -> None:
        """Be what the journal says that the node was."""
        from broker.cleaning import Cleaner
        from broker.control.journal import JournalCommands

        log = Log("journal")

        def tell(damage: Damage, event: str = "messages are lost") -> None:
            log.error(event, file=damage.file, offset=damage.offset, bytes=damage.bytes, why=damage.reason)

        gc.disable()  # nothing of what is read becomes garbage, and to look for it takes longer than to read
        recollection = journal.recollect()
        for damage in journal.damages:
            tell(damage, "damaged, and set aside")
        self._recall(recollection)
        gc.enable()
        if recollection.sessions or recollection.retained:
            log.info("restored", sessions=len(recollection.sessions), retained=len(recollection.retained))

        def trouble(reason: str) -> None:
            if reason:
                if not self.router.is_refusing:
                    log.error("nothing more is acknowledged until the disk takes it", why=reason)
                self.host.failed()
            else:
                log.info("the disk takes messages again")
            self.router.is_refusing = bool(reason)

        def write_anew() -> int:
            position = self.engine.promises.write_anew([*node_records(self.mqtt, self.host.now(), self.records)])
            self.host.wake()
            return position

        journal.attach(self.host.committed, trouble, write_anew, tell, self.host.wake)
        self.cleaner = Cleaner(self.host, journal, self.mqtt, self.records)
        if self.data is not None:
            JournalCommands(self.host.loop, self.data, journal, self.cleaner).register(self.commands)
        self.host.turn()  # writes down what came of it: messages routed, clients that are not here any more

    def _open_settlements(self) -> SettlementsFile | None:
        if self.config.settlements is None:
            return None
        from broker.settlements import SettlementsFile

        life = self.chance.randbytes(16).hex()
        settlements = SettlementsFile(self.config.settlements, self.mqtt.name, self.kind, life, self.host.now)
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
        if self.data is not None:
            control = ControlDoor(self.host.loop, self.data.path / SOCKET_NAME, self.commands)
            self.parts.append(control)
            control.open()

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
        facts = {"version": f"oriole {__version__}", "durability": self.durability}
        for name, value in facts.items():
            self.router.publish(Message(f"$SYS/broker/{name}".encode(), value.encode(), retain=True), self.host.now())
        self.host.turn()

    @property
    def durability(self) -> str:
        """What an acknowledgement means here, in words."""
        if self.journal is None:
            return "memory: messages do not survive a restart"
        if self.journal.durability == "relaxed":
            return "relaxed: what is acknowledged is on disk within a second"
        return "strict: what is acknowledged is on disk"

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
        if self.journal is not None:
            self.cleaner.close()
            self.journal.close()
        self.host.close()
