"""A run's length as an axis that people can read: seconds for a minute, hours for a day."""

from dataclasses import dataclass

UNITS = ((86_400, "days"), (3_600, "hours"), (60, "minutes"), (1, "seconds"))
SHORTEST = 3  # of a unit; below, the axis uses the next smaller one
STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)  # seconds
MAX_TICKS = 9


@dataclass(slots=True, frozen=True)
class Times:
    """From 0 to `length_s`."""

    length_s: float

    @property
    def unit(self) -> tuple[int, str]:
        """In seconds, and its name."""
        return next((each for each in UNITS if self.length_s >= SHORTEST * each[0]), UNITS[-1])

    def ticks(self) -> list[tuple[float, str]]:
        """Round moments, in seconds, each with what to write there."""
        step: float = next((each for each in STEPS if self.length_s / each <= MAX_TICKS), STEPS[-1])
        while self.length_s / step > MAX_TICKS:  # many days
            step *= 2
        seconds, _ = self.unit
        return [(n * step, f"{n * step / seconds:g}") for n in range(int(self.length_s / step + 1e-9) + 1)]


def duration(seconds: float) -> str:
    """A length of time in words: `8.0 s`, `1 h 30 min`."""
    if seconds < 120:
        return f"{seconds:.1f} s"
    rest, words = round(seconds), []
    for length, name in ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")):
        count, rest = divmod(rest, length)
        words += [f"{count} {name}"] if count else []
    return " ".join(words[:2])
