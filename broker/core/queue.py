"""What waits for one recipient, in order: the next few in memory, and however many behind them on the disk.

Deliveries are numbered by whoever is owed them. The oldest wait in the head. Behind it is the gap: of each delivery in
it only its place in the journal is known, eight bytes, and the head is filled up from it before it is empty. What has
just come is fresh: it stays in memory until the journal has it, and then as long as its recipient is likely to take it
soon. Without an archive the gap is always empty, and all is in memory.

It knows neither who the recipient is nor what a disk is. A delivery that can no longer be read comes as None.
"""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, Protocol

from broker.core.records import Accepted, Delivery, Owes, Routed, position_of

HEAD_BYTES: Final = 1 << 14
"""So much of what comes while its recipient is away goes to the head at once, and stays in memory: a thousand of them
have 16 MiB together."""
PORTION_BYTES: Final = 1 << 16
"""The same for one that is there. About as much is read at once; the head is filled up when half of that is left."""
MOST_AT_ONCE: Final = 256
KEEP_BYTES: Final = 1 << 20
"""As much of what is fresh stays in memory for a recipient that is there, which would have to be read again at once."""
MOST_DONE: Final = 4096
"""Places that are no longer needed are let go by so many at a time."""


class Archive(Protocol):
    """Where deliveries that the journal has can be read again."""

    @property
    def safe(self) -> int:
        """The highest position that is on the disk, whatever else counts as committed."""

    @property
    def begun(self) -> int:
        """The position that this turn's records will have."""

    def when_safe(self, tell: Callable[[], None]) -> None:
        """Call `tell`, once, when this turn's records are on the disk, of which there are some; those who asked earlier
        are told earlier.
        """

    def fetch(
        self,
        recipient: int,
        first: int,
        places: Sequence[int],
        arrived: Callable[[list[Delivery | None], int], None],
    ) -> None:
        """Read the deliveries of `recipient` from no. `first` on, which are in `places`, and call `arrived` with them
        and the time; None for one that cannot be read. Never calls it before it returns.
        """


