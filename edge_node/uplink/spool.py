"""What was accepted here and the centre does not have yet: a stream of numbered messages for each class.

A message gets its number when it is accepted, in the journal like here, and keeps it whatever becomes of the link, of
this process or of the centre: so a repeat is known. What ends before it was sent leaves a number behind, which is sent
as skipped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import TYPE_CHECKING, Final

from broker.core.message import Message
from broker.core.records import Owes, Record, Released, Skipped
from broker.core.records import Stream as StreamRecord
from broker.core.router import Router
from broker.core.settlement import Reason
from edge_node.uplink.classes import CLASSES, Classes

if TYPE_CHECKING:
    from broker.core.sink import Sink
    from broker.mqtt.remembered import RememberedStream

MOST_LOST: Final = 1 << 20
"""Numbers that a power cut can have taken, of what was sent in a second with relaxed durability: more than any."""
NOTHING: Final[Mapping[int, int]] = {}


class Stream:
    """The messages of one class, from no. `first` on; None where the message has ended and its number has not.

    Attributes:
        number: what the journal calls it.
        next: number of the message to send next.
        safe: messages below this number are in the journal, and may be sent.
        born: messages from this number on were accepted in this life.
        bytes: of messages that wait.
        full: no more is to be accepted.
    """

    __slots__ = ("born", "bytes", "first", "full", "messages", "next", "number", "safe", "traffic_class")

    def __init__(self, number: int, traffic_class: str) -> None:
        self.number = number
        self.traffic_class = traffic_class
        self.first = self.next = self.safe = self.born = 1
        self.messages: deque[Message | None] = deque()
        self.bytes = 0
        self.full = False

    @property
    def end(self) -> int:
        """The number that the next message gets."""
        return self.first + len(self.messages)

    @property
    def has_unsent(self) -> bool:
        """Whether a message may be sent that was not."""
        return self.next < self.safe

    def unsent(self) -> Iterator[tuple[int, Message | None]]:
        """Number and message of those that may be sent now."""
        begin = self.next - self.first
        return enumerate(islice(self.messages, begin, self.safe - self.first), self.next)


class Spool:
    """The streams of one uplink, most urgent first.

    Args:
        router: whose journal keeps them.
        sink: the uplink: whom accounts name as the recipient.
        classes: which class a topic belongs to.
        max_bytes: bytes of `Message.size` that may wait in each class; above it publishers are refused or slowed.
        on_end: told of each retained value that has ended, and its place at the centre, 0 for none.

    Attributes:
        streams: in the order in which they are sent.
        on_safe: called when messages may be sent that had to wait for the journal.
        is_unsafe: some wait that the journal did not take.
        epoch: grows with each new numbering.
    """

    __slots__ = (
        "_classes", "_made", "_max_bytes", "_on_end", "_router", "_secured", "_sink", "epoch", "is_unsafe", "on_safe",
        "streams",
    )  # fmt: skip

    def __init__(
        self,
        router: Router,
        sink: Sink,
        classes: Classes,
        max_bytes: int,
        on_end: Callable[[Message, int, int], None],
    ) -> None:
        self._router = router
        self._sink = sink
        self._classes = classes
        self._max_bytes = max_bytes
        self._on_end = on_end
        self.epoch = 1
        self._secured = Secured(self)
        self._made: object = None
        self.is_unsafe = False
        self.on_safe: Callable[[int], None] = lambda now: None
        # Numbers below 0: a stream is no session, and both are named by numbers in records.
        self.streams = [Stream(-number, traffic_class) for number, traffic_class in enumerate(CLASSES, 1)]

    def __len__(self) -> int:
        return sum(message is not None for stream in self.streams for message in stream.messages)

    def __iter__(self) -> Iterator[tuple[Message, bool]]:
        """What waits, and whether it was sent on this connection."""
        for stream in self.streams:
            for number, message in enumerate(stream.messages, stream.first):
                if message is not None:
                    yield message, number < stream.next

    @property
    def _is_recording(self) -> bool:
        return self._router.engine.promises.is_recording

    @property
    def _records(self) -> list[Record]:
        return self._router.engine.promises.records

    def stream_of(self, topic: bytes) -> Stream:
        """Where messages on `topic` wait."""
        return self.streams[self._classes.of(topic)]

    def named(self, traffic_class: str) -> Stream | None:
        """The stream of a class."""
        return next((stream for stream in self.streams if stream.traffic_class == traffic_class), None)

    # ---- In

    def overflows(self, topic: bytes) -> bool:
        """Whether not even what was acknowledged already finds room."""
        return self.stream_of(topic).bytes >= 2 * self._max_bytes

    def add(self, messages: Sequence[Message]) -> tuple[Stream, int]:
        """Let messages on one topic that came together wait behind the others of their class; where the first is."""
        first = messages[0]
        stream = self.stream_of(first.topic)
        number = stream.end
        stream.messages += messages
        stream.bytes += sum(message.size for message in messages)
        if self._is_recording:
            if first.record is not None:
                first.record.owed.append((stream.number, first.qos, first.retain, (), number))
            else:
                self._records.extend(_owes(stream.number, message, at) for at, message in enumerate(messages, number))
        self.secure()
        if not stream.full and stream.bytes >= self._max_bytes:
            stream.full = True
            self._router.set_full(self._sink, True)
        return stream, number

    def secure(self) -> None:
        """What waits may be sent when the records of this turn are safe."""
        made = self._router.engine.promises.made
        if self._made is not made:  # the first in this turn
            self._made = made
            self._secured = Secured(self)
            made.append(self._secured)
        self._secured.ends = [stream.end for stream in self.streams]

    # ---- Out

    def rewind(self) -> None:
        """A new connection: what was not answered is sent again."""
        for stream in self.streams:
            stream.next = stream.first

    def release(
        self,
        stream: Stream,
        upto: int,
        now: int,
        places: Mapping[int, int] = NOTHING,
        refusals: Mapping[int, int] = NOTHING,
    ) -> None:
        """The centre has all up to this number, or refused them for good; `places` of retained values, by number."""
        settlement = self._router.engine.settlement
        begin = stream.first
        while stream.messages and stream.first <= upto:
            message = stream.messages.popleft()
            number = stream.first
            stream.first += 1
            if message is None:
                continue
            if number in refusals:
                settlement.drop(message, self._sink, Reason.REJECTED, now)
            else:
                settlement.acknowledge(message, self._sink, now)
            self._leave(stream, message, places.get(number, 0), now)
        stream.next = max(stream.next, stream.first)
        if stream.first > begin and self._is_recording:
            self._records.append(Released(stream.number, stream.first - 1))

    def strike(self, stream: Stream, number: int, now: int, place: int = 0) -> None:
        """A message has ended, and is settled; those before it have not."""
        message = stream.messages[number - stream.first]
        if message is not None:
            stream.messages[number - stream.first] = None
            self._leave(stream, message, place, now)

    def release_struck(self, stream: Stream, now: int) -> None:
        """The oldest, as far as they have ended, are gone."""
        upto = stream.first - 1
        for message in islice(stream.messages, stream.next - stream.first):
            if message is not None:
                break
            upto += 1
        self.release(stream, upto, now)

    def jump(self, stream: Stream, number: int) -> bool:
        """Let the next message have this number at least: those before it were given in a past that was lost here.
        False, and nothing is done, for a number that no such past explains, or where some of them were given again.
        """
        count = number - stream.end
        if count > MOST_LOST or stream.born < min(stream.end, number):
            return False
        if count > 0:
            stream.messages.extend([None] * count)
            stream.born = stream.end
            if self._is_recording:
                self._records.append(Skipped(stream.number, count))
            self.secure()
        return True

    def _leave(self, stream: Stream, message: Message, place: int, now: int) -> None:
        stream.bytes -= message.size
        if stream.full and stream.bytes <= self._max_bytes // 2:
            stream.full = False
            if any(stream.full for stream in self.streams):
                self._router.engine.pressure.room_in(self._sink)
            else:
                self._router.set_full(self._sink, False)
        if message.retain:
            self._on_end(message, place, now)

    # ---- Past and future

    def records(self) -> Iterator[Record]:
        """All that waits, as records."""
        for stream in self.streams:
            yield from stream_records(stream.number, stream.traffic_class, stream.first, stream.messages)

    def restore(self, remembered: Mapping[int, RememberedStream]) -> None:
        """Be what was remembered; what was not begins now."""
        for stream in self.streams:
            past = remembered.get(stream.number)
            if past is None:
                self._records.append(StreamRecord(stream.number, stream.traffic_class, 1))
            else:
                stream.first = stream.next = past.first
                stream.messages = past.messages
                stream.safe = stream.born = stream.end
                stream.bytes = sum(message.size for message in stream.messages if message is not None)
        for stream in self.streams:
            stream.full = stream.bytes >= self._max_bytes
        self._router.set_full(self._sink, any(stream.full for stream in self.streams))

    def renumber(self) -> Sequence[Record]:
        """A new epoch: what waits begins with 1 in each class. The records that say so, for one batch."""
        for stream in self.streams:
            stream.messages = deque(message for message in stream.messages if message is not None)
            stream.first = stream.next = stream.safe = stream.born = 1
        self.epoch += 1
        self._made = None
        self.secure()
        return [*self.records()] if self._is_recording else ()


def stream_records(number: int, traffic_class: str, first: int, messages: Iterable[Message | None]) -> Iterator[Record]:
    """A stream as records: its messages from no. `first` on, None for those that have ended."""
    yield StreamRecord(number, traffic_class, first)
    for is_ended, group in groupby(enumerate(messages, first), lambda each: each[1] is None):
        if is_ended:
            yield Skipped(number, sum(1 for _ in group))
        else:
            yield from (_owes(number, message, at) for at, message in group if message is not None)


def _owes(stream: int, message: Message, number: int) -> Owes:
    return Owes(message, (stream, message.qos, message.retain, (), number))


class Secured:
    """Lets messages go whose records had to be safe first."""

    __slots__ = ("_epoch", "_spool", "ends")

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._epoch = spool.epoch
        self.ends: list[int] = []
        """The streams' ends when the turn ended."""

    def kept(self, now: int) -> None:
        """The journal has them."""
        if self._epoch != self._spool.epoch:  # these numbers mean nothing any more
            return
        for stream, end in zip(self._spool.streams, self.ends, strict=True):
            stream.safe = max(stream.safe, min(end, stream.end))
        self._spool.on_safe(now)

    def broken(self, now: int) -> None:
        """It has not: they go when it has."""
        self._spool.is_unsafe = True
