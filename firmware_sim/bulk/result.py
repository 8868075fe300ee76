"""What a run of bulk devices comes to, in rows small enough for tens of thousands of devices."""

from collections import Counter
from collections.abc import Iterator
from typing import Literal

import msgspec

from firmware_sim.report.latency import Latency

from .histogram import Histogram

Why = Literal["refused", "lost_qos0", "unaccepted", "forgotten", "replaced", "lost"]
"""Why a message that was due is missing:

- refused: its publisher was told no
- lost_qos0: one of the ends had QoS 0
- unaccepted: its publisher holds no acknowledgement
- forgotten: the broker had lost the subscriber's session while it was under way
- replaced: it was a state, and a newer one of its topic arrived: well where a node says that it replaced so many
- lost: nothing excuses it, unless it was still under way when the books were closed
"""


class SentRow(msgspec.Struct, frozen=True, array_like=True):
    """A bulk device's messages on one topic, numbered from 1 to `sent`. Numbers are the bounds of their ranges."""

    publisher: str
    topic: str
    qos: int
    sent: int
    accepted: int
    refused: list[int]
    unsettled: list[int]
    """Neither acknowledged nor refused; of QoS 0, nothing."""


class ReceivedRow(msgspec.Struct, frozen=True, array_like=True):
    """What a bulk device was owed by other bulk devices, and what came."""

    subscriber: str
    due: int
    delivered: int
    after_absence: int
    undue: int
    repeated: int
    stored: int
    doubled: int
    out_of_order: int
    missing: dict[Why, int]


class MissingRow(msgspec.Struct, frozen=True, array_like=True):
    """Messages that a subscriber should have got, as the bounds of their ranges."""

    subscriber: str
    publisher: str
    topic: str
    why: Why
    numbers: list[int]


class OutsideRow(msgspec.Struct, frozen=True, array_like=True):
    """What a bulk device got of a publisher that is not in bulk. Only its own fleet knows what was due."""

    subscriber: str
    publisher: str
    topic: str
    numbers: list[int]
    """First copies, as the bounds of their ranges."""
    repeated: int
    stored: int
    doubled: list[int]
    out_of_order: int


class Passage(msgspec.Struct, frozen=True):
    """How long messages of a class took from one way to another, of what a connected subscriber got."""

    publisher_way: str
    subscriber_way: str
    of: str
    times: Histogram


class BulkResult(msgspec.Struct):
    """One run. All counts are of this process's devices."""

    devices: int
    seconds: float
    sent: int
    accepted: int
    received: int
    due: int
    foreign: int
    """Received and not of this run, or never sent."""
    not_done: int
    """Planned, but the device was off."""
    orders: int
    orders_confirmed: int
    publishers: list[SentRow]
    subscribers: list[ReceivedRow]
    outside: list[OutsideRow]
    missing: list[MissingRow]
    passages: list[Passage]
    round_trips: Histogram
    """From an order to the state that confirms it."""
    lag: Histogram
    """How late planned steps began: the generator's own fault."""
    passes: Histogram
    """How long the generator was busy at a time; a latency is wrong by no more than that."""
    losses: list[tuple[int, str, str]]
    """The first connections that ended against their device's wish: when in ns, whose, why."""
    notes: dict[str, int]
    cpu_s: float
    resident_mib: float
    client: str = "bulk: Oriole's own MQTT client, many in a process"
    """What a report has to say of it."""

    @property
    def adds_up(self) -> bool:
        """Whether each due message has exactly one end, and each received one its reason. No term is a remainder."""
        rows, outside = self.subscribers, self.outside
        ends = sum(row.delivered + sum(row.missing.values()) for row in rows)
        copies = sum(row.delivered + row.undue + row.repeated + row.stored + row.doubled for row in rows)
        copies += sum(
            sum(row.numbers[1::2]) - sum(row.numbers[::2]) + row.repeated + row.stored + len(row.doubled)
            for row in outside
        )
        return (
            self.due == sum(row.due for row in rows) == ends
            and self.received == copies + self.foreign
            and self.sent == sum(row.sent for row in self.publishers)
            and self.accepted == sum(row.accepted for row in self.publishers)
        )

    @property
    def is_clean(self) -> bool:
        """Nothing was lost, replaced, doubled or out of order without an excuse, and the books add up."""
        are_well = all(not row.doubled and not row.out_of_order for row in self.subscribers)
        are_well &= all(not row.doubled and not row.out_of_order for row in self.outside)
        missed = self.missed()
        return self.adds_up and are_well and not missed["lost"] and not missed["replaced"]

    def missed(self) -> Counter[str]:
        """How many due messages are missing, by why."""
        counts: Counter[str] = Counter()
        for row in self.subscribers:
            counts.update(row.missing)
        return counts

    def latency(self) -> dict[str, Latency]:
        """By passage: `publisher's way → subscriber's way, class`."""
        return {
            f"{each.publisher_way} → {each.subscriber_way}, {each.of}": each.times.summary() for each in self.passages
        }

    def faults(self, most: int = 10) -> Iterator[str]:
        """The first messages lost or doubled, by name."""
        named = 0
        for row in self.missing:
            if row.why in ("lost", "replaced") and named < most:
                named += 1
                first = row.numbers[0]
                count = sum(row.numbers[1::2]) - sum(row.numbers[::2])
                more = f" and {count - 1} more" if count > 1 else ""
                yield f"{row.why}: no. {first}{more} of {row.publisher} on {row.topic}, to {row.subscriber}"
        for received in self.subscribers:
            if received.doubled and named < most:
                named += 1
                yield f"doubled: {received.doubled} messages, to {received.subscriber}"
