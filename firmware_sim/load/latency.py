"""Time from the publish call to the receipt, of a sample of the messages, on one clock."""

from array import array
from typing import Final

_MANY_SAMPLES: Final = 50_000


class Latency:
    """Remembers when every `every`th message of each publisher was sent. Times are nanoseconds on one clock.

    `deliveries` is how many receipts there will be; `every` follows from it, and is odd so that it does not always pick
    the first message of a burst.
    """

    __slots__ = ("_sent", "every", "most_samples", "samples")

    def __init__(self, publishers: int, deliveries: int) -> None:
        self.every = deliveries // _MANY_SAMPLES | 1
        self.most_samples = 2 * _MANY_SAMPLES
        self._sent = [array("q") for _ in range(publishers)]
        self.samples = array("q")

    def publish(self, publisher: int, first: int, count: int, now: int) -> None:
        """`count` messages from sequence `first` on leave now; a publisher's messages are told in order."""
        for _ in range(first + -first % self.every, first + count, self.every):
            self._sent[publisher].append(now)

    def receive(self, publisher: int, first: int, count: int, now: int) -> None:
        """A subscriber has `count` messages from sequence `first` on, all of them published."""
        for sequence in range(first + -first % self.every, first + count, self.every):
            self.samples.append(now - self._sent[publisher][sequence // self.every])

    def percentiles_us(self, *percents: float) -> list[float]:
        """The latency in microseconds that so many percent of the sampled messages stayed within; 0 without any."""
        ordered = sorted(self.samples) or [0]
        return [ordered[round((len(ordered) - 1) * percent / 100)] / 1000 for percent in percents]
