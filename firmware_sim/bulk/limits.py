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


class LimitError(RuntimeError):
    """The system does not allow so many devices; the message says what to do."""


def check(config: BulkConfig) -> None:
    """Raise the limit of open files as far as it goes. Raises LimitError where something does not suffice."""
    allow_open_files()
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = config.count + _OTHER_FILES
    if files < needed:
        raise LimitError(f"{config.count} devices need {needed} open files, and {files} are allowed: see `ulimit -Hn`")
    lowest, highest = map(int, _PORTS.read_text().split())
    ports = int((highest - lowest + 1) * _FREE_SHARE)
    for (host, port), count in _connections(config).items():
        sources = max(1, len(config.sources))
        if count > ports * sources:
            raise LimitError(
                f"{count} devices to {host}:{port} need {-(-count // ports)} addresses in `sources`, such as "
                f"127.0.0.2: each has {ports} ports (net.ipv4.ip_local_port_range)"
            )


def _connections(config: BulkConfig) -> Counter[tuple[str, int]]:
    """The most that each address may see: whoever roams may go there."""
    counts: Counter[tuple[str, int]] = Counter()
    for group in config.groups:
        for address in set(group.addresses):
            counts[address] += group.count
    return counts
