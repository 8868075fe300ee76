"""Small types of the scenario file: durations as people write them, names, shares."""

import math
import re
from typing import Annotated, Any, Self

import msgspec

SECOND_NS = 1_000_000_000

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")

MAX_DURATION_S = 366 * 86_400.0


class Duration(float):
    """Seconds. In a file, a number of them, or a text such as `90s`, `1h30m`, `250ms`, `7d`."""

    __slots__ = ()

    reads = (str, int, float)
    """What it can be read from, for `oriole.typed_yaml`."""

    @classmethod
    def parse(cls, value: str | float) -> Self:
        """Raises ValueError."""
        if isinstance(value, str):
            parts = _PART.findall(value)
            if not parts or "".join(map("".join, parts)) != value:
                raise ValueError(f"`{value}` is no duration: write it like 20s, 1h30m, 250ms or 7d")
            seconds = sum(float(number) * _UNITS[unit] for number, unit in parts)
        else:
            try:
                seconds = float(value)
            except OverflowError:
                seconds = math.inf
        if not 0 <= seconds <= MAX_DURATION_S:
            raise ValueError(f"a duration is not negative and at most a year: {value}")
        return cls(seconds)

    @property
    def ns(self) -> int:
        """The same in nanoseconds."""
        return round(self * SECOND_NS)

    def __truediv__(self, factor: float) -> "Duration":
        """A part of it, still a duration."""
        return Duration(float(self) / factor)

    def __str__(self) -> str:
        """As a person would write it."""
        if self < 60 or not math.isclose(self % 60, 0, abs_tol=1e-9):
            return f"{float(self):.9g}s"
        rest, text = round(self), ""
        for unit in ("d", "h", "m"):
            count, rest = divmod(rest, int(_UNITS[unit]))
            text += f"{count}{unit}" if count else ""
        return text


def seconds(default: float) -> Any:
    """The default of a key. Made for each, because msgspec would write one value into the JSON Schema and cannot."""
    return msgspec.field(default_factory=lambda: Duration(default))


Name = Annotated[
    str,
    msgspec.Meta(
        pattern=r"^[a-z][a-z0-9_]*(?!\n)$",
        max_length=40,
        extra={"words": "a name of lower-case letters, digits and `_`, a letter first"},
    ),
]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Part = Annotated[float, msgspec.Meta(gt=0, le=1)]
"""A share that is not nothing."""
Names = str | list[str]
"""One name, or several."""


def names_of(names: Names) -> list[str]:
    """One or several, as a list; empty for an empty text."""
    if isinstance(names, str):
        return [names] if names else []
    return names


def schema_hook(kind: type) -> dict[str, Any]:
    """The JSON Schema of a type that msgspec does not know."""
    if kind is Duration:
        return {"type": ["string", "number"], "pattern": rf"^({_PART.pattern})+$".replace("?:", ""), "minimum": 0}
    raise NotImplementedError


def plain(value: Any) -> Any:
    """A part of a scenario in plain types, as it can be read again."""
    return msgspec.to_builtins(value, enc_hook=_plain_duration)


def _plain_duration(value: Any) -> float:
    if isinstance(value, Duration):
        return float(value)
    raise NotImplementedError
