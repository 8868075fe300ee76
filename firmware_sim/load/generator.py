"""The load generator: one thread, one poller, thousands of MQTT connections; publishes, verifies and measures.

Linux only: epoll and /proc.
"""

from contextlib import closing
from typing import Final

from firmware_sim.load.crowd import Crowd
from firmware_sim.load.loop import Loop, PythonLoop
from firmware_sim.load.native import NativeLoop, compiled
from firmware_sim.load.reading import Reading
from firmware_sim.load.report import Report
from firmware_sim.load.workload import Workload

_LINGER_S: Final = 0.05
"""A doubled last message comes within this."""


class Generator:
    """One run of `workload` against the broker at `address` (host, port), measured as process `pid` if given.

    `native` asks for the C loop, where it can be compiled.
    """

    def __init__(
        self, address: tuple[str, int], workload: Workload, pid: int | None = None, *, native: bool = True
    ) -> None:
        self._address = address
        self._workload = workload
        self._pid = pid
        self._native = native

    def run(self) -> Report:
        """Connect everybody, hold them quiet, publish everything, wait for the rest.

        Raises LoadError, and ProcessGoneError when `pid` ends.
        """
        library = compiled() if self._native else None
        crowd = Crowd(self._address, self._workload)
        try:
            began = Reading.take(self._pid)
            crowd.connect()
            connected = Reading.take(self._pid)
            loop = NativeLoop(library, crowd, self._workload) if library else PythonLoop(crowd, self._workload)
            with closing(loop):
                loop.serve(self._workload.hold)
                held = Reading.take(self._pid)
                loop.drive()
                done = Reading.take(self._pid)
                loop.serve(_LINGER_S)
        finally:
            crowd.close()
        return self._report(crowd, loop, connected.since(began), held.since(connected), done.since(held))

    def _report(self, crowd: Crowd, loop: Loop, connecting: Reading, quiet: Reading, driving: Reading) -> Report:
        tally, clients = crowd.tally, len(crowd.clients)
        p50_us, p99_us, p999_us = crowd.latency.percentiles_us(50, 99, 99.9)
        return Report(
            loop="C" if isinstance(loop, NativeLoop) else "Python",
            expected=self._workload.deliveries,
            delivered=tally.received,
            lost=self._workload.deliveries - tally.received,
            doubled=tally.doubled,
            reordered=tally.reordered,
            altered=tally.altered,
            refused=loop.refused,
            seconds=driving.seconds,
            deliveries_per_s=tally.received / driving.seconds,
            us_cpu_per_delivery=driving.broker_cpu_s * 1e6 / max(tally.received, 1),
            broker_cpu_percent=100 * driving.broker_cpu_s / driving.seconds,
            generator_cpu_percent=100 * driving.generator_cpu_s / driving.seconds,
            lag_max_ms=loop.lag_s * 1000,
            p50_us=p50_us,
            p99_us=p99_us,
            p999_us=p999_us,
            us_cpu_per_connect=connecting.broker_cpu_s * 1e6 / clients,
            connects_per_s=clients / connecting.seconds,
            kib_per_connection=connecting.broker_resident_kib / clients,
            idle_cpu_percent=100 * quiet.broker_cpu_s / quiet.seconds if self._workload.hold else 0.0,
        )
