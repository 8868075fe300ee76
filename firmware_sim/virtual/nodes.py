"""Broker and edge in virtual time: the very nodes, with doors of the virtual network instead of sockets.

This is the one place outside `oriole.cli` that imports the programs under test from the simulation, and it holds
nothing of theirs: it only opens doors, dials, and lends an edge the near ends of its cables.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any, cast

from broker.core.channel import Channel
from broker.listeners.host import Host
from broker.listeners.loop import Loop
from broker.listeners.tcp import Stream as Protocol
from broker.node import Door, Node, Part
from broker.settlements import SettlementsFile
from edge_node.devices import Devices
from edge_node.devices.line import Line as SerialLine
from edge_node.node import EdgeNode
from edge_node.uplink.dialler import Line
from oriole.config import BrokerConfig, EdgeConfig
from oriole.urls import Endpoint, SerialPort
from oriole.wire.serial import Reason

from .loop import SECOND_NS, VirtualLoop
from .network import CableEnd, Network, Route, Stream

LINES_AT_ONCE = 10_000


class StreamChannel(Channel):
    """A channel on a stream of the virtual network."""

    __slots__ = ("_gone", "_host", "_protocol", "_stream")

    def __init__(self, host: Host, stream: Stream, peer: object) -> None:
        super().__init__(host.engine, peer)
        self._host = host
        self._stream = stream
        self._protocol: Protocol
        self._gone = False

    def start(self, protocol: Protocol) -> None:
        """Begin to read for `protocol`."""
        self._protocol = protocol

    # ---- What the stream tells

    def receive(self, data: bytes) -> None:
        """Bytes came."""
        if self._gone:
            return
        now = self._host.wake()
        if not self.closing:
            self._protocol.receive(data, now)
            if self.holds:
                self._stream.stall(True)

    def ended(self) -> None:
        """The other end is closed."""
        self._lost()

    def drained(self, unsent: int) -> None:
        """There is room again."""
        if not self._gone:
            self.engine.unsent(self, unsent)
            self._host.wake()

    # ---- What the engine asks for

    def flush(self) -> None:
        """See `Channel`."""
        if self._gone:
            self.out.clear()
            return
        if self.out:
            data = b"".join(self.out)
            self.out.clear()
            self._stream.write(data)
            self.engine.unsent(self, self._stream.unsent)
        if self.closing:
            self._stream.end()
            self._lost()

    def resume(self) -> None:
        """See `Channel`."""
        if self._gone or self.closing:
            return
        self._protocol.resume(self._host.now())
        self._stream.stall(bool(self.holds))

    def broken(self, error: Exception) -> None:
        """A fault of ours: in a simulation it is to be seen."""
        raise error

    def abort(self) -> None:
        """See `Line`."""
        self._stream.abort()
        self._lost()

    def _lost(self) -> None:
        if self._gone:
            return
        self._gone = True
        self.out.clear()
        self.engine.unsent(self, 0)
        self._protocol.closed(self._host.now())
        self._host.wake()


class StreamDoor:
    """A listener for streams."""

    def __init__(self, network: Network, name: str, endpoint: Endpoint, node: Node) -> None:
        self._network = network
        self._key = name, endpoint.scheme
        self._endpoint = endpoint
        self._node = node
        self._callers = 0

    def open(self) -> list[Endpoint]:
        """See `Door`."""
        self._network.doors[self._key] = self
        return [self._endpoint]

    def close(self) -> None:
        """See `Part`."""
        self._network.doors.pop(self._key, None)

    def accept(self, stream: Stream) -> StreamChannel:
        """See `network.Door`."""
        self._callers += 1
        host = self._node.host
        channel = StreamChannel(host, stream, ("127.0.0.1", self._callers))
        channel.start(self._node.mqtt.open(channel, host.now()))
        host.wake()
        return channel

    def datagram(self, datagram: bytes, sender: Any) -> None:
        """Nobody listens for datagrams here."""


class DatagramChannel(Channel):
    """The channel of a CoAP port on the virtual network. An address is what the network says."""

    __slots__ = ("_host", "_network", "port")

    def __init__(self, host: Host, network: Network, peer: object) -> None:
        super().__init__(host.engine, peer)
        self._host = host
        self._network = network
        self.port: Any = None

    def flush(self) -> None:
        """See `Channel`."""
        for datagram, address in self.port.take():
            self._network.answer(datagram, address)

    def broken(self, error: Exception) -> None:
        """A fault of ours: in a simulation it is to be seen."""
        raise error

    def resume(self) -> None:
        """It is never held."""


class DatagramDoor:
    """A listener for datagrams."""

    def __init__(self, network: Network, name: str, endpoint: Endpoint, node: Node) -> None:
        self._network = network
        self._key = name, endpoint.scheme
        self._endpoint = endpoint
        self._host = node.host
        self._channel = DatagramChannel(node.host, network, name)
        self._channel.port = node.coap.open(self._channel)

    def open(self) -> list[Endpoint]:
        """See `Door`."""
        self._network.doors[self._key] = self
        return [self._endpoint]

    def close(self) -> None:
        """See `Part`."""
        self._network.doors.pop(self._key, None)

    def accept(self, stream: Stream) -> Any:
        """Nobody listens for streams here."""
        raise NotImplementedError

    def datagram(self, datagram: bytes, sender: Any) -> None:
        """See `network.Door`."""
        port = self._channel.port
        port.endpoint.receive(datagram, sender, self._host.now())
        port.stir()
        self._host.wake()


class _VirtualLine:
    """A stream that an uplink dialled."""

    def __init__(self, host: Host, stream: Stream, address: Endpoint) -> None:
        self._channel = StreamChannel(host, stream, str(address))
        self._stream = stream
        self._is_used = False

    def start(self, stream: Protocol) -> Channel:
        """See `Line`."""
        self._is_used = True
        self._stream.hear(self._channel)
        self._channel.start(stream)
        return self._channel

    def abort(self) -> None:
        """See `Line`."""
        if self._is_used:
            self._channel.abort()
        else:
            self._stream.abort()

    def unsent_bytes(self) -> int:
        """See `Line`: what is written is on its way."""
        return 0


class _Dialler:
    """Dials the node above over the virtual network."""

    def __init__(self, network: Network, host: Host, route: Route, name: str) -> None:
        self._network = network
        self._host = host
        self._route = route
        self._name = name

    def watch(self, on_change: Callable[[], None]) -> None:
        """See `Dialler`: these machines' links are always up."""

    def close(self) -> None:
        """See `Dialler`."""

    async def dial(self, address: Endpoint) -> Line:
        """See `Dialler`."""
        call = _Call(self._host.loop.create_future())
        self._network.dial(self._route, call, 0, self._name)
        return _VirtualLine(self._host, await call.answer, address)


