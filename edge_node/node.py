"""An edge: a node with a cache, serial devices and an uplink. Without an uplink it is a house that works."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from broker.core.message import Message
from broker.core.sink import Sink
from broker.listeners.loop import Loop
from broker.node import Node, Part
from edge_node.cache import HeldPushes
from edge_node.devices import Devices, Port, log_noise
from edge_node.uplink.classes import Classes
from edge_node.uplink.connection import UplinkConnection
from edge_node.uplink.dialler import Dialler, TcpDialler
from edge_node.uplink.spool import stream_records
from edge_node.uplink.uplink import Uplink
from oriole.config import EdgeConfig
from oriole.data_dir import DataDir
from oriole.link.mqtt import Client, ClientConfig
from oriole.link.uplink import MOST_STAMP_BYTES, Greeting
from oriole.logging import Log
from oriole.sessions.row import SessionRow
from oriole.urls import Endpoint, SerialPort

if TYPE_CHECKING:
    from broker.core.records import Record
    from broker.mqtt.recollection import Recollection

SESSION_AT_CENTRE_S = 7 * 86_400
"""How long the centre keeps what is for us: a week offline."""
KEEP_ALIVE_S = 4
"""After so much silence the centre is asked for a sign of life: 30 bytes, and the way there is known to be open."""


class Teller:
    """Tells people what happens to the uplink; what they must see to as a warning, once for as long as it stays so."""

    __slots__ = ("_centre", "_log", "_warned")

    def __init__(self, uplink: Sequence[Endpoint]) -> None:
        self._centre = " ".join(map(str, uplink))
        self._log = Log("uplink")
        self._warned = ""

    def __call__(self, event: str, serious: bool) -> None:
        if event == self._warned:
            return
        if serious:
            self._warned = event
            self._log.warning(event, centre=self._centre)
        elif not self._warned or event.startswith("connected"):
            self._warned = ""
            self._log.info(event)


class EdgeNode(Node):
    """A node that is named, and speaks to a centre."""

    kind = "edge"

    def __init__(
        self, config: EdgeConfig, loop: Loop, data: DataDir | None, chance: random.Random | None = None
    ) -> None:
        self.edge = config
        self.uplink: Uplink | None = None
        self._left_over: Recollection | None = None  # of an uplink that is no longer configured
        super().__init__(config, loop, data, str(config.name), chance)

    def _furnish(self) -> None:
        self.cache = HeldPushes(self.router)
        self.devices = Devices(self.edge.name, self.router, lambda: self.chance.randbytes(8), log_noise)
        if self.edge.uplink:
            self.uplink = self._make_uplink()
            self.uplink.left_at = self.host.now()

    def _recall(self, recollection: Recollection) -> None:
        self.devices.recall(recollection.marks, self.host.now())
        waiting = sum(len(stream.messages) for stream in recollection.streams.values())
        if self.uplink is not None:
            self.uplink.recall(recollection)
        else:
            self._left_over = recollection
        if waiting:
            where = "" if self.edge.uplink else ", and no uplink is configured: they stay"
            Log("uplink").info(f"{waiting} messages wait for the centre{where}")
        super()._recall(recollection)
        if self.uplink is not None:
            self.uplink.go_on(recollection, self.host.now())

    def others(self) -> Iterator[SessionRow]:
        """See `Node`: the streams to the centre."""
        return iter(()) if self.uplink is None else self.uplink.rows(self.host.now())

    def records(self) -> Iterator[Record]:
        """See `Node`."""
        yield from self.devices.records()
        if self.uplink is not None:
            yield from self.uplink.records()
        elif self._left_over is not None:
            if self._left_over.met is not None:
                yield self._left_over.met
            for number, stream in self._left_over.streams.items():
                yield from stream_records(number, stream.traffic_class, stream.first, stream.messages)

    def open(self) -> None:
        """Open everything that the configuration names; devices and centre may come later. Raises ListenError."""
        if self.uplink is not None:
            connection = UplinkConnection(self.host, self.uplink, self.edge.uplink, self.dialler(), self.chance)
            connection.open()
            self.parts.append(connection)
        super().open()
        for address in self.edge.serial:
            self.parts.append(self.serial_port(address))

    def owed(self) -> Iterator[tuple[Message, Sink | None, bool]]:
        """See `Node`."""
        yield from super().owed()
        yield from self.devices.owed()
        if self.uplink is not None:
            yield from self.uplink.owed()

    def dialler(self) -> Dialler:
        """What connects the uplink; in a simulation, not to a socket."""
        return TcpDialler(self.host)

    def serial_port(self, address: SerialPort) -> Part:
        """The port at `address`, open or waiting for its device; in a simulation, no file."""
        port = Port(self.host, address, self.devices)
        port.open()
        return port

    def _make_uplink(self) -> Uplink:
        greeting = Greeting(self.edge.name, self._epoch().hex(), life=self.chance.randbytes(8).hex())
        config = ClientConfig(
            client_identifier=f"oriole-edge-{self.edge.name}",
            clean_start=False,
            session_expiry_interval=SESSION_AT_CENTRE_S,
            keep_alive=KEEP_ALIVE_S,
            max_packet_bytes=self.config.limits.max_packet_bytes + MOST_STAMP_BYTES,
            max_held_bytes=2 * self.edge.max_uplink_queue_bytes,
            manual_acknowledgement=True,
        )
        return Uplink(
            self.router,
            Client(config),
            greeting,
            Classes(self.edge.alarms, self.edge.bulk),
            self.edge.max_uplink_queue_bytes,
            lambda: self.chance.randbytes(16).hex(),
            Teller(self.edge.uplink),
        )
