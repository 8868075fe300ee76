"""The bulk devices as a fleet sees them: a handle on the process that carries them."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from typing import Final

import msgspec

from firmware_sim.child import python_module
from firmware_sim.devices.clock import SECOND_NS
from firmware_sim.scenario.values import plain

from .config import BulkConfig
from .orders import Answer, Begin, Closed, Do, Flush, Flushed, Order, Progress, Quiet, Refused, Stop

CLOSE_S: Final = 60.0
_LONGEST_LINE_BYTES: Final = 1 << 30
_CHECK_S: Final = 0.1


class BulkError(RuntimeError):
    """The bulk process refused, did not get ready, or is gone."""


class Bulk:
    """`start`, `wait_until_ready`, `begin`, `do`, `quiet`, `flush`, `close`. Every method raises `BulkError`.

    Args:
        enter: called in the new process before it begins: to enter a network namespace.
    """

    def __init__(self, enter: Callable[[], None] | None = None) -> None:
        self._enter = enter
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[Closed] | None = None
        self.names: frozenset[str] = frozenset()
        """The devices that it carries."""
        self._flushed_ns = 0
        self.progress: Progress | None = None
        """What the process last said of itself; None before it is there."""

    async def start(self, config: BulkConfig) -> None:
        """Start the process; its devices begin to connect. Refused at once: more than the system allows."""
        self.names = frozenset(member.name for member in config.members())
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(
            *python_module("firmware_sim.bulk"),
            stdin=pipe,
            stdout=pipe,
            limit=_LONGEST_LINE_BYTES,
            preexec_fn=self._prepare,
        )
        self._reading = asyncio.create_task(self._read(self._process))
        try:
            await self._tell(plain(config))
            while self.progress is None:
                await self._look()
        except BaseException:
            await self.abandon()
            raise

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until every device that is to be on is, and has all its subscriptions confirmed."""
        if not await self._wait(timeout_s, lambda now: not now.starting and now.ready == now.on):
            assert self.progress is not None
            wanted = self.progress.starting + self.progress.on
            missing = f"{wanted - self.progress.ready} of {wanted} bulk devices ({self.progress.trouble})"
            raise BulkError(f"waited {timeout_s:g} s in vain for {missing}")

    async def begin(self, at_ns: int = 0) -> None:
        """Let the plan begin at `at_ns` of CLOCK_MONOTONIC, a second ahead or more; 0 for as soon as it is prepared."""
        await self._tell(Begin(at_ns))

    async def do(self, order: Do) -> None:
        """Let something happen to devices."""
        await self._tell(order)

    async def quiet(self) -> None:
        """Have devices say nothing more by themselves."""
        await self._tell(Quiet())

    async def flush(self) -> int:
        """Have all in the journal that was seen by a moment from now on; that moment, in ns of CLOCK_MONOTONIC."""
        asked_ns = time.monotonic_ns()
        await self._tell(Flush())
        while self._flushed_ns < asked_ns:
            await self._look()
        return self._flushed_ns

    async def close(self) -> Closed:
        """Complete the journal and disconnect everybody; the process ends."""
        assert self._reading is not None
        try:
            await self._tell(Stop())
            return await asyncio.wait_for(asyncio.shield(self._reading), CLOSE_S)
        except TimeoutError:
            raise BulkError(f"the bulk process did not close within {CLOSE_S:g} s") from None
        finally:
            await self.abandon()

    async def abandon(self) -> None:
        """End the process, whatever it does. Without effect on one that has ended."""
        if self._reading is not None:
            self._reading.cancel()
            with contextlib.suppress(asyncio.CancelledError, BulkError):
                await self._reading
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    async def _read(self, process: asyncio.subprocess.Process) -> Closed:
        assert process.stdout is not None
        async for line in process.stdout:
            match msgspec.json.decode(line, type=Answer):
                case Progress() as progress:
                    self.progress = progress
                case Flushed(at_ns):
                    self._flushed_ns = at_ns
                case Refused(error):
                    raise BulkError(error)
                case Closed() as closed:
                    return closed
        raise BulkError("the bulk process ended unexpectedly")

    async def _wait(self, timeout_s: float, is_so: Callable[[Progress], bool]) -> bool:
        """Wait for a progress, younger than this call, of which that is so."""
        asked_ns = time.monotonic_ns()
        deadline_ns = asked_ns + round(timeout_s * SECOND_NS)
        while True:
            progress = self.progress
            if progress is not None and progress.at_ns > asked_ns:
                if is_so(progress):
                    return True
                if progress.at_ns > deadline_ns:
                    return False
            await self._look()

    async def _look(self) -> None:
        """Give the process time, and raise what became of it."""
        assert self._reading is not None
        await asyncio.wait([self._reading], timeout=_CHECK_S)
        if self._reading.done():
            await self._reading

    async def _tell(self, order: Order | dict[str, object]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(msgspec.json.encode(order) + b"\n")
            await self._process.stdin.drain()
        except ConnectionError:
            assert self._reading is not None
            await self._reading
            raise BulkError("the bulk process takes no more orders") from None

    def _prepare(self) -> None:
        """Run in the new process: Ctrl-C reaches it too, but the fleet decides when it ends."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        if self._enter is not None:
            self._enter()
