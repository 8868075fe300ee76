"""The network in virtual time: streams, datagrams and cables between devices and nodes, over modelled links or none.

Links decide as everywhere (`firmware_sim.links`); here their deadlines are on the timeline. Without a link everything
arrives at once, but after what is happening now. What a system does around a connection is done here: the handshake, a
refusal where nobody listens, a buffer for who does not read, an end that is said, and silence where power went.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Protocol

from firmware_sim.links.link import Counters
from firmware_sim.links.model import LinkModel
from firmware_sim.links.pipe import Decided
from firmware_sim.links.stream import StreamPipe
from firmware_sim.links.way import Way

from .loop import SECOND_NS, Timeline

SYN_BYTES = 60
UDP_HEADER_BYTES = 28
SYN_RETRIES = 5
"""As Linux: after 1, 3, 7, 15, 31 seconds; then nobody is there."""
BUFFER_BYTES = 256 * 1024
"""What systems hold between a writer and a reader; then the writer has to wait."""


@dataclass(slots=True, frozen=True)
class Route:
    """How somebody reaches a node: by which link, or none; and what is spoken there."""

    link: str
    node: str
    scheme: str


class Caller(Protocol):
    """Who dialled."""

    def dialled(self, stream: "Stream | None", attempt: int, reason: str = "") -> None:
        """The stream; or None, and why."""


class Ear(Protocol):
    """Who is at an end of a stream."""

    def receive(self, data: bytes) -> None:
        """Bytes came."""

    def ended(self) -> None:
        """The other end closed it."""

    def drained(self, unsent: int) -> None:
        """Of what was written so many bytes still wait."""


class Socket(Protocol):
    """Who has a datagram socket."""

    def receive(self, datagram: bytes) -> None:
        """A datagram came."""


class Door(Protocol):
    """A listener."""

    def accept(self, stream: "Stream") -> Ear:
        """A stream that a client opened: who is at this end of it."""

    def datagram(self, datagram: bytes, sender: Any) -> None:
        """A datagram came from a client."""


class Link:
    """A modelled link on the timeline. `up` leads from whoever dials to the node."""

    __slots__ = ("_armed_ns", "_seed", "_timeline", "addresses", "down", "is_cut", "model", "streams", "up")

    def __init__(
        self, name: str, model: LinkModel, seed: int, timeline: Timeline, decided: Callable[[str], Decided] | None
    ) -> None:
        self._timeline = timeline
        self.model = model
        self.is_cut = False
        self.streams: dict[Stream, None] = {}
        self.addresses = 1
        """That those at the near end have had so far."""
        self._armed_ns = 0
        up, down = (decided(direction) if decided is not None else None for direction in ("up", "down"))
        self.up = Way(model.direction("up"), Random(f"{seed}/{name}/up"), up)
        self.down = Way(model.direction("down"), Random(f"{seed}/{name}/down"), down)

    def stir(self) -> None:
        """Something was put in, or changed: see that time goes on for it."""
        up_ns, down_ns = self.up.deadline(), self.down.deadline()
        if up_ns is None:
            next_ns = down_ns
        elif down_ns is None or up_ns < down_ns:
            next_ns = up_ns
        else:
            next_ns = down_ns
        if next_ns is not None and not 0 < self._armed_ns <= next_ns:
            self._armed_ns = next_ns
            self._timeline.at(next_ns, self._advance, next_ns)

    def _advance(self, armed_ns: int) -> None:
        if armed_ns != self._armed_ns:
            return  # an earlier one took its place
        self._armed_ns = 0
        now_ns = self._timeline.now
        self.up.advance(now_ns)
        self.down.advance(now_ns)
        self.stir()

    def cut(self) -> None:
        """Silence both ways."""
        self.is_cut = True
        self.up.pipe.cut(self._timeline.now)
        self.down.pipe.cut(self._timeline.now)

    def heal(self) -> None:
        """Carry again."""
        self.is_cut = False
        self.up.pipe.heal()
        self.down.pipe.heal()

    def change(self, model: LinkModel) -> None:
        """Be like `model` from now on."""
        self.up.pipe.change(model.direction("up"), self._timeline.now)
        self.down.pipe.change(model.direction("down"), self._timeline.now)
        self.stir()

    def readdress(self) -> None:
        """Every connection over it goes silent for ever, and datagrams to the old address lead nowhere."""
        self.addresses += 1
        for stream in list(self.streams):
            stream.vanish()

    def count(self) -> Counters:
        """What went through so far."""
        return Counters.of(self.up.pipe, self.down.pipe, self._timeline.now)


class Stream:
    """One end of a byte stream; `other` is the other end. Bytes that are written arrive there, in order."""

    __slots__ = (
        "_ear", "_is_stalled", "_link", "_pipe", "_received_bytes", "_timeline", "_unread",
        "_written_bytes", "is_over", "other",
    )  # fmt: skip

    def __init__(self, timeline: Timeline, link: Link | None) -> None:
        self._timeline = timeline
        self._link = link
        self._pipe: StreamPipe | None = None
        self._ear: Ear | None = None
        self._unread: deque[bytes] = deque()
        self._written_bytes = 0
        self._received_bytes = 0
        self._is_stalled = False
        self.is_over = False
        self.other: Stream

    def join(self, other: "Stream", up: bool) -> None:
        """Be one end, of which `other` is the other; what is written here goes up the link, or down."""
        self.other = other
        link = self._link
        if link is not None:
            link.streams[self] = None
            there, back = (link.up, link.down) if up else (link.down, link.up)
            self._pipe = StreamPipe(there, back, other.arrived, self._drained)

    def hear(self, ear: Ear | None) -> None:
        """Who is told of what arrives here."""
        self._ear = ear

    def write(self, data: bytes) -> None:
        """Send `data`."""
        if self.is_over:
            return
        self._written_bytes += len(data)
        if self._pipe is None:
            self._timeline.at(self._timeline.now, self.other.arrived, data, 0)
        else:
            self._pipe.write(data, self._timeline.now)
            assert self._link is not None
            self._link.stir()

    @property
    def unsent(self) -> int:
        """Bytes that nobody has read yet, beyond what systems hold."""
        return max(0, self._written_bytes - self.other._received_bytes - BUFFER_BYTES)

    def end(self) -> None:
        """Say that nothing more comes, after what was written."""
        self.write(b"")
        self._over()

    def abort(self) -> None:
        """End it now. The other end is told, as far as the link allows."""
        self.end()

    def vanish(self) -> None:
        """Both ends hear nothing more of each other, and nobody is told."""
        for each in (self, self.other):
            if each._pipe is not None:
                each._pipe.silence()
            each.is_over = True
            if each._link is not None:
                each._link.streams.pop(each, None)

    def stall(self, stalled: bool) -> None:
        """Read nothing; what comes is held here as a system would, and then has to wait where it is."""
        self._is_stalled = stalled
        if not stalled:
            unread, self._unread = self._unread, deque()
            for data in unread:
                self._hand_out(data)
            if self.other._ear is not None and not self.other.is_over:
                self.other._ear.drained(self.other.unsent)

    def arrived(self, data: bytes, arrives_ns: int) -> None:
        """The network brought `data`; nothing is the end."""
        if self._is_stalled:
            self._unread.append(data)
        else:
            self._hand_out(data)

    def _hand_out(self, data: bytes) -> None:
        self._received_bytes += len(data)
        ear = self._ear
        if ear is None or self.is_over:
            return
        if data:
            ear.receive(data)
        else:
            self._over()
            ear.ended()

    def _drained(self) -> None:
        if self._ear is not None and not self.is_over:
            self._ear.drained(self.unsent)

    def _over(self) -> None:
        self.is_over = True
        if self._link is not None:
            self._link.streams.pop(self, None)


class Network:
    """Links, doors and cables."""

    def __init__(self, timeline: Timeline, seed: int, decided: Callable[[str, str], Decided] | None = None) -> None:
        self._timeline = timeline
        self._seed = seed
        self._decided = decided
        self._sockets: dict[Any, Socket] = {}
        self._ends: dict[str, list[Stream]] = {}
        self.links: dict[str, Link] = {}
        self.doors: dict[tuple[str, str], Door] = {}
        self.dark: dict[str, None] = {}
        """Nodes without power: nobody there even refuses."""

    def add(self, name: str, model: LinkModel) -> None:
        """Make a link."""
        decided = self._decided
        told = None if decided is None else (lambda direction: decided(name, direction))
        self.links[name] = Link(name, model, self._seed, self._timeline, told)

    # ---- Streams

    def dial(self, route: Route, caller: Caller, attempt: int, node: str = "") -> None:
        """Open a stream; `caller` is told. `node` is where it calls from, where that is a node."""
        _Handshake(self, self._timeline, route, caller, attempt, node).knock()

    def connect(self, route: Route, node: str) -> tuple[Stream, Stream] | None:
        """Both ends of a new stream, the client's first; None where nobody listens."""
        door = self.doors.get((route.node, route.scheme))
        if door is None:
            return None
        link = self.links[route.link] if route.link else None
        near, far = Stream(self._timeline, link), Stream(self._timeline, link)
        near.join(far, up=True)
        far.join(near, up=False)
        for name, end in ((node, near), (route.node, far)):
            if name:
                self._ends.setdefault(name, []).append(end)
        far.hear(door.accept(far))
        return near, far

    def streams_of(self, node: str) -> list[Stream]:
        """The ends of streams that a node has."""
        self._ends[node] = [end for end in self._ends.get(node, ()) if not end.is_over]
        return self._ends[node]

    def deserted(self, node: str, silently: bool) -> None:
        """Nobody is at a node any more: its doors are gone, and its streams, with a word or `silently`."""
        for key in [key for key in self.doors if key[0] == node]:
            del self.doors[key]
        for end in self.streams_of(node):
            end.hear(None)
            if silently:
                end.vanish()
            else:
                end.abort()

    # ---- Datagrams

    def bind(self, address: Any, socket: Socket) -> None:
        """From now on `socket` gets what is sent to `address`."""
        self._sockets[address] = socket

    def unbind(self, address: Any) -> None:
        """Nobody is at `address` any more."""
        self._sockets.pop(address, None)

    def send(self, route: Route, datagram: bytes, sender: Any) -> None:
        """Send a datagram to a node, which is to answer to whoever it sees it from: (*sender, link, address there)."""
        seen_as = (*sender, route.link, self._address(route.link))
        self._carry(route.link, True, datagram, lambda data, at_ns: self._at_node(route, data, seen_as))

    def answer(self, datagram: bytes, seen_as: Any) -> None:
        """Send a datagram from a node to whoever it saw another from."""
        *address, link, number = seen_as
        self._carry(link, False, datagram, lambda data, at_ns: self._at_socket(tuple(address), link, number, data))

    def _address(self, link: str) -> int:
        return self.links[link].addresses if link else 0

    def _carry(self, name: str, up: bool, datagram: bytes, receive: Callable[[Any, int], None]) -> None:
        now_ns = self._timeline.now
        if not name:
            self._timeline.at(now_ns, receive, datagram, now_ns)
            return
        link = self.links[name]
        (link.up if up else link.down).send(receive, datagram, len(datagram) + UDP_HEADER_BYTES, now_ns)
        link.stir()

    def _at_node(self, route: Route, datagram: bytes, seen_as: Any) -> None:
        if door := self.doors.get((route.node, route.scheme)):
            door.datagram(datagram, seen_as)

    def _at_socket(self, address: Any, link: str, number: int, datagram: bytes) -> None:
        if number == self._address(link) and (socket := self._sockets.get(address)):
            socket.receive(datagram)


