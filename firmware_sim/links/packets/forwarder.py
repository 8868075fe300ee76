"""Every place and link of a network of packets, and the loop that carries packets from device to device.

A place is a namespace that this process holds open. All waiting happens in `run_until_readable`, which is exact to a
fraction of a millisecond.
"""

import contextlib
import select
import time
from typing import Final

from ..orders import AddLink, Change, Count, Cut, Heal, Move
from .interface import Interface
from .link import PacketLink
from .namespace import Namespace
from .orders import AddPlace, Join, Order, PlaceAnswer
from .tun import raise_loopback
from .wiring import Wiring

MAX_LINKS: Final = 255
READS_PER_TURN: Final = 32  # of one interface, before what is due elsewhere gets its turn
SECOND_NS: Final = 1_000_000_000


class Forwarder:
    """Obeys orders, and in between carries packets."""

    __slots__ = ("_epoll", "_interfaces", "_places", "_wirings")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._places: dict[str, Namespace] = {}
        self._wirings: dict[str, Wiring] = {}
        self._interfaces: dict[int, Interface] = {}  # by descriptor

    def obey(self, order: Order) -> PlaceAnswer:
        """Do what `order` says. Raises KeyError for an unknown name, ValueError for what cannot be, and OSError."""
        match order:
            case AddPlace(name):
                return PlaceAnswer(namespace_fd=self._add_place(name).fileno())
            case AddLink(name, model, seed):
                self._add_link(name, PacketLink(name, model, seed))
            case Join(name, near, far):
                wiring = self._wirings[name]
                wiring.attach_near(near, self._places[near])
                wiring.attach_far(far, self._places[far])
                self._watch(wiring)
                return PlaceAnswer(addresses=wiring.addresses())
            case Move(name):
                self._wirings[name].move()
                return PlaceAnswer(addresses=self._wirings[name].addresses())
            case Change(name, model):
                self._wirings[name].link.change(model, time.monotonic_ns())
            case Cut(name, directions):
                self._wirings[name].link.cut(directions, time.monotonic_ns())
            case Heal(name, directions):
                self._wirings[name].link.heal(directions)
            case Count():
                now_ns = time.monotonic_ns()
                return PlaceAnswer(counters={name: wiring.count(now_ns) for name, wiring in self._wirings.items()})
        return PlaceAnswer()

    def run_until_readable(self, fd: int) -> None:
        """Carry packets until there is something to read at `fd`."""
        is_readable = False
        self._epoll.register(fd, select.EPOLLIN)
        while not is_readable:
            select.select([self._epoll], [], [], self._idle_s())  # epoll itself would wait for whole milliseconds
            for ready, _ in self._epoll.poll(0):
                if interface := self._interfaces.get(ready):
                    _take(interface)
                else:
                    is_readable = True
            for wiring in self._wirings.values():
                wiring.link.deliver(time.monotonic_ns())
        self._epoll.unregister(fd)

    def _idle_s(self) -> float | None:
        """For how long nothing is due; None for ever."""
        deadlines = [deadline for wiring in self._wirings.values() if (deadline := wiring.link.deadline()) is not None]
        return max(0, min(deadlines) - time.monotonic_ns()) / SECOND_NS if deadlines else None

    def _add_place(self, name: str) -> Namespace:
        if name in self._places:
            raise ValueError(f"there is a place {name!r} already")
        place = self._places[name] = Namespace.create()
        with place.inside():
            raise_loopback()
        return place

    def _add_link(self, name: str, link: PacketLink) -> None:
        if name in self._wirings:
            raise ValueError(f"there is a link {name!r} already")
        if len(self._wirings) == MAX_LINKS:
            raise ValueError(f"a network of packets has at most {MAX_LINKS} links")
        self._wirings[name] = Wiring(link, len(self._wirings) + 1)

    def _watch(self, wiring: Wiring) -> None:
        for interface in wiring.interfaces.values():
            if interface.fileno() not in self._interfaces:
                self._interfaces[interface.fileno()] = interface
                self._epoll.register(interface, select.EPOLLIN)


def _take(interface: Interface) -> None:
    """Send what the place has sent."""
    with contextlib.suppress(BlockingIOError):
        for _ in range(READS_PER_TURN):
            interface.take(time.monotonic_ns())
