"""A network of packets as the fleet sees it: a handle on the forwarder, and a way into each place."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from typing import Self

from ..control import LinkControl, NetworkError
from ..orders import Move
from .namespace import Namespace
from .orders import AddPlace, Join, PlaceAnswer
from .tun import Tun


def obstacle() -> str:
    """Why there can be no network of packets here, for people; empty when there can."""
    if sys.platform != "linux":
        return "packets need Linux: use the relay"
    try:
        with closing(Namespace.create()) as place, place.inside(), closing(Tun("probe")):
            return ""
    except PermissionError as error:
        return f"packets need root or CAP_NET_ADMIN and CAP_SYS_ADMIN ({error}): use the relay"
    except OSError as error:
        return f"packets need network namespaces and /dev/net/tun ({error}): use the relay"


class PacketNetwork(LinkControl[PlaceAnswer]):
    """`async with PacketNetwork() as network:` starts the forwarder and ends it.

    A place is where programs and sockets are; a link joins places. When a link moves, all on its near side get another
    address.
    """

    def __init__(self) -> None:
        super().__init__("firmware_sim.links.packets.process", PlaceAnswer)
        self._places: dict[str, Namespace] = {}
        self._addresses: dict[str, dict[str, str]] = {}  # by link, then by place

    async def __aenter__(self) -> Self:
        if reason := obstacle():
            raise NetworkError(reason)
        return await super().__aenter__()

    async def __aexit__(self, *details: object) -> None:
        await super().__aexit__(*details)
        for place in self._places.values():
            place.close()

    async def place(self, name: str) -> None:
        """Make a place. Only its loopback device leads anywhere until it is joined to another."""
        answer = await self._ask(AddPlace(name))
        assert self._process is not None
        self._places[name] = Namespace(f"/proc/{self._process.pid}/fd/{answer.namespace_fd}")

    async def join(self, link: str, near: str, far: str) -> None:
        """Have the link join these places; those in `near` connect, those in `far` are connected to.

        A link may join many: all who are on one side reach all on the other, and share its rate.
        """
        self._addresses[link] = (await self._ask(Join(link, near, far))).addresses

    def address(self, place: str, link: str) -> str:
        """The IP address at which `place` is reached over `link`. Raises KeyError when the link does not lead there."""
        return self._addresses[link][place]

    def inside(self, place: str) -> AbstractContextManager[None]:
        """`with network.inside(place):` what is made here belongs to `place`, wherever it is used later: sockets, and
        threads with all that they make. Only the calling thread is inside: a coroutine must not wait for anything here.
        """
        return self._places[place].inside()

    def settle(self, place: str) -> Callable[[], None]:
        """The `preexec_fn` of a program that is to run in `place`. The system kills it when the thread that started it
        ends, so that nobody lives on in a place without a network.
        """
        return self._places[place].settle

    async def move(self, link: str) -> None:
        """See `LinkControl`: `address` says the new ones."""
        self._addresses[link] = (await self._ask(Move(link))).addresses
