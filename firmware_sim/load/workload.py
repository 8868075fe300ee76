"""What a run of the load generator does: who publishes, who reads it, how many messages and how fast."""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

import msgspec

from firmware_sim.load.stream import IDENTITY_BYTES
from oriole.wire.mqtt import V311

Count = Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]


class WorkloadError(ValueError):
    """A workload that cannot be: the message names the key and what it may be."""


class Workload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One run. The names are the keys of the command line: `pubs=10 subs=10 qos=1 count=150000`.

    `topics` says who reads whom:
    - `pair`: publisher i writes `bench/i`, subscriber i reads `bench/(i mod pubs)`; `subs` is a multiple of `pubs`
    - `one`: all publishers write `bench/x`, all subscribers read it
    - `wild`: publisher i writes `bench/i`, all subscribers read `bench/#`
    """

    topics: Literal["pair", "one", "wild"] = "pair"
    pubs: Count = 1
    subs: Count = 1
    qos: Literal[0, 1, 2] = 0
    size: Annotated[int, msgspec.Meta(ge=IDENTITY_BYTES, le=1 << 20)] = 64
    """Bytes of payload; the first ones tell publisher and sequence."""
    count: Annotated[int, msgspec.Meta(ge=1, lt=1 << 32)] = 100_000
    """Messages published by all publishers together."""
    rate: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Messages a second in all; 0 is as fast as the broker takes them."""
    window: Annotated[int, msgspec.Meta(ge=1, le=65_535)] = 64
    """QoS 1 and 2: unacknowledged messages per publisher."""
    persistent: bool = False
    """Subscribers keep their session, so that the broker queues for them."""
    v: Literal[4, 5] = V311
    """Protocol level: 4 is MQTT 3.1.1, 5 is MQTT 5."""
    filters: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    """Filters that match nothing published, held by one further client; every second one has a wildcard."""
    hold: Annotated[float, msgspec.Meta(ge=0)] = 0.0
    """Seconds with all connections quiet before the first message."""
    max: Annotated[float, msgspec.Meta(gt=0)] = 60.0
    """Seconds after which publishing is given up."""

    def __post_init__(self) -> None:
        if self.topics == "pair" and self.subs % self.pubs:
            raise ValueError("topics=pair needs `subs` to be a multiple of `pubs`: else somebody publishes to nobody")

    @classmethod
    def parse(cls, words: Iterable[str]) -> Self:
        """The workload that `key=value` words describe; raises WorkloadError."""
        pairs = [word.partition("=") for word in words]
        for word, equals, _ in pairs:
            if not equals:
                raise WorkloadError(f"`{word}` is not key=value, with a key of {', '.join(cls.__struct_fields__)}")
        try:
            return msgspec.convert({key: value for key, _, value in pairs}, cls, strict=False)
        except msgspec.ValidationError as error:
            raise WorkloadError(str(error)) from error

    @property
    def deliveries(self) -> int:
        """Messages that all subscribers together must receive."""
        return self.count * (self.subs // self.pubs if self.topics == "pair" else self.subs)

    def topic(self, publisher: int) -> str:
        """The topic that this publisher writes."""
        return "bench/x" if self.topics == "one" else f"bench/{publisher}"

    def filter(self, subscriber: int) -> str:
        """The filter that this subscriber holds."""
        return "bench/#" if self.topics == "wild" else self.topic(subscriber % self.pubs)

    def heard_by(self, subscriber: int) -> range:
        """The publishers whose messages this subscriber must receive."""
        if self.topics == "pair":
            return range(subscriber % self.pubs, subscriber % self.pubs + 1)
        return range(self.pubs)

    def unrelated_filters(self) -> list[str]:
        """Filters that match no topic of this workload, the hard kinds among them: a wildcard in the first level."""
        kinds = ("other/{}/state", "other/{}/+", "other/state/{}", "+/other/{}")
        return [kinds[number % len(kinds)].format(number) for number in range(self.filters)]
