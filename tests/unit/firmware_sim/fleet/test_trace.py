"""A trace is written line by line, and its plan is read back; a broken one is refused before anything begins."""

import io
import json
from pathlib import Path

import pytest

from firmware_sim.fleet.trace import Trace, read_plan
from firmware_sim.scenario.file import Scenario
from firmware_sim.scenario.plan import Action, plan
from firmware_sim.scenario.roster import roster
from oriole import typed_yaml
from oriole.typed_yaml import ConfigError

SCENARIO = typed_yaml.decode(
    """
name: test
length: 1h30m
nodes: {centre: {}}
links: {dsl: {delay_ms: 40, up: {loss: 0.1}}}
populations:
  lamp: {profile: lamp, at: centre, link: dsl}
  phone: {profile: remote, at: centre, commands: [lamp]}
faults: [{at: 1m, change: dsl, to: {loss: 0.5}, lasts: 5s}]
""",
    Scenario,
    "file.yaml",
)


def written() -> bytes:
    file = io.BytesIO()
    trace = Trace(file)
    trace.begin(SCENARIO, 7, virtual=True)
    trace.sent("lamp-1", "fleet/home/lamp-1/online", 1, 990)
    trace.began(1000)
    for action in plan(SCENARIO, roster(SCENARIO), 7):
        trace.planned(action)
        trace.sent("lamp-1", "fleet/home/lamp-1/state", 3, 1015)
        trace.received("phone-1", "lamp-1", "fleet/home/lamp-1/state", 3, 1019)
        trace.decided("dsl", "up", "lost", 120, 1012)
    return file.getvalue()


def test_the_lines() -> None:
    lines = [json.loads(line) for line in written().splitlines()]
    assert (lines[0]["oriole_trace"], lines[0]["seed"], lines[0]["virtual"]) == (1, 7, True)
    assert lines[1] == {"at_ns": -10, "from": "lamp-1", "topic": "fleet/home/lamp-1/online", "number": 1}
    assert {"at_ns": 15, "from": "lamp-1", "topic": "fleet/home/lamp-1/state", "number": 3} in lines
    assert {
        "at_ns": 19, "to": "phone-1", "from": "lamp-1", "topic": "fleet/home/lamp-1/state", "number": 3,
    } in lines  # fmt: skip
    assert {"at_ns": 12, "link": "dsl", "way": "up", "fate": "lost", "bytes": 120} in lines


def test_of_a_run_that_never_began_times_count_from_its_end(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    trace = Trace(path.open("wb"))
    for at_ns in (5_000, 5_020):
        trace.sent("lamp-1", "fleet/home/lamp-1/online", 1, at_ns)
    trace.close()
    assert [json.loads(line)["at_ns"] for line in path.read_bytes().splitlines()] == [-20, 0]


def test_the_plan_is_read_back(tmp_path: Path) -> None:
    file = tmp_path / "trace"
    file.write_bytes(written())
    scenario, seed, actions = read_plan(file)
    assert (scenario, seed) == (SCENARIO, 7)
    assert list(actions) == list(plan(SCENARIO, roster(SCENARIO), 7))


def test_without_a_file_nothing_is_written() -> None:
    trace = Trace()
    assert not trace.is_on
    trace.begin(SCENARIO, 1, virtual=False)
    trace.planned(Action(0, "lamp-1", "report"))
    trace.sent("lamp-1", "topic", 1, 0)


@pytest.mark.parametrize("lines", [1, 10_000], ids=["found out at the end", "found out meanwhile"])
def test_where_there_is_no_room_the_run_goes_on_without_it(lines: int) -> None:
    file = Path("/dev/full").open("wb")  # noqa: SIM115 - the trace closes it
    trace = Trace(file)
    for _ in range(lines):
        trace.planned(Action(0, "lamp-1", "report"))
    assert trace.is_on == (lines == 1)
    trace.close()
    assert (trace.trouble, file.closed) == ("No space left on device", True)
    trace.planned(Action(0, "lamp-1", "report"))
    trace.close()


HEAD = written().split(b"\n")[0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not a trace: `oriole fleet run --trace FILE` writes one (Input data was truncated"),
        (b"\x00\xff\n", "not a trace: "),
        (b"name: a scenario\n", "not a trace: "),
        (b"[1]\n", "not a trace: `oriole fleet run --trace FILE` writes one"),
        (b"{}\n", "not a trace: "),
        (b'{"oriole_trace":2}\n', "not a trace: "),
        (b'{"oriole_trace":1,"seed":1}\n', "`scenario` is missing"),
        (b'{"oriole_trace":1,"seed":1,"scenario":{"name":"x"}}\n', "`nodes` is missing"),
        (HEAD.replace(b'"seed":7,"virtual"', b'"seed":"x","virtual"') + b"\n", "expected a whole number, got a text"),
        (HEAD + b"\n" + b'{"at_ns":1,"plan":"lamp-1","do":"report"', "line 2: Input data was truncated"),
        (HEAD + b'\n{"at_ns":1}\n{"at_ns":"x","plan":"lamp-1"}\n', "line 3: Expected `int`, got `str`"),
        (HEAD + b'\n{"at_ns":1,"plan":"lamp-1","do":5}\n', "line 2: Expected `str`, got `int`"),
        (HEAD + b'\n{"plan":"lamp-1","do":"report"}\n', "line 2: Object missing required field `at_ns`"),
        (HEAD + b"\n5\n", "line 2: Expected `object`, got `int`"),
        (HEAD + b'\n{"at_ns":1,"plan":"lamp-1","do":"report","values":[]}\n', "line 2: Expected `object`"),
    ],
)
def test_a_broken_trace_is_refused_before_anything_begins(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "trace"
    file.write_bytes(content)
    with pytest.raises(ConfigError) as refused:
        read_plan(file)
    assert str(refused.value).startswith(str(file))
    assert message in str(refused.value)


def test_no_file_and_a_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="No such file"):
        read_plan(tmp_path / "nothing")
    with pytest.raises(ConfigError, match="Is a directory"):
        read_plan(tmp_path)