class _Call:
    """Waits for a stream. It hears nothing on it yet."""

    def __init__(self, answer: asyncio.Future[Stream]) -> None:
        self.answer = answer

    def dialled(self, stream: Stream | None, attempt: int, reason: str = "") -> None:
        """See `Caller`."""
        if self.answer.done():  # it was given up
            if stream is not None:
                stream.abort()
        elif stream is None:
            self.answer.set_exception(OSError(reason))
        else:
            self.answer.set_result(stream)

    def receive(self, data: bytes) -> None:
        """Nobody speaks before the uplink does."""

    def ended(self) -> None:
        """The uplink finds out when it speaks."""

    def drained(self, unsent: int) -> None:
        """Nothing was written."""


class CablePort(Channel):
    """The gateway's end of a virtual cable, as a port of the edge."""

    __slots__ = ("_cable", "_host", "_line")

    def __init__(self, host: Host, cable: CableEnd, devices: Devices, name: str) -> None:
        super().__init__(host.engine, name)
        self._host = host
        self._cable = cable
        self._line: SerialLine = devices.open(self)
        cable.listen(self)
        if cable.is_plugged:
            self.plugged()

    def plugged(self) -> None:
        """The cable is there."""
        self._line.opened(self._host.now())
        self._host.wake()

    def unplugged(self) -> None:
        """The cable is gone."""
        self._line.closed(self._host.now())
        self.out.clear()
        self.size = 0
        self._host.wake()

    def receive(self, data: bytes) -> None:
        """Bytes came."""
        self._line.receive(data, self._host.now())
        self._host.wake()

    def flush(self) -> None:
        """See `Channel`."""
        data = b"".join(self.out)
        self.out.clear()
        if data and self._cable.is_plugged:
            self._cable.write(data)
            timeline = self._cable.timeline
            timeline.at(self._cable.busy_until_ns, self._written)
        elif not self._cable.is_plugged:
            self.size = 0

    def _written(self) -> None:
        if self.size and not self.out:
            self.size = 0
            self._line.written(self._host.now())
            self._host.wake()

    def broken(self, error: Exception) -> None:
        """A fault of ours: in a simulation it is to be seen."""
        raise error

    def resume(self) -> None:
        """See `Channel`."""
        self._line.resume(self._host.now())

    def close(self) -> None:
        """See `Part`."""
        if not self.closing:
            self._line.dismiss(Reason.UNAVAILABLE, "the gateway stops", self._host.now())
        super().close()


