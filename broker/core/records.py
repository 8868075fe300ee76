"""What goes into the journal: what must survive, in the order in which it took effect.

A record says what came of an input, not only what was asked: a message names the sessions that are owed it. So reading
a journal needs neither filters nor clients nor the code that matched them when it was written, and gives the same
sessions with the same packet identifiers. A session is a number here, given when it becomes persistent and never used
again; what it is owed has numbers, too, and the packet identifier follows from that (`Session.record_owed`). Since a
record names these numbers, it may be written again behind later ones, and one that is lost leaves a gap and nothing
else.

A record with messages has a place once it is in a batch: where its messages can be read again.

Times are milliseconds of the node's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from broker.core.message import Message
from oriole.link.uplink import Mark

Delivery = tuple[Message, int, bool, tuple[int, ...]]
"""A message that somebody is owed, and how it was granted: QoS, RETAIN, subscription identifiers."""

Owed = tuple[int, int, bool, tuple[int, ...], int]
"""A session's number, and how it is granted messages: QoS, RETAIN, subscription identifiers; and the number that the
first of them has among all that the session was ever owed."""

ROW_BITS: Final = 24
"""A place is the position of the batch and, in so many bits, the row of the record in it."""


def place_of(position: int, row: int) -> int:
    """Where record no. `row`, from 0, of the batch at `position` is."""
    return position << ROW_BITS | row


def position_of(place: int) -> int:
    """Which batch a place is in."""
    return place >> ROW_BITS


@dataclass(slots=True)
class Accepted:
    """Messages on one topic were taken over together and routed, in the places that their `order` says.

    Attributes:
        messages: what was published, oldest first.
        is_kept: the last one is the topic's retained value from now on; without payload, there is none.
        owed: who is owed each of them, in the order in which they got it.
        place: where the journal has it; 0 before it is in a batch.
    """

    messages: Sequence[Message]
    is_kept: bool = False
    owed: list[Owed] = field(default_factory=list)
    place: int = 0


@dataclass(slots=True, frozen=True)
class Taken:
    """Messages were taken over and will be routed once this is safe: `Routed` names them by numbers, from `number` on.

    `session` and `packet_identifiers` name the QoS 2 exchanges that they came in by (0 and none otherwise), so that
    repeats are recognised after a restart. `mark` is how far the node that they came from has got, so that the mark is
    recorded with the messages and never without them; None from anybody else.
    """

    number: int
    messages: Sequence[Message]
    session: int = 0
    packet_identifiers: Sequence[int] = ()
    mark: Mark | None = None


@dataclass(slots=True)
class Routed:
    """Messages that were taken over before, as no. `numbers`, are routed, the first of them as no. `order` of the node;
    the rest as in `Accepted`.
    """

    numbers: Sequence[int]
    messages: Sequence[Message] = ()
    is_kept: bool = False
    owed: list[Owed] = field(default_factory=list)
    order: int = 0
    place: int = 0


KEPT: Final = 1
KEPT_NO_MORE: Final = 2


@dataclass(slots=True)
class Outline:
    """What is known of `Accepted`, `Routed` or `Owes` without its messages.

    Attributes:
        place: where they can be read.
        count, size: of the messages, and their bytes in all.
        order: the first one's.
        topic: of all; of `Routed`, only where the last one is kept.
        flags: `KEPT`, or `KEPT_NO_MORE`: what is retained of the topic from now on; further bits are not for here.
        owed: who is owed them: a session's number and that of its first delivery, in turns.
        taken: their numbers, of `Routed`.
    """

    place: int
    count: int
    size: int
    order: int
    topic: bytes
    flags: int
    owed: Sequence[int]
    taken: Sequence[int] = ()


@dataclass(slots=True, frozen=True)
class Taking:
    """The same of `Taken`."""

    place: int
    number: int
    count: int
    session: int
    packet_identifiers: Sequence[int]
    mark: Mark | None


@dataclass(slots=True)
class Owes:
    """One session is owed a message that is no news: retained state that it subscribed to, a mark for another node, or
    what was recorded before, with the same number.
    """

    message: Message
    owed: Owed
    place: int = 0


@dataclass(slots=True, frozen=True)
class Testament:
    """A will: `properties` as on the wire, the delay among them; `is_bare` says that it comes from a client without
    properties, and may be a push's envelope; `is_restricted` that it needs permission to be published.
    """

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    properties: bytes
    is_bare: bool
    is_restricted: bool


@dataclass(slots=True, frozen=True)
class Opened:
    """A session as it is, its client there; what follows completes it. Of what was known of it before, its deliveries
    from no. `first` on stay, the others have ended.

    `window` is how many deliveries its client takes at once; `node` the name of another node whose session it is, or
    empty.
    """

    session: int
    client_id: str
    username: str | None
    expiry_interval: int
    window: int
    will: Testament | None
    first: int = 1
    node: str = ""


@dataclass(slots=True, frozen=True)
class Resumed:
    """The client of a session is back; see `Opened`."""

    session: int
    username: str | None
    expiry_interval: int
    window: int
    will: Testament | None
    node: str = ""


@dataclass(slots=True, frozen=True)
class Left:
    """The client of a session is gone, at `at`; its will is still to come where `has_will`."""

    session: int
    expiry_interval: int
    has_will: bool
    at: int


@dataclass(slots=True, frozen=True)
class WillSent:
    """The will of a session was published, or was not permitted."""

    session: int


@dataclass(slots=True, frozen=True)
class Ended:
    """A session and all it was owed are gone."""

    session: int


@dataclass(slots=True, frozen=True)
class Subscribed:
    """A session subscribed; `options` is the subscription options byte of MQTT 5 (3.8.3.1), `is_late` that it is still
    to get what was published before, until `CaughtUp`.
    """

    session: int
    filter: bytes
    options: int
    subscription_identifier: int
    is_late: bool


@dataclass(slots=True, frozen=True)
class CaughtUp:
    """A session has been given what was published on a filter before it subscribed."""

    session: int
    filter: bytes


@dataclass(slots=True, frozen=True)
class Unsubscribed:
    """A session gave up a filter."""

    session: int
    filter: bytes


@dataclass(slots=True, frozen=True)
class Progressed:
    """Exchanges of a session moved: `packet` is the first byte of the packets that came in, all alike.

    PUBACK and PUBCOMP end a delivery, PUBREC moves it on, PUBREL ends a QoS 2 reception. `ENDED_OTHERWISE` ends a
    delivery that the client did not confirm: it expired, it was too large, it was rejected.
    """

    session: int
    packet: int
    packet_identifiers: list[int]


ENDED_OTHERWISE = 0


@dataclass(slots=True, frozen=True)
class Receiving:
    """QoS 2 messages came in by these packet identifiers and are not released. In snapshots."""

    session: int
    packet_identifiers: list[int]


@dataclass(slots=True, frozen=True)
class Placed:
    """The node's order of messages has come as far as this. In snapshots."""

    order: int