class _Handshake:
    """SYN and SYN-ACK: a round trip before anything else, again after 1, 3, 7 seconds where one is lost."""

    __slots__ = ("_attempt", "_caller", "_is_over", "_network", "_node", "_route", "_timeline", "_tries")

    def __init__(
        self, network: Network, timeline: Timeline, route: Route, caller: Caller, attempt: int, node: str
    ) -> None:
        self._network = network
        self._timeline = timeline
        self._route = route
        self._caller = caller
        self._attempt = attempt
        self._node = node
        self._tries = 0
        self._is_over = False

    def knock(self) -> None:
        """Send a SYN."""
        if self._is_over:
            return
        if self._tries > SYN_RETRIES:
            self._is_over = True
            self._caller.dialled(None, self._attempt, "no answer")
            return
        self._timeline.at(self._timeline.now + (SECOND_NS << self._tries), self.knock)
        self._tries += 1
        self._packet(True, self._knocked)

    def _packet(self, up: bool, receive: Callable[[Any, int], None]) -> None:
        if not self._route.link:
            self._timeline.at(self._timeline.now, receive, None, 0)
            return
        link = self._network.links[self._route.link]
        (link.up if up else link.down).send(receive, None, SYN_BYTES, self._timeline.now)
        link.stir()

    def _knocked(self, _: Any, at_ns: int) -> None:
        if self._route.node not in self._network.dark:
            self._packet(False, self._answered)

    def _answered(self, _: Any, at_ns: int) -> None:
        """The answer is back: only now is there a stream, so that one that was given up costs the node nothing."""
        if self._is_over:
            return
        self._is_over = True
        ends = self._network.connect(self._route, self._node)
        if ends is None:
            self._caller.dialled(None, self._attempt, "connection refused")
        else:
            near, _ = ends
            near.hear(self._caller)  # type: ignore[arg-type]
            self._caller.dialled(near, self._attempt)


