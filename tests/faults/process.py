"""The process of a node: its lives, and how each of them ends."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec

from faults.disk import Disk
from faults.node import OFFSET, Options

TESTS = Path(__file__).parents[1]
START_S = 120.0
LAST_WRITES_S = 0.5
"""Who has no power any more and nothing to write is killed."""


class NodeProcess:
    """A node on the data folder in `folder`, over all its lives.

    Attributes:
        is_up: whether it was heard to listen, and was not made to end since.
        lives: how often it was started.
        ends: when each life ended, and since when it may not have got written down what it did; by the monotonic clock.
        deaths: ends that nobody had wished for, in words.
    """

    def __init__(self, name: str, folder: Path, options: Options, settle: Callable[[], None] | None = None) -> None:
        self.name = name
        self.disk = Disk(folder)
        self.is_up = False
        self.lives = 0
        self.ends: list[tuple[float, float]] = []
        self.deaths: list[str] = []
        self._folder = folder
        self._options = options
        self._settle = settle
        self._process: asyncio.subprocess.Process | None = None
        self._is_killed = False
        self._clock_ns = 0
        self.disk.data.mkdir(parents=True)
        self.jump(0)

    @property
    def loses_power(self) -> bool:
        """Whether its disk is watched, so that it can."""
        return self._options.loses_power

    async def start(self) -> bool:
        """Begin a life; whether it listens."""
        self.lives += 1
        self._is_killed = False
        options = msgspec.structs.replace(self._options, seed=self._options.seed * 1000 + self.lives)
        command = (sys.executable, "-m", "faults.node", self._folder, msgspec.json.encode(options).decode())
        path = os.pathsep.join(filter(None, (str(TESTS), os.environ.get("PYTHONPATH"))))
        with (self._folder / "stderr").open("ab") as stderr:
            stderr.write(b"--- life %d\n" % self.lives)
            stderr.flush()
            self._process = process = await asyncio.create_subprocess_exec(
                *command,
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env={**os.environ, "PYTHONPATH": path},
                preexec_fn=self._settle,
            )
        assert process.stdout is not None
        try:
            async with asyncio.timeout(START_S):
                line = await process.stdout.readline()
        except TimeoutError:
            line = b""
        self.is_up = b" ready: " in line and not self._is_killed
        if not self.is_up:
            await self.kill()
        return self.is_up

    @property
    def is_dead(self) -> bool:
        """Whether it ended, by itself; this is noted."""
        process = self._process
        if process is None or process.returncode is None or self._is_killed:
            return False
        self._note_end(time.monotonic())
        self.deaths.append(f"life {self.lives} of {self.name} ended with status {process.returncode}")
        self._process = None
        self.is_up = False
        return True

    def signal(self, number: signal.Signals) -> None:
        """To the process, if there is one. (`Process.send_signal` may take its status away from asyncio.)"""
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._process.pid, number)

    async def kill(self) -> None:
        """At once."""
        began_s = time.monotonic()
        self.is_up = False
        self._is_killed = True
        self.signal(signal.SIGKILL)
        process, self._process = self._process, None
        if process is not None:
            await process.wait()
            self._note_end(began_s)

    def _note_end(self, began_s: float) -> None:
        self.ends.append((self.disk.unsafe_since(began_s), time.monotonic()))

    async def cut_power(self) -> bool:
        """End it amid its next writes; its disk holds what such disks keep. False: it wrote nothing, and was killed."""
        process = self._process
        if process is None:
            return False
        began_s = time.monotonic()
        self._is_killed = True
        self.signal(signal.SIGUSR2)
        with suppress(TimeoutError):
            await asyncio.wait_for(process.wait(), LAST_WRITES_S)
        await self.kill()
        self._note_end(began_s)
        left = self._folder / "left"
        shutil.rmtree(left.with_suffix(".new"), ignore_errors=True)  # it was killed too early
        if not left.exists():
            return False
        self.disk.put_back(left)
        return True

    def jump(self, by_s: float) -> None:
        """Its time of day is so much later from now on, or earlier, in all its lives."""
        self._clock_ns += round(by_s * 1e9)
        clock = self._folder / "clock"
        with clock.open("r+b" if clock.exists() else "wb") as file:  # in place: the process has it mapped
            file.write(OFFSET.pack(self._clock_ns))
