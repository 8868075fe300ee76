"""What the system has to allow for so many sockets, found out before the first one."""

import resource
from collections import Counter
from pathlib import Path
from typing import Final

from firmware_sim.load.process import allow_open_files

from .config import BulkConfig

_OTHER_FILES: Final = 32
_PORTS: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_FREE_SHARE: Final = 0.95
"""Of the ports; others connect too, and who comes back finds its last port still waiting."""
_MAX_SOURCES: Final = 250


class LimitError(RuntimeError):
    """The system does not allow so many devices; the message says what to do."""


def sources(config: BulkConfig) -> list[str]:
    """The addresses to connect from, in turn; one that is empty stands for any. Raises the limit of open files as far
    as it goes. Raises LimitError where something does not suffice.
    """
    allow_open_files()
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.count + _silent(config) + _OTHER_FILES
    if files < needed:
        raise LimitError(f"{config.count} devices need {needed} open files, and {files} are allowed: see `ulimit -Hn`")
    lowest, highest = map(int, _PORTS.read_text().split())
    ports = int((highest - lowest + 1) * _FREE_SHARE)
    connections = _connections(config)
    most = max(connections.values())
    if most <= ports:
        return [""]
    needed = -(-most // ports)
    if needed > _MAX_SOURCES or not all(host.startswith("127.") for host, _ in connections):
        raise LimitError(
            f"{most} devices to one address, and this machine has {ports} ports to connect from: "
            "widen net.ipv4.ip_local_port_range, or give the population more nodes"
        )
    return [f"127.0.0.{last}" for last in range(1, needed + 1)]


def _silent(config: BulkConfig) -> int:
    """Devices whose connections may end in silence: each holds the old one open beside the new."""
    scenario = config.scenario
    targets = {target for event in scenario.schedule if event.verb == "roam" for target in event.targets}
    targets |= {target for fault in scenario.faults if fault.verb == "power_cut" for target in fault.targets}
    return sum(scenario.populations[name].count for name in config.doors if name in targets)


def _connections(config: BulkConfig) -> Counter[tuple[str, int]]:
    """The most that each address may see: whoever roams may go there."""
    counts: Counter[tuple[str, int]] = Counter()
    for name, doors in config.doors.items():
        for address in set(doors):
            counts[address] += config.scenario.populations[name].count
    return counts