@dataclass(slots=True, frozen=True)
class Marked:
    """Another node's messages were taken up to this number, and there is none to be routed. In snapshots, too."""

    mark: Mark


@dataclass(slots=True, frozen=True)
class Stream:
    """Messages of a class that are owed to the centre go by this number, like those of a session; the next one is no.
    `first` of its epoch's class. What was known of a stream of the number is void.
    """

    number: int
    traffic_class: str
    first: int


@dataclass(slots=True, frozen=True)
class Skipped:
    """The next `count` numbers of a stream are given to no message."""

    number: int
    count: int


@dataclass(slots=True, frozen=True)
class Released:
    """The centre has a stream's messages up to this one, or will never have them."""

    number: int
    upto: int


@dataclass(slots=True, frozen=True)
class Ruled:
    """The value that this node has of a retained topic, or its absence, has the place `order` at the centre."""

    topic: bytes
    order: int


@dataclass(slots=True, frozen=True)
class Asked:
    """The centre is about to be asked for a filter's messages, or not to send them any more."""

    filter: bytes
    is_wanted: bool


@dataclass(slots=True, frozen=True)
class Met:
    """The centre `name`, whose order is `centre`, knows this node's streams by `epoch`, and this life of it."""

    name: str
    centre: str
    epoch: str
    life: str


@dataclass(slots=True, frozen=True)
class Unkept:
    """A topic has no retained value any more, and nobody published that."""

    topic: bytes


@dataclass(slots=True, frozen=True)
class Reset:
    """What follows, in the same batch, is a snapshot of a whole node. Everything before is void, but for deliveries of
    sessions that are in the snapshot (see `Opened`).
    """


Record = (
    Accepted
    | Taken
    | Routed
    | Owes
    | Opened
    | Resumed
    | Left
    | WillSent
    | Ended
    | Subscribed
    | CaughtUp
    | Unsubscribed
    | Progressed
    | Receiving
    | Placed
    | Marked
    | Stream
    | Skipped
    | Released
    | Ruled
    | Asked
    | Met
    | Unkept
    | Reset
)
