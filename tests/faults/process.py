"""The broker's process: its lives, and how each of them ends. Its port is another one in each."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from contextlib import suppress
from pathlib import Path

import msgspec

from faults.broker import Options

TESTS = Path(__file__).parents[1]
START_S = 20.0
LAST_WRITES_S = 0.5
"""Who has no power any more and nothing to write is killed."""


class BrokerProcess:
    """A broker on the data folder in `folder`, over all its lives.

    Attributes:
        port: where it listens; None while it does not.
        lives: how often it was started.
        deaths: ends that nobody had wished for, in words.
    """

    def __init__(self, folder: Path, options: Options) -> None:
        self.folder = folder
        self.port: int | None = None
        self.lives = 0
        self.deaths: list[str] = []
        self._options = options
        self._process: asyncio.subprocess.Process | None = None
        self._is_killed = False

    async def start(self) -> bool:
        """Begin a life; whether it listens."""
        self.lives += 1
        self._is_killed = False
        options = msgspec.structs.replace(self._options, seed=self._options.seed * 1000 + self.lives)
        command = (sys.executable, "-m", "faults.broker", self.folder / "data", msgspec.json.encode(options).decode())
        with (self.folder / "stderr").open("ab") as stderr:
            stderr.write(b"--- life %d\n" % self.lives)
            stderr.flush()
            self._process = process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, stderr=stderr, env={**os.environ, "PYTHONPATH": str(TESTS)}
            )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_S):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        if b" ready: " not in line:
            await self.kill()
            return False
        self.port = int(line.rsplit(b":", 1)[1])
        return True

    @property
    def is_dead(self) -> bool:
        """Whether it ended, by itself; this is noted."""
        process = self._process
        if process is None or process.returncode is None or self._is_killed:
            return False
        self.deaths.append(f"life {self.lives} of the broker ended with status {process.returncode}")
        self._process = self.port = None
        return True

    def signal(self, number: signal.Signals) -> None:
        """To the process, if there is one. (`Process.send_signal` may take its status away from asyncio.)"""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def kill(self) -> None:
        """At once."""
        self.port = None
        self._is_killed = True
        self.signal(signal.SIGKILL)
        process, self._process = self._process, None
        if process is not None:
            await process.wait()

    async def cut_power(self) -> bool:
        """End it amid its next writes; its disk holds what such disks keep. False: it wrote nothing, and was killed."""
        process = self._process
        if process is None:
            return False
        self._is_killed = True
        self.signal(signal.SIGUSR2)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), LAST_WRITES_S)
        await self.kill()
        left = self.folder / "left"
        if not left.exists():
            return False
        journal = self.folder / "data" / "journal"
        shutil.rmtree(journal)
        left.rename(journal)
        return True
