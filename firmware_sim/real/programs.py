"""The programs under test, started as a user would: `oriole broker`, `oriole edge`. `town.py` says which."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

from firmware_sim.child import python_module

READY_S = 20.0
STOP_S = 5.0
LAST_LINES = 8

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_libc = ctypes.CDLL(None)


class ProgramError(RuntimeError):
    """A program did not start; the message has its last words."""


@dataclass(slots=True, frozen=True)
class Usage:
    """What a program has used so far."""

    cpu_s: float
    resident_mib: float


class Program:
    """A running `oriole` command. Its log goes to a file, its ready line says where it listens."""

    def __init__(self, title: str, log_file: Path) -> None:
        self.title = title
        self.addresses: list[str] = []
        self._log_file = log_file
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *arguments: str) -> None:
        """Start `oriole ARGUMENTS` and wait for its ready line. Raises `ProgramError`."""
        with self._log_file.open("wb") as log:
            self._process = await asyncio.create_subprocess_exec(
                *python_module("oriole", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                start_new_session=True,  # Ctrl-C is for the demo, which then stops its programs in order
                preexec_fn=_end_with_the_demo if sys.platform == "linux" else None,
            )
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), READY_S)
        except TimeoutError:
            line = b""
        ready, _, addresses = line.decode().partition(" ready: ")
        if not addresses:
            await self.stop()
            said = f": {ready.strip()}" if ready.strip() else ""
            raise ProgramError(f"{self.title} did not become ready{said}\n{self._last_words()}")
        self.addresses = addresses.split()

    def address(self, scheme: str) -> str:
        """The first address that speaks `scheme`."""
        return next(address for address in self.addresses if address.startswith(f"{scheme}://"))

    def ending(self) -> str:
        """How it ended, with its last words; empty while it runs."""
        if self._process is None or self._process.returncode is None:
            return ""
        return f"{self.title} ended with status {self._process.returncode}\n{self._last_words()}"

    def _last_words(self) -> str:
        return "\n".join(self._log_file.read_text(errors="replace").splitlines()[-LAST_LINES:])

    def usage(self) -> Usage | None:
        """CPU and memory from /proc; None when the program is gone or there is no /proc."""
        if self._process is None:
            return None
        try:
            fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
            ticks = int(fields[11]) + int(fields[12])
            resident = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return None
        return Usage(ticks / os.sysconf("SC_CLK_TCK"), resident / 2**20)

    async def stop(self) -> None:
        """Ask it to end, and end it when it does not. Without effect on what did not start."""
        if self._process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_S)
            except TimeoutError:
                self._process.kill()
                await self._process.wait()


def _end_with_the_demo() -> None:
    """Run in the new process: it ends when the demo is killed. An edge left behind would wait for its serial ports, and
    take the next demo's, which have the same names.
    """
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
