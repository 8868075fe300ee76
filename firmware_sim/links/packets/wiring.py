"""A link with its interfaces, one in each place that it reaches, and their addresses.

Link number n is the network 10.n.0.0/16. No address is given twice: what is for somebody who has moved is for nobody.
"""

from ipaddress import IPv4Interface

from ..link import Counters
from .interface import Interface
from .link import PacketLink, PacketWay
from .namespace import Namespace


class Wiring:
    """Link number `number`, from 1 to 255. `interfaces` is by place."""

    __slots__ = ("_addresses", "_number", "interfaces", "link")

    def __init__(self, link: PacketLink, number: int) -> None:
        self._number = number
        self._addresses = 0
        self.link = link
        self.interfaces: dict[str, Interface] = {}

    def attach_near(self, place: str, namespace: Namespace) -> None:
        """Have an interface there, on the side that connects. Raises ValueError if there is one on the other."""
        self._attach(place, namespace, self.link.up, self.link.down)

    def attach_far(self, place: str, namespace: Namespace) -> None:
        """Have an interface there, on the side that is connected to. Raises ValueError if there is one on the other."""
        self._attach(place, namespace, self.link.down, self.link.up)

    def move(self) -> None:
        """Give the near interfaces other addresses."""
        for interface in self.interfaces.values():
            if interface.outgoing is self.link.up:
                interface.assign(self._next_address())

    def count(self, now_ns: int) -> Counters:
        """What went over the link so far, by the size of IP packets."""
        up, down = self.link.up, self.link.down
        refused = sum(interface.dropped() for interface in self.interfaces.values())
        return Counters.of(up.pipe, down.pipe, now_ns, max(up.lag_ns, down.lag_ns), refused)

    def addresses(self) -> dict[str, str]:
        """As they are, by place."""
        return {place: str(interface.address.ip) for place, interface in self.interfaces.items()}

    def _attach(self, place: str, namespace: Namespace, outgoing: PacketWay, incoming: PacketWay) -> None:
        interface = self.interfaces.get(place)
        if interface is None:
            name = f"link{self._number}"
            self.interfaces[place] = Interface(name, namespace, outgoing, incoming, self._next_address())
        elif interface.outgoing is not outgoing:
            raise ValueError(f"{place!r} cannot be on both sides of a link")

    def _next_address(self) -> IPv4Interface:
        self._addresses += 1
        return IPv4Interface(f"10.{self._number}.{self._addresses >> 8}.{self._addresses & 255}/16")