class CableEnd:
    """One end of a serial cable; what is written comes out at the other, at the line's speed, damaged by noise."""

    __slots__ = ("_ear", "_noise", "_random", "_rate_bytes", "busy_until_ns", "is_plugged", "other", "timeline")

    def __init__(self, timeline: Timeline, baud: int, random: Random) -> None:
        self.timeline = timeline
        self._rate_bytes = baud / 10  # a start bit and a stop bit beside each eight
        self._random = random
        self._noise = 0.0
        self.busy_until_ns = 0
        """When everything that was written has left."""
        self._ear: Any = None
        self.is_plugged = True
        self.other: CableEnd

    def listen(self, ear: Any) -> None:
        """Who is at this end: told by `receive`, `plugged` and `unplugged`."""
        self._ear = ear

    def write(self, data: bytes) -> None:
        """Send bytes."""
        if not self.is_plugged:
            return
        begins_ns = max(self.timeline.now, self.busy_until_ns)
        self.busy_until_ns = begins_ns + round(len(data) / self._rate_bytes * SECOND_NS)
        self.timeline.at(self.busy_until_ns, self.other._arrived, self._damaged(data))

    def set_noise(self, share: float) -> None:
        """From now on this share of the bytes is damaged."""
        self._noise = share

    def plug(self, plugged: bool) -> None:
        """Pull the cable at both ends, or put it back."""
        for end in (self, self.other):
            if end.is_plugged != plugged:
                end.is_plugged = plugged
                if end._ear is not None:
                    (end._ear.plugged if plugged else end._ear.unplugged)()

    def _arrived(self, data: bytes) -> None:
        if self.is_plugged and self._ear is not None:
            self._ear.receive(data)

    def _damaged(self, data: bytes) -> bytes:
        if not self._noise:
            return data
        random = self._random
        return bytes(random.getrandbits(8) if random.random() < self._noise else byte for byte in data)


def cable(timeline: Timeline, baud: int, random: Random) -> tuple[CableEnd, CableEnd]:
    """Both ends of a new cable: the gateway's and the device's."""
    gateway, device = CableEnd(timeline, baud, random), CableEnd(timeline, baud, random)
    gateway.other, device.other = device, gateway
    return gateway, device
