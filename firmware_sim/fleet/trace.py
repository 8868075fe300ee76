"""A run as lines of JSON: what was planned, what links decided, what was sent and what arrived.

    {"oriole_trace":1,"scenario":{...},"seed":1,"virtual":true}          first
    {"at_ns":0,"plan":"lamp-1","do":"report"}                          a planned action, with `values` where it has some
    {"at_ns":12,"link":"dsl","way":"up","fate":"lost","bytes":120}     a link's decision (in virtual time)
    {"at_ns":15,"from":"lamp-1","topic":"fleet/home/lamp-1/state","number":3}
    {"at_ns":19,"to":"phone-1","from":"lamp-1","topic":"...","number":3}

Times count from the moment at which the devices began to act; what they said before, as they connected, is before 0.
In virtual time one file and one seed give one trace, byte for byte; on real sockets the planned lines are the same.
With devices in bulk, what was sent and received comes last.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import msgspec

from firmware_sim.devices.stamp import Values
from firmware_sim.scenario.file import Scenario
from firmware_sim.scenario.plan import Action
from firmware_sim.scenario.roster import roster
from firmware_sim.scenario.values import plain
from oriole.typed_yaml import ConfigError, convert

FORMAT = 1


class Trace:
    """Writes a trace. Without a file it writes nothing, and nothing more into one that is full: the run goes on."""

    def __init__(self, file: IO[bytes] | None = None) -> None:
        self._file = file
        self._encoder = msgspec.json.Encoder()
        self._began_ns: int | None = None
        self._early: list[tuple[int, dict[str, Any]]] = []  # what happened before, until it is known how long before
        self.trouble = ""
        """Why the trace is not whole; empty where it is."""

    @property
    def is_on(self) -> bool:
        """Whether anything is written."""
        return self._file is not None

    def begin(self, scenario: Scenario, seed: int, virtual: bool) -> None:
        """The first line."""
        self._write({"oriole_trace": FORMAT, "scenario": plain(scenario), "seed": seed, "virtual": virtual})

    def began(self, now_ns: int) -> None:
        """Devices act from now on: what they said before can be written."""
        self._began_ns = now_ns
        early, self._early = self._early, []
        for at_ns, line in early:
            self._happened(at_ns, line)

    def planned(self, action: Action) -> None:
        """A planned action, as it is due."""
        if self._file is not None:
            line: dict[str, Any] = {"at_ns": action.at_ns, "plan": action.to, "do": action.do}
            if action.values:
                line["values"] = action.values
            self._write(line)

    def decided(self, link: str, way: str, fate: str, size_bytes: int, now_ns: int) -> None:
        """What a link did to a packet."""
        self._happened(now_ns, {"link": link, "way": way, "fate": fate, "bytes": size_bytes})

    def sent(self, name: str, topic: str, number: int, now_ns: int) -> None:
        """A device published."""
        if self._file is not None:
            self._happened(now_ns, {"from": name, "topic": topic, "number": number})

    def received(self, name: str, publisher: str, topic: str, number: int, now_ns: int) -> None:
        """A device got a message."""
        if self._file is not None:
            self._happened(now_ns, {"to": name, "from": publisher, "topic": topic, "number": number})

    def close(self) -> None:
        """Have all of it in the file, and write no more. Of a run that never began, times count from its end."""
        if self._early:
            self.began(self._early[-1][0])
        file, self._file = self._file, None
        if file is not None:
            try:
                file.close()
            except OSError as error:
                self.trouble = error.strerror or str(error)

    def _happened(self, now_ns: int, line: dict[str, Any]) -> None:
        if self._file is None:
            return
        if self._began_ns is None:
            self._early.append((now_ns, line))
        else:
            self._write({"at_ns": now_ns - self._began_ns, **line})

    def _write(self, line: dict[str, Any]) -> None:
        if self._file is not None:
            try:
                self._file.write(self._encoder.encode(line) + b"\n")
            except OSError as error:
                self.trouble = error.strerror or str(error)
                self.close()


def read_plan(path: str | Path) -> tuple[Scenario, int, Iterator[Action]]:
    """The scenario, the seed and the planned actions of a trace, to play back. Raises `ConfigError`.

    All lines are read before anything begins, and again one by one: a day of a thousand devices need not be held.
    """
    try:
        with Path(path).open("rb") as lines:
            first = msgspec.json.decode(lines.readline())
        if not isinstance(first, dict) or first.get("oriole_trace") != FORMAT:
            raise ConfigError(f"{path}: not a trace: `oriole fleet run --trace FILE` writes one")
        head = convert(first, _Head)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not a trace: `oriole fleet run --trace FILE` writes one ({error})") from error
    _check(path, head.scenario)
    return head.scenario, head.seed, _actions(path)


def _check(path: str | Path, scenario: Scenario) -> None:
    """Raises `ConfigError` where an action cannot be of this scenario."""
    known = {*scenario.nodes, *scenario.links, *(member.name for member in roster(scenario))}
    for action in _actions(path):
        where = f"{path}: at {action.at_ns} ns, {action.do} {action.to}"
        if action.to not in known:
            raise ConfigError(f"{where}: nobody is called `{action.to}`")
        if not 0 <= action.at_ns <= scenario.length.ns:
            raise ConfigError(f"{where}: `length` is {scenario.length}")
        if action.do == "fail" and not {"keeps_state", "silently"} <= action.values.keys():
            raise ConfigError(f"{where}: it needs the values `keeps_state` and `silently`")


class _Head(msgspec.Struct, frozen=True):
    """The first line."""

    scenario: Scenario
    seed: int


class _Planned(msgspec.Struct, frozen=True):
    """A line, as far as it was planned."""

    at_ns: int
    plan: str = ""
    do: str = ""
    values: Values = {}


def _actions(path: str | Path) -> Iterator[Action]:
    decoder = msgspec.json.Decoder(_Planned)
    with Path(path).open("rb") as lines:
        next(lines)
        for number, line in enumerate(lines, 2):
            try:
                entry = decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise ConfigError(f"{path}, line {number}: {error}") from error
            if entry.plan:
                yield Action(entry.at_ns, entry.plan, entry.do, entry.values)
