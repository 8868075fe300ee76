"""Processes as the kernel sees them: CPU time, resident memory, open files (Linux)."""

import os
import resource
import time
from pathlib import Path
from typing import Final

_CPUCLOCK_SCHED: Final = 2


class ProcessGoneError(RuntimeError):
    """The process to be measured has ended."""


def cpu_s(pid: int) -> float:
    """CPU seconds, user and system, that all threads of the process have used, ended ones included.

    From the process's CPU clock, to the nanosecond; /proc counts hundredths of a second, a tenth of some runs. The
    clock's number is what clock_getcpuclockid(3) makes of a `pid`, which Python does not offer.
    """
    try:
        return time.clock_gettime(~pid << 3 | _CPUCLOCK_SCHED)
    except OSError as error:
        raise _gone(pid, error) from error


def resident_kib(pid: int) -> float:
    """Resident memory of the process."""
    try:
        pages = int(Path("/proc", str(pid), "statm").read_text().split()[1])
    except OSError as error:
        raise _gone(pid, error) from error
    return pages * os.sysconf("SC_PAGE_SIZE") / 1024


def allow_open_files() -> None:
    """Let this process and those it starts have as many connections as the system gives without asking."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def _gone(pid: int, error: OSError) -> ProcessGoneError:
    return ProcessGoneError(f"process {pid} cannot be measured: {error.strerror or error}")
