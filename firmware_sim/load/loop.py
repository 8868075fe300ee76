"""The loop of a run: publishes everything in a fixed pattern and takes what the broker delivers.

The pattern decides what the broker's work costs. Flat out, every publisher in turn sends a burst of up to 64 messages
in one write, up to 64 KiB ahead of what the kernel takes. At a rate, every message is a write of its own, round robin.
What a subscriber acknowledges leaves in one write per read.
"""

import time
from typing import Final, Protocol

from firmware_sim.load.connection import Connection
from firmware_sim.load.crowd import Crowd
from firmware_sim.load.publisher import Publisher
from firmware_sim.load.workload import Workload

BURST: Final = 64
SEND_AHEAD_BYTES: Final = 65_536
NAP_S: Final = 20e-6
"""Between two turns at a rate: with the kernel's timer slack less than 0.1 ms."""
GIVE_UP_S: Final = 5.0
"""After so long without any progress, what is missing is lost."""


class Loop(Protocol):
    """What moves the messages of a run; what arrives is entered in the crowd's tally and latency.

    Raises LoadError from both methods.
    """

    lag_s: float
    """How far publishing fell behind the requested rate at worst."""
    refused: int
    """Messages acknowledged with a failure, and messages never acknowledged to the end."""

    def drive(self) -> None:
        """Publish all messages; return when all are delivered and acknowledged, or nothing moves any more."""

    def serve(self, seconds: float) -> None:
        """Publish nothing, take what comes, for so long."""

    def close(self) -> None:
        """Free what the loop holds; the connections stay the crowd's."""


class PythonLoop:
    """Plain Python: fast wherever the broker sends many packets at once, which is where it matters most."""

    def __init__(self, crowd: Crowd, workload: Workload) -> None:
        self._crowd = crowd
        self._workload = workload
        self._publishers = crowd.publishers
        self._published = 0
        self._turn = 0
        self.lag_s = 0.0
        self.refused = 0

    def drive(self) -> None:
        """See Loop."""
        workload, crowd = self._workload, self._crowd
        start = progress = time.monotonic()
        before = (0, 0)
        while not self._settled():
            timeout_s = 0.1
            if self._published < workload.count:
                timeout_s = self._pace(time.monotonic() - start) if workload.rate else self._burst()
            crowd.poll(timeout_s)
            now, moved = time.monotonic(), (self._published, crowd.tally.received)
            if moved != before:
                before, progress = moved, now
            elif now - progress > GIVE_UP_S:
                break
            if now - start > workload.max:
                break
        self.refused = sum(publisher.refused + publisher.in_flight for publisher, _ in self._publishers)

    def serve(self, seconds: float) -> None:
        """See Loop."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._crowd.poll(left)

    def close(self) -> None:
        """See Loop."""

    def _settled(self) -> bool:
        return (
            self._published == self._workload.count
            and self._crowd.tally.received >= self._workload.deliveries
            and not any(publisher.in_flight for publisher, _ in self._publishers)
        )

    def _burst(self) -> float:
        """A burst of each publisher; returns how many seconds to wait for the broker then."""
        timeout_s = 0.1
        for publisher, connection in self._publishers:
            room = publisher.room(connection.unsent_bytes, SEND_AHEAD_BYTES)
            count = min(BURST, room, self._workload.count - self._published)
            if count > 0:
                self._publish(publisher, connection, count)
            if room > count:
                timeout_s = 0
        return timeout_s

    def _pace(self, elapsed_s: float) -> float:
        """Every message that is due, round robin; returns how many seconds to wait for the broker then."""
        publishers, rate = self._publishers, self._workload.rate
        self.lag_s = max(self.lag_s, elapsed_s - self._published / rate)
        due, blocked = min(int(elapsed_s * rate) + 1, self._workload.count), 0
        while self._published < due and blocked < len(publishers):
            publisher, connection = publishers[self._turn]
            self._turn = (self._turn + 1) % len(publishers)
            if publisher.room(connection.unsent_bytes, SEND_AHEAD_BYTES) > 0:
                self._publish(publisher, connection, 1)
                blocked = 0
            else:
                blocked += 1
        if self._published == due:
            time.sleep(NAP_S)
        return 0

    def _publish(self, publisher: Publisher, connection: Connection, count: int) -> None:
        publisher.publish(count, time.monotonic_ns())
        connection.flush()
        self._published += count