class _Book(SettlementsFile):
    """The node's own settlements, written in larger pieces: nobody can cut it off in between, for whoever kills a node
    in virtual time has it written first.
    """

    def turned(self) -> None:
        """See `Book`."""
        if len(self._lines) >= LINES_AT_ONCE:
            super().turned()

    def write(self) -> None:
        """Write what there is; at first, that there is a node."""
        self._write()


def _lend_book(node: Node) -> None:
    """Put ours in the place of the node's."""
    assert node.config.settlements is not None
    book = _Book(node.config.settlements, node.mqtt.name, node.kind, node.mqtt.epoch, node.host.now)
    node.settlements = node.engine.settlement.book = book
    book.write()


class _VirtualBroker(Node):
    """A broker behind virtual doors."""

    def __init__(self, config: BrokerConfig, loop: Loop, chance: Random, network: Network, name: str) -> None:
        self._network = network
        self._name = name
        super().__init__(config, loop, None, name, chance)

    def listener(self, endpoint: Endpoint) -> Door:
        """See `Node`."""
        return _door(self, self._network, self._name, endpoint)


class _VirtualEdge(EdgeNode):
    """An edge behind virtual doors."""

    def __init__(
        self,
        config: EdgeConfig,
        loop: Loop,
        chance: Random,
        network: Network,
        uplink: Route | None,
        cables: dict[str, CableEnd],
    ) -> None:
        self._network = network
        self._route = uplink
        self._cables = cables
        super().__init__(config, loop, None, chance)

    def listener(self, endpoint: Endpoint) -> Door:
        """See `Node`."""
        return _door(self, self._network, self.edge.name, endpoint)

    def dialler(self) -> _Dialler:
        """See `EdgeNode`."""
        assert self._route is not None
        return _Dialler(self._network, self.host, self._route, self.edge.name)

    def serial_port(self, address: SerialPort) -> Part:
        """See `EdgeNode`."""
        return CablePort(self.host, self._cables[address.device], self.devices, address.device)


def _door(node: Node, network: Network, name: str, endpoint: Endpoint) -> Door:
    kind = DatagramDoor if endpoint.scheme == "coap" else StreamDoor
    return kind(network, name, endpoint, node)


class _Alarm:
    """A timer of one node."""

    __slots__ = ("_call", "_loop")

    def __init__(self, loop: _NodeLoop, call: Callable[[], object]) -> None:
        self._loop = loop
        self._call: Callable[[], object] | None = call

    def cancel(self) -> None:
        """See asyncio."""
        self._call = None

    def ring(self) -> None:
        """It is time."""
        if self._call is not None:
            self._loop.do(self._call)


