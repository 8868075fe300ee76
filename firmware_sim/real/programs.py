"""The programs under test, started as a user would: `oriole broker`, `oriole edge`."""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from firmware_sim.child import python_module
from firmware_sim.fleet.world import Usage, WorldError

READY_S = 20.0
STOP_S = 10.0
"""A node that takes longer hangs."""
LAST_LINES = 8

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>
_libc = ctypes.CDLL(None)


class Program:
    """An `oriole` command that can be killed, stopped and started again. Its log goes to a file.

    Args:
        title: what people call it.
        log_file: what it writes to stderr, all of its lives.
        settle: what its process does before it begins.
    """

    def __init__(self, title: str, log_file: Path, settle: Callable[[], None] | None = None) -> None:
        self.title = title
        self.addresses: list[str] = []
        self._log_file = log_file
        self._settle = settle
        self._process: asyncio.subprocess.Process | None = None
        self._killed = False
        self._is_paused = False
        self._used_s = 0.0
        self._endings: list[str] = []  # of earlier lives

    @property
    def is_running(self) -> bool:
        """Whether it runs, or stands still."""
        return self._process is not None and self._process.returncode is None

    @property
    def pid(self) -> int:
        """Of the process that runs, or ran last."""
        assert self._process is not None
        return self._process.pid

    async def start(self, arguments: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
        """Start `oriole ARGUMENTS` and wait for its ready line. Raises `WorldError` with its last words."""
        if ending := self._ending():
            self._endings.append(ending)
        self._killed = False
        with self._log_file.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *python_module("oriole", *arguments),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
                env=None if environment is None else {**os.environ, **environment},
                start_new_session=True,  # Ctrl-C is for the fleet, which then stops its programs in order
                preexec_fn=self._prepare,
            )
        assert self._process.stdout is not None
        try:
            line = await asyncio.wait_for(self._process.stdout.readline(), READY_S)
        except TimeoutError:
            line = b""
        ready, _, addresses = line.decode().partition(" ready: ")
        if not addresses:
            if self._killed:  # by a fault of the scenario, while it started
                return
            await self.stop()
            said = f": {ready.strip()}" if ready.strip() else ""
            raise WorldError(f"{self.title} did not become ready{said}\n{self._last_words()}")
        self.addresses = addresses.split()

    def _prepare(self) -> None:
        """Run in the new process: it ends when the fleet is killed. An edge left behind would wait for its serial
        ports, and take the next fleet's, which have the same names.
        """
        if self._settle is not None:
            self._settle()
        if sys.platform == "linux":
            _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # one that stands still would not hear of SIGTERM

    def port(self, scheme: str) -> int:
        """The port on which it listens for `scheme`."""
        address = next(address for address in self.addresses if address.startswith(f"{scheme}://"))
        return int(address.rpartition(":")[2])

    def endings(self) -> list[str]:
        """How it ended though nobody ended it, each time, with its last words; and whether it hung."""
        return [*self._endings, *filter(None, (self._ending(),))]

    def _ending(self) -> str:
        if self._process is None or self._killed or self._process.returncode is None:
            return ""
        return f"{self.title} ended with status {self._process.returncode}\n{self._last_words()}"

    def _last_words(self) -> str:
        return "\n".join(self._log_file.read_text(errors="replace").splitlines()[-LAST_LINES:])

    def usage(self) -> Usage:
        """CPU of all its lives and the memory of the last one, from /proc where there is one."""
        used = self._of_this_life()
        return Usage(self._used_s + used.cpu_s, used.resident_mib)

    def _stands_still(self) -> bool:
        try:
            return self._stat()[0] == "T"
        except OSError:
            return False

    def _stat(self) -> list[str]:
        """What /proc says of it, from its state on: see proc(5)."""
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()

    def _of_this_life(self) -> Usage:
        if self._process is None:
            return Usage(0.0, 0.0)
        try:
            fields = self._stat()
            ticks = int(fields[11]) + int(fields[12])
            resident = int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
        except (OSError, IndexError):
            return Usage(0.0, 0.0)
        return Usage(ticks / os.sysconf("SC_CLK_TCK"), resident / 2**20)

    async def kill(self) -> None:
        """SIGKILL. Without effect on what does not run."""
        if self._process is None or self._process.returncode is not None:
            return
        self._killed = True
        self._used_s += self._of_this_life().cpu_s
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    def pause(self, paused: bool) -> None:
        """SIGSTOP, or SIGCONT."""
        self._is_paused = paused
        if self.is_running:
            os.kill(self.pid, signal.SIGSTOP if paused else signal.SIGCONT)

    async def stop(self) -> None:
        """Ask it to end, and end it when it does not. Without effect on what did not start."""
        if self._process is None or self._process.returncode is not None:
            return
        self._killed = True
        if self._stands_still() and not self._is_paused:
            self._endings.append(f"{self.title} stood still, and the scenario had not paused it")
        with contextlib.suppress(ProcessLookupError):
            self.pause(False)
            self._process.terminate()
            try:
                await asyncio.wait_for(self._process.wait(), STOP_S)
            except TimeoutError:
                self._endings.append(f"{self.title} did not end within {STOP_S:g} s of being asked to")
                self._process.kill()
                await self._process.wait()
