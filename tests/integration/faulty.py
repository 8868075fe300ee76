"""A faulty relay in virtual time: what devices and nodes exchange is dropped, doubled, delayed, reordered or held.

It carries MQTT by whole packets and keeps to the protocol, so that neither end can know: what it drops it acknowledges
in the other's place, so that nobody sends it again; what it doubles is a message of its own, with a packet identifier
of its own, whose acknowledgements it keeps to itself. What it holds it keeps for ever and does not acknowledge, so that
somebody owes it in the end. Only the accounts can find out. A flood is a doubling that goes on for an hour, of what
comes to a device, and of datagrams as well: it is for batteries. Uplinks and serial lines are carried as they should
be.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Literal

from firmware_sim.scenario.file import Scenario
from firmware_sim.virtual.loop import SECOND_NS, Timeline, VirtualLoop
from firmware_sim.virtual.network import Caller, Ear, Network, Route, Socket, Stream
from firmware_sim.virtual.world import VirtualWorld
from oriole.wire.mqtt import PacketType, Splitter

Fault = Literal["drop", "double", "delay", "reorder", "hold", "flood"]
FAULTS: tuple[Fault, ...] = ("drop", "double", "delay", "reorder", "hold", "flood")

SHARE = 0.3
DELAY_NS = 20 * SECOND_NS
FLOOD_COPIES = 200
FLOOD_EVERY_NS = 20 * SECOND_NS
HIGHEST_IDENTIFIER = 0xFFFF

Write = Callable[[bytes], None]


class Way:
    """One direction of an MQTT connection; `answer` leads back to whoever sends this way."""

    def __init__(self, fault: Fault | None, timeline: Timeline, random: Random, onward: Write, answer: Write) -> None:
        self.copies: dict[int, None] = {}
        """Packet identifiers of copies that are not acknowledged yet."""
        self.other: Way
        self._fault = fault
        self._timeline = timeline
        self._random = random
        self._onward = onward
        self._answer = answer
        self._splitter = Splitter()
        self._dropped: dict[int, None] = {}  # of QoS 2, whose PUBREL is still to come
        self._held: dict[bytes, bytes] = {}  # by topic, what is to be overtaken
        self._last_copy = HIGHEST_IDENTIFIER

    def receive(self, data: bytes) -> None:
        """Carry the next bytes."""
        for first, body in self._splitter.split(data):
            self._carry(first, body)

    def _carry(self, first: int, body: bytes) -> None:
        identifier = int.from_bytes(body[:2], "big")
        match first >> 4:
            case PacketType.PUBLISH:
                self._publish(first, body)
            case PacketType.PUBREL if identifier in self._dropped:
                del self._dropped[identifier]
                self._answer(acknowledgement(PacketType.PUBCOMP, identifier))
            case PacketType.PUBREC if identifier in self.other.copies:
                self._answer(acknowledgement(PacketType.PUBREL, identifier))
            case PacketType.PUBACK | PacketType.PUBCOMP if identifier in self.other.copies:
                del self.other.copies[identifier]
            case _:
                self._onward(packet(first, body))

    def _publish(self, first: int, body: bytes) -> None:
        whole = packet(first, body)
        qos = first >> 1 & 3
        start = 2 + int.from_bytes(body[:2], "big")
        topic, identifier = body[2:start], int.from_bytes(body[start : start + 2], "big") if qos else 0
        is_hit = self._fault == "flood" or self._random.random() < SHARE
        match self._fault:
            case "drop" if is_hit:
                if qos:
                    kind = PacketType.PUBACK if qos == 1 else PacketType.PUBREC
                    self._answer(acknowledgement(kind, identifier))
                if qos == 2:
                    self._dropped[identifier] = None
            case "hold" if is_hit and qos:
                pass
            case "delay":
                self._later(DELAY_NS, lambda: self._onward(whole))
            case "reorder" if topic in self._held:
                self._onward(whole)
                self._onward(self._held.pop(topic))
            case "reorder" if is_hit:
                self._held[topic] = whole
            case "double" if is_hit:
                self._onward(whole)
                self._copy(first, body, start)
            case "flood":
                self._onward(whole)
                for number in range(FLOOD_COPIES):
                    self._later(number * FLOOD_EVERY_NS, partial(self._copy, first, body, start))
            case _:
                self._onward(whole)

    def _copy(self, first: int, body: bytes, start: int) -> None:
        """The same again, as a message of its own."""
        if first >> 1 & 3:
            self._last_copy = self._last_copy - 1 or HIGHEST_IDENTIFIER
            self.copies[self._last_copy] = None
            body = body[:start] + self._last_copy.to_bytes(2, "big") + body[start + 2 :]
        self._onward(packet(first, body))

    def _later(self, after_ns: int, action: Callable[[], None]) -> None:
        self._timeline.at(self._timeline.now + after_ns, action)


def packet(first: int, body: bytes) -> bytes:
    """An MQTT packet put together again."""
    length, head = len(body), bytearray((first,))
    while True:
        head.append(length % 128 | (128 if length >= 128 else 0))
        length //= 128
        if not length:
            return bytes(head) + body


def acknowledgement(kind: PacketType, identifier: int) -> bytes:
    """In its shortest form."""
    return packet(kind << 4 | (2 if kind is PacketType.PUBREL else 0), identifier.to_bytes(2, "big"))


class _End:
    """Who is at an end of a stream, heard through a relay."""

    def __init__(self, ear: Ear, stream: Stream) -> None:
        self._ear = ear
        self._stream = stream
        self.way: Way

    def take(self, data: bytes) -> None:
        """What the relay brings, unless the connection is over by now."""
        if not self._stream.is_over:
            self._ear.receive(data)

    def receive(self, data: bytes) -> None:
        """See `Ear`: what the stream brings goes through the relay."""
        self.way.receive(data)

    def ended(self) -> None:
        """See `Ear`."""
        self._ear.ended()

    def drained(self, unsent: int) -> None:
        """See `Ear`."""
        self._ear.drained(unsent)


class _FaultyCaller:
    """A device that dials, and is connected through a relay."""

    def __init__(self, network: "FaultyNetwork", caller: Any) -> None:
        self._network = network
        self._caller = caller

    def dialled(self, stream: Stream | None, attempt: int, reason: str = "") -> None:
        """See `Caller`."""
        if stream is not None:
            ear = stream.other._ear
            assert ear is not None
            near, far = _End(self._caller, stream), _End(ear, stream.other)
            far.way = self._network.way(far.take, near.take, is_up=True)
            near.way = self._network.way(near.take, far.take)
            far.way.other, near.way.other = near.way, far.way
            stream.hear(near)
            stream.other.hear(far)
        self._caller.dialled(stream, attempt, reason)


class _FloodedSocket:
    """A socket that hears every datagram again and again."""

    def __init__(self, socket: Socket, timeline: Timeline) -> None:
        self._socket = socket
        self._timeline = timeline
        self.is_open = True

    def receive(self, datagram: bytes) -> None:
        """See `Socket`."""
        for number in range(FLOOD_COPIES):
            self._timeline.at(self._timeline.now + number * FLOOD_EVERY_NS, self._receive, datagram)

    def _receive(self, datagram: bytes) -> None:
        if self.is_open:
            self._socket.receive(datagram)


class FaultyNetwork(Network):
    """A network whose devices are connected through faulty relays; its nodes are not."""

    def __init__(self, timeline: Timeline, seed: int, fault: Fault) -> None:
        super().__init__(timeline, seed)
        self._fault: Fault = fault
        self._random = Random(seed)

    def way(self, onward: Write, answer: Write, *, is_up: bool = False) -> Way:
        """One direction of a new relay."""
        fault: Fault | None = None if is_up and self._fault == "flood" else self._fault
        return Way(fault, self._timeline, self._random, onward, answer)

    def dial(self, route: Route, caller: Caller, attempt: int, node: str = "") -> None:
        """See `Network`."""
        super().dial(route, caller if node else _FaultyCaller(self, caller), attempt, node)

    def bind(self, address: Any, socket: Socket) -> None:
        """See `Network`."""
        super().bind(address, _FloodedSocket(socket, self._timeline) if self._fault == "flood" else socket)

    def unbind(self, address: Any) -> None:
        """See `Network`."""
        socket = self._sockets.get(address)
        if isinstance(socket, _FloodedSocket):
            socket.is_open = False
        super().unbind(address)


class FaultyWorld(VirtualWorld):
    """A virtual world with such a network."""

    def __init__(self, scenario: Scenario, seed: int, loop: VirtualLoop, fault: Fault) -> None:
        super().__init__(scenario, seed, loop)
        self.network = FaultyNetwork(self.clock, seed, fault)
