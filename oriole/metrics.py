"""Counters: whole numbers with a name and a sentence, shown as text that Prometheus reads.

A part asks for its counters once and then adds to `counter.value`: no call, no lock, no lookup per message. What
can be read when asked for, like the number of connections, is a gauge. There is no global registry.
"""

import re
from collections.abc import Callable

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


class Counter:
    """A number that only grows: `counter.value += 1`."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0


class _Family:
    """Samples of one name, one per combination of labels, in the order they were asked for."""

    __slots__ = ("kind", "samples", "sentence")

    def __init__(self, kind: str, sentence: str) -> None:
        self.kind = kind
        self.sentence = sentence
        self.samples: dict[str, Counter | Callable[[], int]] = {}


class Metrics:
    """The numbers of one program."""

    __slots__ = ("_families",)

    def __init__(self) -> None:
        self._families: dict[str, _Family] = {}

    def counter(self, name: str, sentence: str, **labels: str) -> Counter:
        """The counter `name` with these labels, made on the first call: who asks again gets the same one.

        Raises `ValueError` where `name` is no lower-case word or is a gauge.
        """
        sample = self._family(name, "counter", sentence).samples.setdefault(_labels(labels), Counter())
        assert isinstance(sample, Counter)
        return sample

    def gauge(self, name: str, sentence: str, read: Callable[[], int], **labels: str) -> None:
        """Show what `read` returns under `name`; a later call with the same name and labels replaces it.

        Raises `ValueError` where `name` is no lower-case word or is a counter.
        """
        self._family(name, "gauge", sentence).samples[_labels(labels)] = read

    def render(self) -> str:
        """All numbers in Prometheus's text format 0.0.4, sorted by name."""
        lines = []
        for name, family in sorted(self._families.items()):
            lines += [f"# HELP {name} {family.sentence}", f"# TYPE {name} {family.kind}"]
            for labels, sample in family.samples.items():
                lines.append(f"{name}{labels} {sample.value if isinstance(sample, Counter) else sample()}")
        return "\n".join([*lines, ""])

    def _family(self, name: str, kind: str, sentence: str) -> _Family:
        if not _NAME.fullmatch(name):
            raise ValueError(f"`{name}` is no name for a metric: lower-case letters, digits and `_`")
        family = self._families.setdefault(name, _Family(kind, sentence))
        if family.kind != kind:
            raise ValueError(f"`{name}` is already a {family.kind}")
        return family


def _labels(labels: dict[str, str]) -> str:
    if not labels:
        return ""
    return "{" + ",".join(f'{name}="{value.translate(_ESCAPES)}"' for name, value in sorted(labels.items())) + "}"
