"""The load generator: one thread, one poller, thousands of MQTT connections; publishes, verifies and measures.

How it sends decides what the broker's work costs, so the pattern is fixed: flat out, every publisher in turn sends a
burst of up to 64 messages in one write, up to 64 KiB ahead of what the kernel takes; at a rate, every message is a write
of its own, round robin; what a subscriber acknowledges leaves in one write per read. Linux only: epoll and /proc.
"""

import time
from typing import Final

from firmware_sim.load.connection import Connection
from firmware_sim.load.crowd import Crowd
from firmware_sim.load.publisher import Publisher
from firmware_sim.load.reading import Reading
from firmware_sim.load.report import Report
from firmware_sim.load.workload import Workload

_BURST: Final = 64
_SEND_AHEAD_BYTES: Final = 65_536
_NAP_S: Final = 20e-6
"""Between two turns at a rate: with the kernel's timer slack less than 0.1 ms."""
_GIVE_UP_S: Final = 5.0
"""After so long without any progress, what is missing is lost."""
_LINGER_S: Final = 0.05
"""A doubled last message comes within this."""


class Generator:
    """One run of `workload` against the broker at `address` (host, port), measured as process `pid` if given."""

    def __init__(self, address: tuple[str, int], workload: Workload, pid: int | None = None) -> None:
        self._workload = workload
        self._pid = pid
        self._crowd = Crowd(address, workload)
        self._published = 0
        self._turn = 0
        self._lag_s = 0.0

    def run(self) -> Report:
        """Connect everybody, hold them quiet, publish everything, wait for the rest.

        Raises LoadError, and ProcessGone when `pid` ends.
        """
        crowd = self._crowd
        try:
            began = Reading.take(self._pid)
            crowd.connect()
            connected = Reading.take(self._pid)
            self._serve(self._workload.hold)
            held = Reading.take(self._pid)
            self._drive()
            done = Reading.take(self._pid)
            self._serve(_LINGER_S)
        finally:
            crowd.close()
        return self._report(connected.since(began), held.since(connected), done.since(held))

    def _serve(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            self._crowd.poll(left)

    def _drive(self) -> None:
        """Publish all messages; return when all are delivered and acknowledged, or nothing moves any more."""
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
            elif now - progress > _GIVE_UP_S:
                return
            if now - start > workload.max:
                return

    def _settled(self) -> bool:
        return (
            self._published == self._workload.count
            and self._crowd.tally.received >= self._workload.deliveries
            and not any(publisher.in_flight for publisher, _ in self._crowd.publishers)
        )

    def _burst(self) -> float:
        """Flat out: a burst of each publisher; returns how long to wait for the broker then, in seconds."""
        timeout_s = 0.1
        for publisher, connection in self._crowd.publishers:
            room = publisher.room(connection.unsent_bytes, _SEND_AHEAD_BYTES)
            count = min(_BURST, room, self._workload.count - self._published)
            if count > 0:
                self._publish(publisher, connection, count)
            if room > count:
                timeout_s = 0
        return timeout_s

    def _pace(self, elapsed_s: float) -> float:
        """At a rate: every message that is due, round robin; returns how long to wait for the broker, in seconds."""
        publishers, rate = self._crowd.publishers, self._workload.rate
        self._lag_s = max(self._lag_s, elapsed_s - self._published / rate)
        due, blocked = min(int(elapsed_s * rate) + 1, self._workload.count), 0
        while self._published < due and blocked < len(publishers):
            publisher, connection = publishers[self._turn]
            self._turn = (self._turn + 1) % len(publishers)
            if publisher.room(connection.unsent_bytes, _SEND_AHEAD_BYTES) > 0:
                self._publish(publisher, connection, 1)
                blocked = 0
            else:
                blocked += 1
        if self._published == due:
            time.sleep(_NAP_S)
        return 0

    def _publish(self, publisher: Publisher, connection: Connection, count: int) -> None:
        publisher.publish(count, time.monotonic_ns())
        connection.flush()
        self._published += count

    def _report(self, connecting: Reading, quiet: Reading, driving: Reading) -> Report:
        workload, crowd, tally = self._workload, self._crowd, self._crowd.tally
        p50_us, p99_us, p999_us = crowd.latency.percentiles_us(50, 99, 99.9)
        return Report(
            expected=workload.deliveries,
            delivered=tally.received,
            lost=workload.deliveries - tally.received,
            doubled=tally.doubled,
            reordered=tally.reordered,
            altered=tally.altered,
            refused=sum(publisher.refused + publisher.in_flight for publisher, _ in crowd.publishers),
            seconds=driving.seconds,
            deliveries_per_s=tally.received / driving.seconds,
            us_cpu_per_delivery=driving.broker_cpu_s * 1e6 / max(tally.received, 1),
            broker_cpu_percent=100 * driving.broker_cpu_s / driving.seconds,
            generator_cpu_percent=100 * driving.generator_cpu_s / driving.seconds,
            lag_max_ms=self._lag_s * 1000,
            p50_us=p50_us,
            p99_us=p99_us,
            p999_us=p999_us,
            us_cpu_per_connect=connecting.broker_cpu_s * 1e6 / len(crowd),
            connects_per_s=len(crowd) / connecting.seconds,
            kib_per_connection=connecting.broker_resident_kib / len(crowd),
            idle_cpu_percent=100 * quiet.broker_cpu_s / quiet.seconds if workload.hold else 0.0,
        )
