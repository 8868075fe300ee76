"""An end of a link in a place: a device with an address, between the place's kernel and the two ways of the link."""

from ipaddress import IPv4Interface

from .link import PacketWay
from .namespace import Namespace
from .tun import Tun


class Interface:
    """Made in `place`. What is sent there goes by `outgoing`, what arrives comes by `incoming`. Raises OSError."""

    __slots__ = ("_incoming", "_place", "_tun", "address", "outgoing")

    def __init__(
        self, name: str, place: Namespace, outgoing: PacketWay, incoming: PacketWay, address: IPv4Interface
    ) -> None:
        self._place = place
        self._incoming = incoming
        self.outgoing = outgoing
        self.address = address
        with place.inside():
            self._tun = Tun(name)
        self.assign(address)

    def fileno(self) -> int:
        """Readable when the place sends something."""
        return self._tun.fileno()

    def assign(self, address: IPv4Interface) -> None:
        """Take this address instead of the present one."""
        with self._place.inside():
            self._tun.assign(address)
        self._incoming.ends.pop(self.address.packed, None)
        self._incoming.ends[address.packed] = self._tun
        self.address = address

    def take(self, now_ns: int) -> None:
        """Send a packet of the place on its way. Raises BlockingIOError when there is none."""
        self.outgoing.push(self._tun.read(), now_ns)

    def dropped(self) -> int:
        """Packets that the place sent and that were not taken in time."""
        with self._place.inside():
            return self._tun.dropped()
