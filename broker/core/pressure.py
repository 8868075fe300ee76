"""Slowing those who publish faster than somebody reads.

A recipient that is behind is `crowded`. Whoever publishes into it is held: its socket is not read until the recipient
has caught up. For QoS 0 that lasts a bounded time, then the recipient counts as stalled and loses messages, named in
the settlement, so that one frozen reader cannot stop a house. For QoS 1 and 2 into a full queue it lasts as long as
the queue is full: nothing that may be acknowledged is lost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.channel import Channel

if TYPE_CHECKING:
    from broker.core.engine import Engine

HIGH_WATER_BYTES = 1 << 20
"""A channel with more than this unsent is crowded: several times what a kernel socket buffer holds on a LAN."""
LOW_WATER_BYTES = 1 << 18
"""A crowded channel is no longer crowded below this."""
MOST_BYTES = 1 << 24
"""Whatever may be dropped for a channel is dropped above this, held publishers or not: many publishers may have
been read in one turn before any of them could be held."""
PATIENCE_MS = 2_000
"""How long publishers wait for a reader that does not read QoS 0: longer than a roam, shorter than keep-alives."""


class Pressure:
    """Who is held because of whom."""

    __slots__ = ("_crowded", "_engine", "_full", "met", "wake_at")

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._crowded: dict[Channel, tuple[int, list[Channel]]] = {}
        self._full: dict[object, dict[Channel, None]] = {}
        self.met: list[Channel] = []
        """Crowded channels that the publisher being read right now wrote into."""
        self.wake_at = 0

    def refuses(self, channel: Channel) -> bool:
        """Whether QoS 0 bytes for a channel above its high-water mark are to be dropped; notes the meeting if not."""
        if channel.stalled or channel.size > MOST_BYTES:
            return True
        if channel not in self.met:
            self.met.append(channel)
        return False

    def hold(self, publisher: Channel, now: int) -> None:
        """Hold `publisher` until the crowded channels it met have drained or are given up."""
        for channel in self.met:
            if channel is publisher:
                continue
            if channel not in self._crowded:
                self._crowded[channel] = (now + PATIENCE_MS, [])
                self._engine.deadlines.schedule(self, now + PATIENCE_MS)
            held = self._crowded[channel][1]
            if publisher not in held:
                held.append(publisher)
                publisher.hold()
        self.met.clear()

    def drained(self, channel: Channel) -> None:
        """The listener wrote: `channel.size` has fallen below the low-water mark, or the channel is gone."""
        channel.stalled = False
        self.room_in(channel)
        crowd = self._crowded.pop(channel, None)
        if crowd is not None:
            for publisher in crowd[1]:
                publisher.release()

    def left(self, channel: Channel) -> None:
        """The channel is gone: nobody waits for it, and it waits for nobody."""
        self.drained(channel)
        if channel.holds:
            for sink, held in list(self._full.items()):
                held.pop(channel, None)
                if not held:
                    del self._full[sink]

    def hold_for(self, sink: object, publisher: Channel) -> bool:
        """Hold `publisher` until `sink`, whose queue is full, has room.

        False, with nothing held, where that would never be: `sink` is the publisher, or waits for it through others,
        and the acknowledgements that make room are not read while their sender is held.
        """
        awaited: object = sink
        while awaited is not None:
            channel = getattr(awaited, "channel", None)
            if channel is publisher:
                return False
            awaited = next((full for full, held in self._full.items() if channel in held), None)
        held = self._full.setdefault(sink, {})
        if publisher not in held:
            held[publisher] = None
            publisher.hold()
        return True

    def hold_until_read(self, channel: Channel) -> None:
        """Hold a peer that sends and does not read: what it is owed would pile up without limit."""
        self.hold_for(channel, channel)

    def room_in(self, sink: object) -> None:
        """`sink` has room again, or is gone."""
        for publisher in self._full.pop(sink, ()):
            publisher.release()

    def due(self, now: int) -> int | None:
        """Give up on readers that have had their time."""
        for channel, (until, publishers) in list(self._crowded.items()):
            if until <= now:
                channel.stalled = True
                del self._crowded[channel]
                for publisher in publishers:
                    publisher.release()
        return min((until for until, _ in self._crowded.values()), default=None)