class _NodeLoop:
    """What one node sees of the loop: it can stand still, or be gone, while the others live on."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop
        self._tasks: list[asyncio.Task[Any]] = []
        self._late: list[Callable[[], object]] = []
        self._is_paused = False
        self._is_dead = False
        self.clock = loop.clock
        self.time = loop.time

    def defer(self, call: Callable[[], object]) -> None:
        """See `Loop`."""
        self._loop.defer(lambda: self.do(call))

    def call_at(self, when: float, call: Callable[[], object]) -> _Alarm:
        """See asyncio, which need not know of it."""
        alarm = _Alarm(self, call)
        timeline = self._loop.timeline
        timeline.at(max(timeline.now, math.ceil(when * SECOND_NS)), alarm.ring)
        return alarm

    def create_task(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """See asyncio."""
        task = self._loop.create_task(work)
        task.add_done_callback(self._over)
        self._tasks.append(task)
        return task

    def _over(self, task: asyncio.Task[Any]) -> None:
        """A task that failed is a fault of ours: in a simulation it is to be seen."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._loop.timeline.at(self._loop.timeline.now, _raise, error)

    def create_future(self) -> asyncio.Future[Any]:
        """See asyncio."""
        return self._loop.create_future()

    def do(self, call: Callable[[], object]) -> None:
        """Do it, unless the node is gone; later, while it stands still."""
        if self._is_dead:
            return
        if self._is_paused:
            self._late.append(call)
        else:
            call()

    def pause(self, paused: bool) -> None:
        """Stand still, or go on with what should have been done meanwhile."""
        self._is_paused = paused
        if not paused:
            late, self._late = self._late, []
            for call in late:
                self.do(call)

    def kill(self) -> None:
        """Nothing more is done."""
        self._is_dead = True
        for task in self._tasks:
            task.cancel()


def _raise(error: BaseException) -> None:
    raise error


class VirtualNode:
    """A node's place: the node that runs there now, killed and started anew as often as a scenario wants."""

    def __init__(
        self, loop: VirtualLoop, network: Network, config: BrokerConfig | EdgeConfig, name: str, seed: int
    ) -> None:
        self.name = name
        self._loop = loop
        self._network = network
        self._config = config
        self._chance = Random(f"{seed}/{name}")
        self._cables: dict[str, CableEnd] = {}
        self._uplink: Route | None = None
        self._mine: _NodeLoop | None = None
        self.node: Node | None = None

    def joined(self, uplink: Route | None, cables: dict[str, CableEnd]) -> None:
        """How it reaches the node above, and the near ends of its cables by device file."""
        self._uplink = uplink
        self._cables = cables

    def start(self) -> None:
        """Start it. Without effect while it runs."""
        if self.node is not None:
            return
        self._network.dark.pop(self.name, None)
        mine = self._mine = _NodeLoop(self._loop)
        loop = cast(Loop, mine)
        if isinstance(self._config, EdgeConfig):
            self.node = _VirtualEdge(self._config, loop, self._chance, self._network, self._uplink, self._cables)
        else:
            self.node = _VirtualBroker(self._config, loop, self._chance, self._network, self.name)
        _lend_book(self.node)
        self.node.open()

    async def stop(self) -> None:
        """End it in order."""
        if self.node is not None:
            node, self.node = self.node, None
            await node.leave()

    def kill(self, silently: bool) -> None:
        """End it at once: nothing that it would still do is done. Its system closes its streams, unless `silently`."""
        if self.node is None or self._mine is None:
            return
        self._mine.kill()
        assert isinstance(self.node.settlements, _Book)
        self.node.settlements.write()
        self.node = None
        if silently:
            self._network.dark[self.name] = None
        self._network.deserted(self.name, silently)
        for cable in self._cables.values():
            cable.listen(None)

    def queued(self) -> int:
        """Messages that wait here for somebody."""
        if self.node is None:
            return 0
        return sum(len(session.queue or ()) + len(session.inflight) for session in self.node.mqtt.sessions.values())

    def pause(self, paused: bool) -> None:
        """Stand still, or go on."""
        if self._mine is not None and self.node is not None:
            for stream in self._network.streams_of(self.name):
                stream.stall(paused)
            self._mine.pause(paused)
