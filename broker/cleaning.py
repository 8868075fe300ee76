"""Letting go of old segments: what in them still matters is written again, and then nobody needs them.

A journal of a node whose messages are delivered is nearly all history. Once there is more of it than of what lives,
what lives is written anew, a little at a time between the node's other work: so it stands behind whatever is older.
What is not in memory is read for that. When all of it is on the disk, the old segments go. A node that keeps little
writes little, and one that keeps much waits until it pays.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final

from broker.core.promises import JournalError
from broker.core.records import Placed
from broker.journal.durable import DurableJournal
from broker.listeners.host import Host
from broker.mqtt.snapshots import Pieces, Wanted, pieces
from oriole.logging import Log

if TYPE_CHECKING:
    from broker.core.records import Delivery, Record
    from broker.mqtt.service import MqttService

LOOK_S: Final = 5.0
PAUSE_S: Final = 0.002
"""Between two portions: others are served meanwhile."""
BEHIND_S: Final = 0.1
"""Where the disk is behind: what clients wait for comes first."""
PORTION: Final = 200
"""Records written at once: a fraction of a millisecond of everybody's time."""
LEAST_BYTES: Final = 32 << 20
"""Less history than this is not worth the trouble."""
TIMES: Final = 2
"""How much more history than life there has to be: each byte that lives is written again for every two of others."""

NOT_TAKEN: Final = "the disk did not take all that lives"


class Cleaner:
    """Looks after the journal of one node, with its MQTT service and what it has `beside`, until `close`."""

    __slots__ = (
        "_beside",
        "_failures",
        "_host",
        "_journal",
        "_live_bytes",
        "_round",
        "_service",
        "_timer",
        "_work",
        "least_bytes",
    )

    def __init__(
        self, host: Host, journal: DurableJournal, service: MqttService, beside: Callable[[], Iterator[Record]]
    ) -> None:
        self._beside = beside
        self._host = host
        self._journal = journal
        self._service = service
        self._live_bytes = 0
        self._failures = 0
        self._round: asyncio.Future[str] | None = None
        self._work: Pieces = pieces(service, PORTION, host.now)
        self.least_bytes = LEAST_BYTES
        self._timer: asyncio.TimerHandle = host.loop.call_later(LOOK_S, self._look)

    def close(self) -> None:
        """Leave all as it is."""
        self._timer.cancel()

    async def clean(self) -> None:
        """Let go of all history that there is now. Raises JournalError."""
        while self._round is not None:  # it began before this was asked for
            await asyncio.wait((self._round,))
        if trouble := self._journal.trouble:
            raise JournalError(f"the disk takes nothing at the moment: {trouble}: make room first")
        self._timer.cancel()
        begun = self._begin(self._journal.end_segment())
        await asyncio.wait((begun,))
        if problem := begun.result():
            raise JournalError(problem)

    def _look(self) -> None:
        try:
            history = self._journal.history
        except OSError:
            history = None  # the disk has worse trouble
        if (
            history is not None
            and not self._journal.trouble
            and history.bytes >= max(self.least_bytes, TIMES * self._live_bytes)
        ):
            self._begin(history.upto)
        else:
            self._timer = self._host.loop.call_later(LOOK_S, self._look)

    def _begin(self, upto: int) -> asyncio.Future[str]:
        """Begin a round, after which segments up to `upto` go; its result is why they had to stay, if they had to."""
        self._round = self._host.loop.create_future()
        self._work = pieces(self._service, PORTION, self._host.now, self._beside)
        self._failures = self._journal.failures
        self._clean(upto, self._journal.written_bytes)
        return self._round

    def _clean(self, upto: int, written_bytes: int, read: Sequence[Delivery | None] | None = None) -> None:
        """Write the next portion, `read` for it where it asked; after the last, wait until all is on the disk."""
        if self._journal.failures != self._failures:
            self._give_up(NOT_TAKEN)
            return
        again = partial(self._clean, upto, written_bytes)
        if self._journal.is_behind and read is None:
            self._timer = self._host.loop.call_later(BEHIND_S, again)
            return
        portion = next(self._work, None) if read is None else self._work.send(read)
        archive = self._journal.archive
        if isinstance(portion, Wanted):
            arrived = lambda read, now: self._clean(upto, written_bytes, read)  # noqa: E731
            archive.fetch(portion.session, portion.first, portion.places, arrived)
            return
        if portion is not None:
            self._host.engine.promises.records += portion
            self._timer = self._host.loop.call_later(PAUSE_S, again)
        else:
            self._live_bytes = self._journal.written_bytes - written_bytes
            self._host.engine.promises.records.append(Placed(self._service.router.order))  # what to wait for
            archive.when_safe(partial(self._finish, self._round, upto))
            self._timer = self._host.loop.call_later(BEHIND_S, partial(self._watch, self._round))
        self._host.wake()

    def _watch(self, of: asyncio.Future[str] | None) -> None:
        """Do not wait for a disk that has failed: that it will be well again is not of this round."""
        if self._round is of and self._journal.failures != self._failures:
            self._give_up(NOT_TAKEN)
        elif self._round is of:
            self._timer = self._host.loop.call_later(BEHIND_S, partial(self._watch, of))

    def _finish(self, of: asyncio.Future[str] | None, upto: int) -> None:
        """All that lives is on the disk behind segment `upto`, unless some of it was refused or lost."""
        if self._round is not of:
            return
        self._timer.cancel()
        if self._journal.failures != self._failures:
            self._give_up(NOT_TAKEN)
        else:
            self._journal.forget(upto, self._forgotten)

    def _forgotten(self, trouble: OSError | None) -> None:
        if trouble is not None:
            Log("journal").warning("old segments stay", why=trouble)
        self._give_up(str(trouble or ""))

    def _give_up(self, problem: str) -> None:
        """The round is over; look again later."""
        assert self._round is not None
        self._round.set_result(problem)
        self._round = None
        self._timer = self._host.loop.call_later(LOOK_S, self._look)
