"""What the kernel says about another process: CPU time and resident memory, from /proc (Linux)."""

import os
from pathlib import Path


class ProcessGoneError(RuntimeError):
    """The process to be measured has ended."""


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, that all threads of the process have used, ended ones included."""
    fields = _read(pid, "stat").rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / os.sysconf("SC_CLK_TCK")


def resident_kib(pid: int) -> float:
    """Resident memory of the process."""
    return int(_read(pid, "statm").split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1024


def _read(pid: int, name: str) -> str:
    try:
        return Path("/proc", str(pid), name).read_text()
    except OSError as error:
        raise ProcessGoneError(f"process {pid} cannot be measured: {error.strerror or error}") from error
