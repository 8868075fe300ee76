"""What is known of a session, or of a stream to the centre, while records are put together.

Of a message that is owed only its place is known. Numbers say which one a record is about, so a record may come twice,
and may be missing: what no record tells of is `UNKNOWN`.
"""

from __future__ import annotations

from array import array
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from broker.core.message import Message
from broker.core.records import Testament
from broker.mqtt.session import IDENTIFIERS, Subscription, identifier_of

MOST_GONE = 1000
"""Deliveries that have ended are let go by so many at a time."""
UNKNOWN: Final = 0
"""The place of a delivery that no record tells of; it may come. At the end it is one that was lost."""
CONFIRMED: Final = 1
"""Instead of the place: QoS 2, its client has it, and PUBREL is still to be confirmed."""
GONE: Final = 2
"""Instead of the place: it has ended."""


@dataclass(slots=True)
class RememberedStream:
    """A stream to the centre: its messages from no. `first` on; None for a number that was given to none."""

    traffic_class: str
    first: int
    places: deque[int] = field(default_factory=deque)
    messages: deque[Message | None] = field(default_factory=deque)
    is_shifted: bool = False
    """Some of its records are not known: which numbers were given cannot be told any more."""

    def owe(self, first: int, count: int, place: int) -> None:
        """Messages no. `first` and on are in `place`."""
        for number in range(max(first, self.first), first + count):
            self.skip(number + 1 - self.first - len(self.places))
            self.places[number - self.first] = place

    def skip(self, count: int) -> None:
        """The next numbers are given to none."""
        self.places.extend([UNKNOWN] * count)

    def release(self, upto: int) -> None:
        """Those up to this number have ended."""
        for _ in range(min(upto + 1 - self.first, len(self.places))):
            self.places.popleft()
        self.first = max(self.first, upto + 1)


@dataclass(slots=True)
class Remembered:
    """A session that is being put together. `places` has where its deliveries are, from number `begin` on, `sizes` the
    bytes of their messages.
    """

    number: int
    client_id: str
    username: str | None
    expiry_interval: int
    window: int
    will: Testament | None
    node: str
    """The name of another node whose session it is, or empty."""
    first: int
    """The number of the oldest delivery that has not ended, or of the next."""
    begin: int
    sent_before: int = 0
    """Deliveries below this number may have been sent."""
    left_at: int | None = None
    """When its client left; None: it was there at the end."""
    subscriptions: dict[bytes, Subscription] = field(default_factory=dict)
    late: dict[bytes, None] = field(default_factory=dict)
    received: dict[int, None] = field(default_factory=dict)
    places: array[int] = field(default_factory=lambda: array("Q"))
    sizes: array[int] = field(default_factory=lambda: array("I"))

    @property
    def next(self) -> int:
        """The number of the next delivery."""
        return self.begin + len(self.places)

    def owe(self, first: int, count: int, size: int, place: int) -> None:
        """It is owed deliveries no. `first` and on, with `size` bytes of messages in all, or they are in another place
        now.
        """
        if first - self.begin == len(self.places):
            if count == 1:
                self.places.append(place)
                self.sizes.append(size)
            else:
                self.places.extend([place] * count)
                self.sizes.extend([size // count] * count)
            return
        for number in range(max(first, self.begin), first + count):
            self._know(number)
            at = number - self.begin
            if self.places[at] not in (CONFIRMED, GONE):
                self.places[at], self.sizes[at] = place, size // count

    def _know(self, number: int) -> None:
        """Have an entry for a delivery, whatever is known of it."""
        missing = number + 1 - self.next
        if missing > 0:
            self.places.extend([UNKNOWN] * missing)
            self.sizes.extend([0] * missing)

    def succeed(self, before: Remembered) -> None:
        """Be what has become of a session that was known `before`: its deliveries from `first` on stay."""
        begin = self.first - before.begin
        self.places, self.sizes = before.places[max(begin, 0) :], before.sizes[max(begin, 0) :]
        self.begin = max(self.first, before.begin)
        self.first = self.begin
        self.sent_before = before.sent_before

    def see(self) -> None:
        """Its client is there: as many deliveries as its window has room for, the oldest, may have been sent."""
        room = self.window
        for number in range(self.first, self.next):
            if not room:
                return
            if self.places[number - self.begin] != GONE:
                room -= 1
                self.sent_before = max(self.sent_before, number + 1)

    def progress(self, packet: int, identifier: int) -> None:
        """A delivery moved on or ended; which one follows from its packet identifier, for fewer are open at a time.

        Its own record may follow, where that is written again.
        """
        number = self.first + (identifier - identifier_of(self.first)) % IDENTIFIERS
        self._know(number)
        if self.places[number - self.begin] == GONE:
            return
        self.sent_before = max(self.sent_before, number + 1)
        self.places[number - self.begin] = CONFIRMED if packet == 0x50 else GONE
        while self.first < self.next and self.places[self.first - self.begin] == GONE:
            self.first += 1
        if self.first - self.begin > MOST_GONE:
            self._let_go()

    def _let_go(self) -> None:
        del self.places[: self.first - self.begin]
        del self.sizes[: self.first - self.begin]
        self.begin = self.first
