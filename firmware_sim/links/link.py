"""A link between two places: a pipe each way, cut and healed together, and the one timer that empties each pipe.

TCP connections, UDP flows and serial cables all go through this; they differ in what a cut does to what was under way.
Nobody is told of a cut: nothing is reset, no socket closes. That is what a dead radio looks like to both ends.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from .pipe import SECOND_NS, Pipe, PipeModel


@dataclass(slots=True, frozen=True)
class Parcel:
    """Data on its way. A `stream`'s parcels survive a cut, because the sender's TCP would send them again."""

    deliver: Callable[[bytes], None]
    data: bytes
    stream: bool


class Counters(msgspec.Struct, frozen=True):
    """Payload bytes over a link so far, without TCP, UDP and IP headers; `lag_ns`: the relay's own worst delay."""

    up_bytes: int = 0
    down_bytes: int = 0
    lost_bytes: int = 0
    lag_ns: int = 0

    @property
    def total_bytes(self) -> int:
        """Both directions."""
        return self.up_bytes + self.down_bytes


class Way:
    """One direction of a link in real time."""

    __slots__ = ("_held", "_loop", "_pipe", "_timer", "lag_ns")

    def __init__(self, model: PipeModel, loop: asyncio.AbstractEventLoop) -> None:
        self._pipe: Pipe[Parcel] = Pipe(model)
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        self._held: list[Parcel] = []
        self.lag_ns = 0

    @property
    def carried_bytes(self) -> int:
        return self._pipe.carried_bytes

    @property
    def lost_bytes(self) -> int:
        return self._pipe.lost_bytes

    def room(self) -> int:
        """Bytes that a stream may put in now."""
        return self._pipe.room(time.monotonic_ns())

    def send(self, parcel: Parcel, again: bool = False) -> None:
        """Put `parcel` in; it is lost where there is no room, unless it was under way before and is sent `again`."""
        taken = self._pipe.push(parcel, len(parcel.data), time.monotonic_ns(), must=again)
        if taken and self._timer is None:
            self._arm()

    def cut(self) -> None:
        """Silence: datagrams under way are gone, streams keep theirs for later."""
        self._held += [parcel for _, parcel in self._pipe.cut() if parcel.stream]

    def heal(self) -> None:
        """Carry again, first what the streams had under way."""
        self._pipe.heal()
        held, self._held = self._held, []
        for parcel in held:
            self.send(parcel, again=True)

    def _arm(self) -> None:
        deadline_ns = self._pipe.deadline()
        self._timer = None if deadline_ns is None else self._loop.call_at(deadline_ns / SECOND_NS, self._empty)

    def _empty(self) -> None:
        now_ns = time.monotonic_ns()
        for arrives_ns, parcel in self._pipe.pop(now_ns):
            self.lag_ns = max(self.lag_ns, now_ns - arrives_ns)
            parcel.deliver(parcel.data)
        self._arm()


class Link:
    """`up` leads from whoever connects to the place connected to, `down` back."""

    __slots__ = ("carries", "delay_s", "down", "up")

    def __init__(self, up: PipeModel, down: PipeModel) -> None:
        loop = asyncio.get_running_loop()
        self.up = Way(up, loop)
        self.down = Way(down, loop)
        self.delay_s = (up.delay_ns + down.delay_ns) / SECOND_NS  # there and back
        self.carries = asyncio.Event()
        self.carries.set()

    def cut(self) -> None:
        """Silence both ways. Cutting what is cut changes nothing."""
        if self.carries.is_set():
            self.carries.clear()
            self.up.cut()
            self.down.cut()

    def heal(self) -> None:
        """Carry again. Healing what is whole changes nothing."""
        if not self.carries.is_set():
            self.up.heal()
            self.down.heal()
            self.carries.set()

    def count(self) -> Counters:
        """What went through so far."""
        lost = self.up.lost_bytes + self.down.lost_bytes
        return Counters(self.up.carried_bytes, self.down.carried_bytes, lost, max(self.up.lag_ns, self.down.lag_ns))
