"""What waits on the disk, fetched for those who wait for it: by a thread of its own, so that the loop never does.

Several requests are served together, in the order of the files, since what many are owed was often recorded at the same
time. That is some milliseconds of work, and few enough messages that all of them may be in memory.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Condition, Thread
from typing import Final

from broker.core.records import Delivery
from broker.journal.batches import Batches

MOST_TOGETHER: Final = 16

Arrived = Callable[[list[Delivery | None], int], None]


@dataclass(slots=True, frozen=True)
class Request:
    """Deliveries of a recipient from no. `first` on, by their places, and whom to call with them."""

    recipient: int
    first: int
    places: Sequence[int]
    arrived: Arrived


class Archive:
    """See `broker.core.queue.Archive`.

    Args:
        batches: who reads; used by the thread alone from the first request on.
        call: has a function called on the loop, from any thread.
        wake: lets the engine have its turn, and says what time it is; called on the loop.
        safe_position: what is on the disk.
        begun: where the batch will be that the engine is filling.
    """

    __slots__ = (
        "_batches", "_begun", "_call", "_is_closing", "_ready", "_requests", "_safe", "_thread", "_unsafe", "wake",
    )  # fmt: skip

    def __init__(
        self,
        batches: Batches,
        call: Callable[[Callable[[], object]], object],
        safe: Callable[[], int],
        begun: Callable[[], int],
    ) -> None:
        self._batches = batches
        self._call = call
        self._safe = safe
        self._begun = begun
        self.wake: Callable[[], int] = int
        self._unsafe: deque[tuple[int, Callable[[], None]]] = deque()
        self._requests: deque[Request | Callable[[], None]] = deque()
        self._ready = Condition()
        self._is_closing = False
        self._thread: Thread | None = None

    # ---- What is safe

    @property
    def safe(self) -> int:
        """See `broker.core.queue.Archive`."""
        return self._safe()

    @property
    def begun(self) -> int:
        """See `broker.core.queue.Archive`."""
        return self._begun()

    def when_safe(self, tell: Callable[[], None]) -> None:
        """See `broker.core.queue.Archive`."""
        self._unsafe.append((self._begun(), tell))

    def committed(self) -> None:
        """More is on the disk."""
        unsafe, safe = self._unsafe, self._safe()
        while unsafe and unsafe[0][0] <= safe:
            unsafe.popleft()[1]()

    def postpone(self, position: int) -> None:
        """What was not safe was lost, and will be again at `position`."""
        self._unsafe = deque((position, tell) for _, tell in self._unsafe)

    # ---- Fetching

    def fetch(self, recipient: int, first: int, places: Sequence[int], arrived: Arrived) -> None:
        """See `broker.core.queue.Archive`."""
        self._put(Request(recipient, first, places, arrived))

    def do(self, work: Callable[[], None]) -> None:
        """Have `work` done by the thread when all that was asked for before is fetched."""
        self._put(work)

    def close(self) -> None:
        """Fetch nothing any more."""
        with self._ready:
            self._is_closing = True
            self._ready.notify()
        self._batches.stop()
        if self._thread is not None:
            self._thread.join()
        self._batches.close()

    def _put(self, request: Request | Callable[[], None]) -> None:
        with self._ready:
            if self._thread is None:
                self._batches.is_patient = True  # now that nobody waits for it
                self._thread = Thread(target=self._run, name="archive", daemon=True)
                self._thread.start()
            self._requests.append(request)
            self._ready.notify()

    # ---- In the thread

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            if isinstance(taken, list):
                for request, read in zip(taken, self._read(taken), strict=True):
                    self._call(partial(self._arrive, request, read))
            else:
                taken()

    def _take(self) -> list[Request] | Callable[[], None] | None:
        """The next requests, or something to do; None at the end."""
        with self._ready:
            self._ready.wait_for(lambda: self._requests or self._is_closing)
            if self._is_closing:
                return None
            together: list[Request] = []
            while self._requests and len(together) < MOST_TOGETHER:
                request = self._requests.popleft()
                if isinstance(request, Request):
                    together.append(request)
                elif together:
                    self._requests.appendleft(request)
                    break
                else:
                    return request
            return together

    def _read(self, requests: Sequence[Request]) -> list[list[Delivery | None]]:
        found: list[list[Delivery | None]] = [[None] * len(request.places) for request in requests]
        wanted = [
            (place, which, index)
            for which, request in enumerate(requests)
            for index, place in enumerate(request.places)
        ]
        for place, which, index in sorted(wanted):
            request = requests[which]
            found[which][index] = self._batches.delivery(place, request.recipient, request.first + index)
        return found

    # ---- On the loop again

    def _arrive(self, request: Request, read: list[Delivery | None]) -> None:
        request.arrived(read, self.wake())