class Queue:
    """The deliveries of one recipient.

    Args:
        arrived: called with the time when deliveries were read that can be taken now.

    Attributes:
        recipient: its number in records; 0 for one whose deliveries are not recorded.
        archive: where to read what is not in memory; None where everything is.
        is_awaited: the recipient is there: what is fresh may be wanted soon.
        end: the number after that of the last delivery.
        count, bytes: of all messages that wait; bytes are those of `Message.size`.
        head: what can be taken now, oldest first.
    """

    __slots__ = (
        "_arrived", "_asked", "_done", "_fresh", "_fresh_bytes", "_gap",  "_head_bytes", "_noted_at",
        "_notes", "_places", "archive", "bytes", "count", "end", "head", "is_awaited", "recipient",
    )  # fmt: skip

    def __init__(self, arrived: Callable[[int], None], archive: Archive | None = None, recipient: int = 0) -> None:
        self._arrived = arrived
        self.archive = archive
        self.recipient = recipient
        self.is_awaited = False
        self.end = 1
        self.count = 0
        self.bytes = 0
        self.head: deque[Delivery | None] = deque()
        self._head_bytes = 0
        self._gap = 0
        self._fresh: deque[Delivery] = deque()
        self._fresh_bytes = 0
        self._places = array("Q")  # of the gap and, as far as they are known, of what is fresh, behind `_done` others
        self._done = 0
        self._notes: deque[tuple[int, int, Accepted | Routed | Owes]] = deque()
        self._noted_at = 0
        self._asked: object = None

    def __len__(self) -> int:
        return self.count

    @property
    def first(self) -> int:
        """The number of the oldest delivery, or of the next where there is none."""
        return self.end - self.count

    @property
    def _behind(self) -> int:
        """The number of the first delivery behind the head."""
        return self.end - self._gap - len(self._fresh)

    # ---- In

    def append(
        self, deliveries: Sequence[Delivery], first: int = 0, record: Accepted | Routed | Owes | None = None
    ) -> None:
        """Let deliveries wait, no. `first` and on, which `record` is about where they are recorded."""
        size = sum([delivery[0].size for delivery in deliveries])
        self.bytes += size
        self.count += len(deliveries)
        self.end = first + len(deliveries)
        if not self._gap and not self._fresh and self._head_bytes < (PORTION_BYTES if self.is_awaited else HEAD_BYTES):
            self.head += deliveries
            self._head_bytes += size
            return
        self._fresh += deliveries
        self._fresh_bytes += size
        if record is not None:
            self.note(first, len(deliveries), record)

    def put_back(self, deliveries: Sequence[Delivery], end: int) -> None:
        """Let these wait before all others, whose numbers follow on theirs; `end` is the number after the last."""
        self.end = end
        size = sum([delivery[0].size for delivery in deliveries])
        self.head.extendleft(reversed(deliveries))
        self._head_bytes += size
        self.bytes += size
        self.count += len(deliveries)

    def recall(self, places: array[int], end: int, size: int) -> None:
        """Begin with deliveries that are in `places`, `size` bytes of messages in all; `end` is the next number."""
        self._places = places
        self._gap = self.count = len(places)
        self.end = end
        self.bytes = size

    def load(self, deliveries: Sequence[Delivery | None], end: int) -> None:
        """The same with all of them in memory."""
        self.head.extend(deliveries)
        self.count = len(deliveries)
        self._head_bytes = self.bytes = sum([delivery[0].size for delivery in deliveries if delivery is not None])
        self.end = end

    # ---- Out

    @property
    def is_ready(self) -> bool:
        """Whether the oldest delivery can be taken. If not, and there is one, it is on its way: see `arrived`."""
        if not self.head:
            self._fill()
        return bool(self.head)

    def pop(self) -> Delivery | None:
        """Take the oldest delivery, which `is_ready`."""
        delivery = self.head.popleft()
        self.count -= 1
        if delivery is not None:
            size = delivery[0].size
            self._head_bytes -= size
            self.bytes -= size
        if self._gap and self._head_bytes < PORTION_BYTES // 2:
            self._fill()
        elif not self.count:
            self.bytes = 0  # what could not be read was counted
        return delivery

    def clear(self) -> None:
        """Nothing waits any more."""
        self.head.clear()
        self._fresh.clear()
        self._notes.clear()
        self._places = array("Q")
        self._head_bytes = self._gap = self._fresh_bytes = self._done = self.bytes = self.count = 0
        self._asked = None

    def _fill(self) -> None:
        """See to it that there is something in the head."""
        if self._gap:
            if self._asked is None and self.archive is not None:
                asked = self._asked = object()
                first, places = self._behind, self.places(self._behind, self.portion)
                self.archive.fetch(self.recipient, first, places, lambda read, now: self._take(asked, read, now))
            return
        while self._fresh and self._head_bytes < PORTION_BYTES:
            delivery = self._fresh.popleft()
            self.head.append(delivery)
            size = delivery[0].size
            self._head_bytes += size
            self._fresh_bytes -= size
            self._forget(1)

    @property
    def portion(self) -> int:
        """How many deliveries to read at once: as if all had the same size."""
        return max(1, min(MOST_AT_ONCE, PORTION_BYTES * self.count // max(1, self.bytes)))

    def _take(self, asked: object, read: list[Delivery | None], now: int) -> None:
        if asked is not self._asked:
            return  # all is gone since
        self._asked = None
        self.head += read
        self._head_bytes += sum([delivery[0].size for delivery in read if delivery is not None])
        self._gap -= len(read)
        self._forget(len(read))
        self._arrived(now)

    def _forget(self, count: int) -> None:
        """The places of the oldest behind the head are no longer needed."""
        self._done = min(self._done + count, len(self._places))
        if self._done >= MOST_DONE:
            del self._places[: self._done]
            self._done = 0

    # ---- Out of memory

    def note(self, first: int, count: int, record: Accepted | Routed | Owes) -> None:
        """Deliveries no. `first` and on are in `record`, from now on or once more."""
        archive = self.archive
        if archive is not None:
            self._notes.append((first, count, record))
            if self._noted_at != archive.begun:  # the first in this turn
                self._noted_at = archive.begun
                archive.when_safe(self._landed)

    def forget_notes(self) -> None:
        """Records of which nobody knows whether they are on the disk are to be written once more."""
        self._notes.clear()
        self._noted_at = 0

    def spill(self) -> None:
        """Let go of what is fresh and on the disk, as far as it will not be wanted soon."""
        keep_bytes = KEEP_BYTES if self.is_awaited else 0
        known = len(self._places) - self._done - self._gap
        while known > 0 and self._fresh_bytes > keep_bytes:
            self._fresh_bytes -= self._fresh.popleft()[0].size
            self._gap += 1
            known -= 1

    def _landed(self) -> None:
        archive, notes = self.archive, self._notes
        while notes and archive is not None and 0 < position_of(notes[0][2].place) <= archive.safe:
            first, count, record = notes.popleft()
            self._land(first, count, record.place)
        self.spill()

    def _land(self, first: int, count: int, place: int) -> None:
        places, begin = self._places, self._behind
        for at in range(max(first, begin) - begin + self._done, first + count - begin + self._done):
            if at < len(places):
                places[at] = place
            elif at == len(places):
                places.append(place)

    # ---- Looking at it

    def held(self, number: int, count: int) -> list[Delivery | None]:
        """Deliveries from `number` on, at most so many, that are in memory; none where that one is not."""
        at = number - self.first
        if at < len(self.head):
            return [*islice(self.head, at, at + count)]
        at -= len(self.head) + self._gap
        return [*islice(self._fresh, at, at + count)] if at >= 0 else []

    def places(self, number: int, count: int) -> array[int]:
        """The places of deliveries from `number` on, at most so many, that are in the gap."""
        at = number - self._behind + self._done
        return self._places[at : min(at + count, self._done + self._gap)]

    def in_memory(self) -> Iterator[tuple[int, Delivery]]:
        """Number and delivery of all that can be seen without reading."""
        for number, delivery in enumerate(self.head, self.first):
            if delivery is not None:
                yield number, delivery
        yield from enumerate(self._fresh, self.end - len(self._fresh))

    @property
    def unseen(self) -> int:
        """How many are not in memory."""
        return self._gap
