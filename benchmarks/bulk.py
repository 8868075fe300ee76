"""How many devices, and how fast, does one bulk process carry before it is late itself?

    python benchmarks/bulk.py [--devices 10000] [--rate 5000] [--seconds 30] [--runs 3]

Streets of meters: each meter reports at QoS 1 on its beat, and one desk per street hears its street's readings, so that
each report is delivered once; one remote per street orders a meter each half second and waits for the state that
confirms it. Broker and generator share the machine: the generator's lag says whether the figures are the broker's.
"""

from __future__ import annotations

import asyncio
import time
from argparse import ArgumentParser

from firmware_sim.bench.brokers import BROKERS, Broker
from firmware_sim.bulk import Bulk, BulkConfig, BulkResult, Group, TargetOf
from firmware_sim.load.process import allow_open_files, cpu_s
from firmware_sim.report.result import MAX_FAIR_LAG_MS

STREETS = 20
DRAIN_S = 20.0
ORDER_EVERY_NS = 500_000_000


def groups(devices: int, rate: float, address: tuple[str, int]) -> list[Group]:
    """Who lives in the streets: `devices` in all, whose meters report `rate` times a second together."""
    meters = devices // STREETS - 2
    every_ns = round(STREETS * meters / rate * 1e9)
    found = []
    for street in range(STREETS):
        place, name = f"town/street-{street}", f"meter{street}"
        targets = [TargetOf(f"{place}/{name}-{number}", "meter") for number in range(1, meters + 1)]
        found += [
            Group(name=f"desk{street}", kind="herald", count=1, place="town", addresses=[address], way="desk",
                  announces="town/news", hears=[f"{place}/+/reading"], every_ns=3_600_000_000_000),
            Group(name=f"remote{street}", kind="remote", count=1, place="town", addresses=[address], way="remote",
                  targets=targets, hears=[f"{place}/+/state"], every_ns=ORDER_EVERY_NS),
            Group(name=name, kind="meter", count=meters, place=place, addresses=[address], way="meter",
                  every_ns=every_ns),
        ]  # fmt: skip
    return found


async def run(devices: int, rate: float, seconds: float, address: tuple[str, int], pid: int) -> BulkResult:
    """One run; what the broker used is printed."""
    bulk = Bulk()
    await bulk.start(BulkConfig(run="bench", seed=1, groups=groups(devices, rate, address), connects_per_s=1000))
    await bulk.wait_until_ready(120)
    await bulk.begin(time.monotonic_ns() + 1_000_000_000)
    await asyncio.sleep(1)
    before_s = cpu_s(pid)
    await asyncio.sleep(seconds)
    print(f"broker: {100 * (cpu_s(pid) - before_s) / seconds:.0f} % CPU; {bulk.progress}")
    await bulk.quiet()
    await bulk.drain(DRAIN_S)
    return await bulk.close()


def show(result: BulkResult, seconds: float) -> None:
    """The figures."""
    lag = result.lag.summary()
    steps = lag.count / seconds
    verdict = "the generator was on time" if lag.p99_ms <= MAX_FAIR_LAG_MS else "TOO LATE: no figure is the broker's"
    print(f"  {result.devices} devices, {steps:.0f} steps/s")
    print(f"  lag p50 {lag.p50_ms:.1f}, p99 {lag.p99_ms:.1f}, max {lag.max_ms:.1f} ms: {verdict}")
    delivered = sum(row.delivered for row in result.subscribers)
    print(f"  due {result.due}, delivered {delivered}, missing {dict(result.missed())}, adds up: {result.adds_up}")
    print(f"  orders {result.orders}, confirmed {result.orders_confirmed}, connections lost {len(result.losses)}")
    for passage, latency in result.latency().items():
        print(f"  {passage}: p50 {latency.p50_ms:.1f}, p99 {latency.p99_ms:.1f}, max {latency.max_ms:.1f} ms")
    print(f"  generator: {result.cpu_s:.1f} s CPU with connecting, {result.resident_mib:.0f} MiB")
    for fault in result.faults():
        print(f"  {fault}")


def main() -> None:
    """Parse the options and measure."""
    parser = ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--devices", type=int, default=10_000)
    parser.add_argument("--rate", type=float, default=5_000)
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    allow_open_files()
    broker: Broker = BROKERS["oriole"]
    for _ in range(options.runs):
        with broker.run() as running:
            result = asyncio.run(run(options.devices, options.rate, options.seconds, running.address, running.pid))
            show(result, options.seconds)


if __name__ == "__main__":
    main()
