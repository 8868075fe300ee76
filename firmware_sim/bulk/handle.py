"""The bulk devices as a fleet sees them: a handle on the process that carries them."""

import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from typing import Final

import msgspec

from firmware_sim.child import leave_signals_to_parent, python_module
from firmware_sim.scenario.values import plain

from .config import BulkConfig
from .orders import Answer, Begin, Closed, Do, Flush, Flushed, Order, Progress, Quiet, Refused, Stop

START_S: Final = 60.0
"""Ten thousand devices are made in a second or two; a small machine may take longer."""
SILENCE_S: Final = 15.0
"""It speaks every second, unless it stands still."""
CLOSE_S: Final = 60.0
_LONGEST_LINE_BYTES: Final = 1 << 20


class BulkError(RuntimeError):
    """The bulk process refused, did not get ready, says nothing any more, or is gone."""


class Bulk:
    """`start`, `wait_until_ready`, `begin`, `do`, `quiet`, `flush`, `close`; all but `do` raise `BulkError`.

    Args:
        enter: called in the new process before it begins: to enter a network namespace.
    """

    def __init__(self, enter: Callable[[], None] | None = None) -> None:
        self._enter = enter
        self._process: asyncio.subprocess.Process | None = None
        self._reading: asyncio.Task[Closed] | None = None
        self._news = asyncio.Event()
        self._flushed_ns = 0
        self.names: frozenset[str] = frozenset()
        """The devices that it carries."""
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
            self._tell(plain(config))
            await self._hear(lambda: self.progress is not None, START_S)
        except BaseException:
            await self.abandon()
            raise

    async def wait_until_ready(self, timeout_s: float) -> None:
        """Wait until every device that is to be on is, and has all its subscriptions confirmed."""
        asked_ns = time.monotonic_ns()

        def is_ready() -> bool:
            now = self.progress
            return now is not None and now.at_ns > asked_ns and not now.starting and now.ready == now.on

        try:
            await self._hear(is_ready, timeout_s)
        except _SilentError:
            raise BulkError(f"waited {timeout_s:g} s in vain for {self.missing()}") from None

    def missing(self) -> str:
        """How many devices are not ready, and what one of them heard last; empty when all are, as far as is known."""
        now = self.progress
        if now is None or now.ready == now.starting + now.on:
            return ""
        wanted = now.starting + now.on
        trouble = f" ({now.trouble})" if now.trouble else ""
        return f"{wanted - now.ready} of {wanted} bulk devices{trouble}"

    async def begin(self, at_ns: int) -> None:
        """Let the plan begin at `at_ns` of CLOCK_MONOTONIC, a second ahead or more."""
        await self._order(Begin(at_ns))

    def do(self, order: Do) -> None:
        """Let something happen to a device."""
        self._tell(order)

    async def quiet(self) -> None:
        """Have devices say nothing more by themselves."""
        await self._order(Quiet())

    async def flush(self) -> int:
        """Have all in the journal that was seen by a moment from now on; that moment, in ns of CLOCK_MONOTONIC."""
        asked_ns = time.monotonic_ns()
        await self._order(Flush())
        await self._hear(lambda: self._flushed_ns > asked_ns, SILENCE_S)
        return self._flushed_ns

    async def close(self) -> Closed:
        """Complete the journal and disconnect everybody; the process ends."""
        assert self._reading is not None
        try:
            await self._order(Stop())
            return await asyncio.wait_for(asyncio.shield(self._reading), CLOSE_S)
        except TimeoutError:
            raise BulkError(f"the bulk process did not close within {CLOSE_S:g} s") from None
        finally:
            await self.abandon()

    async def abandon(self) -> None:
        """End the process, whatever it does. Without effect on one that has ended."""
        if self._reading is not None and not self._reading.done():
            self._reading.cancel()
            await asyncio.wait([self._reading])
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()

    def check(self) -> None:
        """Raises `BulkError` where the process is gone."""
        if self._reading is not None and self._reading.done() and not self._reading.cancelled():
            self._reading.result()

    async def _read(self, process: asyncio.subprocess.Process) -> Closed:
        assert process.stdout is not None
        try:
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
                self._news.set()
            raise BulkError(f"the bulk process {_ended(await process.wait())}")
        finally:
            self._news.set()

    async def _hear(self, is_so: Callable[[], bool], timeout_s: float) -> None:
        """Wait until the process has said something by which it is so."""
        try:
            async with asyncio.timeout(timeout_s):
                while not is_so():
                    self.check()
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise _SilentError(f"the bulk process has said nothing of use for {timeout_s:g} s") from None

    async def _order(self, order: Order) -> None:
        """Tell it, and wait until it has gone out."""
        assert self._process is not None
        assert self._process.stdin is not None
        self.check()
        self._tell(order)
        try:
            async with asyncio.timeout(SILENCE_S):
                await self._process.stdin.drain()
        except (ConnectionError, TimeoutError):
            self.check()
            raise BulkError("the bulk process takes no more orders") from None

    def _tell(self, order: Order | dict[str, object]) -> None:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(order) + b"\n")

    def _prepare(self) -> None:
        """Run in the new process."""
        leave_signals_to_parent()
        if self._enter is not None:
            self._enter()


class _SilentError(BulkError):
    """It is there, and what was waited for has not come."""


def _ended(code: int) -> str:
    """How a process ended that was not to end, in words."""
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended unexpectedly, with status {code}"
