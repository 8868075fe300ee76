"""One scenario in every world, faults that really happen to processes, and fleets that leave nothing behind."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from integration.fleets import lines

from firmware_sim.devices.kinds import KINDS
from firmware_sim.fleet.fleet import Fleet
from firmware_sim.fleet.trace import Trace
from firmware_sim.fleet.world import WorldError
from firmware_sim.links.packets.network import obstacle
from firmware_sim.ports import coap
from firmware_sim.real.programs import Program
from firmware_sim.real.world import RealWorld
from firmware_sim.report.accounts import Accounts
from firmware_sim.scenario.file import Scenario
from oriole import typed_yaml
from oriole.settlements import Line, Start

FLEET = [sys.executable, "-m", "oriole", "fleet"]
ENDS_S = 15.0

SCENARIO = """
name: every world
length: 200s
compress: 60
settle: 500ms
drain: 1s
seed: 3
nodes: {centre: {}, edge: {kind: edge, uplink: centre, link: dsl}}
links: {dsl: {delay_ms: 10}, air: {delay_ms: 5}}
profiles:
  bulb: {kind: lamp, every: 80s}
  wrist: {kind: watch, every: 60s, awake: 20s}
  heating: {kind: thermostat, every: 40s}
  fast: {kind: remote, every: 8s, qos: 2}
populations:
  lamp: {profile: bulb, at: edge, count: 2, link: air}
  watch: {profile: wrist, at: centre}
  thermostat: {profile: heating, at: edge, link: air}
  relay: {profile: relay, at: edge}
  phone: {profile: fast, at: centre, commands: [lamp, watch, thermostat, relay]}
schedule:
  - {at: 200s, power_off: watch}
faults:
  - {at: 40s, cut: dsl, lasts: 30s}
  - {at: 100s, kill: edge, lasts: 20s}
"""


def need_root() -> None:
    """Skip where there can be no namespaces; fail where they are promised, which is in CI."""
    if reason := obstacle():
        if os.environ.get("ORIOLE_REQUIRE_INTEROP") == "1" or os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)


def processes_of(pid: int) -> list[int]:
    """All that a process started, and what these started."""
    children = [
        int(child)
        for tasks in Path(f"/proc/{pid}/task").glob("*/children")
        for child in tasks.read_text().split()
    ]  # fmt: skip
    return [*children, *(each for child in children for each in processes_of(child))]


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + ENDS_S
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.05)


# ---- One scenario in every world


class Run:
    """The scenario in one world, begun."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.trace, self._figures = folder / "trace", folder / "figures.json"
        file = folder / "file.yaml"
        file.write_text(SCENARIO)
        command = [*FLEET, "run", file, "--trace", self.trace, "--json", self._figures, *options]
        self._output = folder / "output"
        with self._output.open("w") as output:
            self._process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)

    def result(self) -> dict[str, Any]:
        """Its figures, when it has ended."""
        assert self._process.wait(50) == 0, self._output.read_text()
        result: dict[str, Any] = json.loads(self._figures.read_text())
        return result

    def end(self) -> None:
        """Whatever became of it, it is over."""
        self._process.terminate()
        self._process.wait(30)


WORLDS = {"virtual": ["--virtual", "--compress", "60"], "relay": [], "packets": ["--packets"]}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Run]]:
    """The scenario in every world that there can be here, all at once: they wait more than they work."""
    worlds = [world for world in WORLDS if world != "packets" or not obstacle()]
    runs = {world: Run(tmp_path_factory.mktemp(world), *WORLDS[world]) for world in worlds}
    yield runs
    for run in runs.values():
        run.end()


@pytest.mark.parametrize("world", WORLDS)
def test_the_same_scenario_in_every_world(world: str, runs: dict[str, Run]) -> None:
    if world == "packets":
        need_root()
    result = runs[world].result()
    assert result["run"]["compress"] == 60
    assert result["incidents"] == {"cut": 1, "heal": 1, "kill": 1, "power_on": 1, "power_off": 1}
    accounts = msgspec.convert(result["accounts"], Accounts)
    assert accounts.is_clean
    assert accounts.total.due > 30
    assert accounts.total.delivered > 0.8 * accounts.total.due
    runs["virtual"].result()
    assert lines(runs[world].trace, "plan") == lines(runs["virtual"].trace, "plan")


# ---- In this process, where one can look


class Watched(RealWorld):
    """A world whose settlements are read before they are gone."""

    starts: dict[str, list[Start]]

    async def stop(self) -> dict[str, Path]:
        files = await super().stop()
        decoder = msgspec.json.Decoder(Line)
        self.starts = {
            name: [line for line in map(decoder.decode, file.read_bytes().splitlines()) if isinstance(line, Start)]
            for name, file in files.items()
            if file.exists()
        }
        return files


async def really(text: str, look: Callable[[Watched], object]) -> tuple[Fleet, Watched, list[Any]]:
    """Run a scenario on relays and look ten times a second; what was seen, without repetitions."""
    scenario = typed_yaml.decode(text, Scenario, "test.yaml").compressed()
    world = Watched(scenario, 1)
    fleet = Fleet(scenario, 1, world, Trace())
    seen: list[Any] = []

    async def watch() -> None:
        while True:
            if fleet.phase == "running" and (now := look(world)) not in seen[-1:]:
                seen.append(now)
            await asyncio.sleep(0.1)

    watching = asyncio.create_task(watch())
    try:
        await fleet.run()
    finally:
        watching.cancel()
    return fleet, world, seen


def state_of(program: Program) -> str:
    """As /proc says: sleeping or running is alive, T is stopped."""
    try:
        fields = Path(f"/proc/{program.pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return "gone"
    return {"T": "stopped", "Z": "gone"}.get(fields[0], "alive")


PLAIN = """
name: plain
length: 4s
settle: 100ms
drain: 1s
nodes: {{centre: {{data: true}}, edge: {{kind: edge, uplink: centre}}}}
links: {{dsl: {{delay_ms: 5}}}}
profiles: {{bulb: {{kind: lamp, every: 500ms}}, fast: {{kind: remote, every: 200ms}}}}
populations:
  lamp: {{profile: bulb, at: edge, link: dsl}}
  phone: {{profile: fast, at: centre, commands: [lamp]}}
faults: [{faults}]
"""


def test_nodes_are_really_killed_and_stopped_come_back_and_find_another_time_of_day() -> None:
    faults = (
        "{at: 500ms, kill: edge, lasts: 1s}, {at: 700ms, pause: centre, lasts: 1s}, "
        "{at: 2s, jump_clock: centre, by: -86400}, {at: 3s, power_cut: centre, lasts: 300ms}"
    )

    def look(world: Watched) -> tuple[str, ...]:
        return tuple(state_of(world.programs[name]) for name in ("centre", "edge"))

    fleet, world, seen = asyncio.run(really(PLAIN.format(faults=faults), look))
    assert fleet.books is not None
    assert fleet.books.is_clean, fleet.books.faults
    assert ("alive", "gone") in seen
    assert "stopped" in [centre for centre, _ in seen]
    assert ("gone", "alive") in seen
    assert seen[-1] == ("alive", "alive")
    assert not any(is_running(program.pid) for program in world.programs.values())
    first, second = world.starts["centre"]
    assert first.epoch != second.epoch
    assert -86_400 < (second.wall - first.wall).total_seconds() < -86_390
    assert 0 < second.at - first.at < 10_000, "time that never goes back did not"
    first, second = world.starts["edge"]
    assert 0 < (second.wall - first.wall).total_seconds() < 10, "it has a clock of its own"


def test_a_disk_is_really_full_and_free_again() -> None:
    need_root()
    faults = "{at: 500ms, fill_disk: centre, lasts: 1s}"

    command = [
        sys.executable,
        "-c",
        IN_A_PROCESS_OF_ITS_OWN,
        PLAIN.format(faults=faults).replace("length: 4s", "length: 2500ms"),
    ]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30, env=environment())
    assert process.stdout.split() == ["False", "True", "False"], process.stderr
    mounts = Path("/proc/mounts").read_text()
    assert "oriole-fleet" not in mounts, "nobody else sees it"


IN_A_PROCESS_OF_ITS_OWN = """
import asyncio, os, sys
from integration.test_fleet_worlds import really

def look(world):
    disk = os.statvfs(f"/proc/{world.programs['centre'].pid}/root{world._folder / 'centre' / 'data'}")
    assert disk.f_blocks * disk.f_frsize <= 96 << 20
    return disk.f_bavail == 0

fleet, _, seen = asyncio.run(really(sys.argv[1], look))
assert fleet.books.is_clean
print(*seen)
"""
"""A disk of its own needs a namespace of mounts, which a process does not get rid of."""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}


def test_a_node_that_cannot_start_is_named_and_the_others_end(monkeypatch: pytest.MonkeyPatch) -> None:
    start = Program.start

    async def fail(self: Program, *arguments: Any) -> None:
        if self.title == "node edge":
            raise WorldError("node edge did not become ready")
        await start(self, *arguments)

    monkeypatch.setattr(Program, "start", fail)
    three = PLAIN.replace("edge: {{kind", "far: {{kind: edge, uplink: edge}}, edge: {{kind")
    with pytest.raises(WorldError, match="node edge did not become ready"):
        asyncio.run(really(three.format(faults=""), lambda world: None))
    assert not processes_of(os.getpid())


def test_nobody_waits_for_an_answer_from_nodes_that_have_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coap, "CLOSE_S", 3600.0)
    observer = PLAIN.replace("kind: lamp", "kind: thermostat").replace("length: 4s", "length: 200ms")

    async def briefly() -> Fleet:
        fleet, _, _ = await asyncio.wait_for(really(observer.format(faults=""), lambda world: None), ENDS_S)
        return fleet

    assert asyncio.run(briefly()).phase == "done"


# ---- Each kind of client


def test_each_kind_of_device_once(tmp_path: Path) -> None:
    text = """
name: everybody
length: 3500ms
settle: 300ms
drain: 3s
nodes: {centre: {}, edge: {kind: edge, uplink: centre}}
links: {line: {delay_ms: 2}}
profiles:
  paper: {kind: herald, every: 1s, announces: news}
  reader: {kind: lamp, hears: [news, home/+/reading, home/+/press], mqtt: "3.1.1", qos: 2, every: 500ms}
  screen: {kind: dashboard, hears: [edge/lamp/state, news]}
  wrist: {kind: watch, every: 1s, awake: 500ms}
"""
    special = {"herald": "paper", "lamp": "reader", "dashboard": "screen", "watch": "wrist"}
    for kind in KINDS:
        if kind not in special:
            text += f"  p_{kind}: {{kind: {kind}, every: 500ms}}\n"
    text += "populations:\n"
    obeying = [kind for kind in KINDS if KINDS[kind].obeys]
    for kind, device in KINDS.items():
        at = "edge" if device.speaks[0] == "serial" else "edge, link: line"
        commands = f", commands: [{', '.join(obeying)}]" if device.commands else ""
        text += f"  {kind}: {{profile: {special.get(kind, f'p_{kind}')}, at: {at}{commands}}}\n"
    updated = [kind for kind in obeying if kind != "watch"]
    text += f"schedule: [{{at: 500ms, update: [{', '.join(updated)}], firmware_kib: 2}}]\n"
    file, figures = tmp_path / "everybody.yaml", tmp_path / "figures.json"
    file.write_text(text)
    process = subprocess.run(
        [*FLEET, "run", file, "--json", figures], capture_output=True, text=True, check=False, timeout=50
    )
    assert process.returncode == 0, process.stdout + process.stderr
    result = json.loads(figures.read_text())
    assert result["devices"] == dict.fromkeys(KINDS, 1)
    classes = result["accounts"]["classes"]
    assert {"order", "state", "reading", "news", "firmware", "alarm", "poison"} <= {*classes}
    assert sum(result["installed"].values()) == len(updated)


# ---- Nothing is left behind


LONG = SCENARIO.replace("length: 200s", "length: 2000s").replace("settle: 500ms", "settle: 0")


def started(tmp_path: Path, *options: str) -> subprocess.Popen[str]:
    file = tmp_path / "long.yaml"
    file.write_text(LONG)
    return subprocess.Popen(
        [*FLEET, "run", file, "--report", tmp_path / "report.html", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )


def wait_for(process: subprocess.Popen[str], phase: str) -> None:
    assert process.stdout is not None
    while phase not in (line := process.stdout.readline()):
        assert line, "it ended"


def assert_nothing_is_left(tmp_path: Path, pids: list[int]) -> None:
    until(lambda: not any(map(is_running, pids)), "a process is left")
    assert not list(tmp_path.glob("oriole-fleet-*")), "a folder is left"


@pytest.mark.parametrize(
    ("options", "number"),
    [([], signal.SIGTERM), (["--packets"], signal.SIGINT)],
    ids=["relay, SIGTERM", "packets"],
)
def test_stopped_while_it_runs_it_reports_and_leaves_nothing(
    tmp_path: Path, options: list[str], number: signal.Signals
) -> None:
    if options:
        need_root()
    process = started(tmp_path, *options)
    wait_for(process, "running")
    pids = processes_of(process.pid)
    assert len(pids) >= 3, "a broker, an edge, links"
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert " 0 lost" in output
    assert "Traceback" not in output
    assert (tmp_path / "report.html").read_text().startswith("<!doctype html>")
    assert_nothing_is_left(tmp_path, pids)


@pytest.mark.parametrize("after_s", [0.3, 0.6])
def test_stopped_before_it_runs_it_says_so_and_leaves_nothing(tmp_path: Path, after_s: float) -> None:
    process = started(tmp_path)
    time.sleep(after_s)
    pids = processes_of(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    output, _ = process.communicate(timeout=30)
    assert process.returncode in (0, 1, -signal.SIGINT, 130), output
    assert_nothing_is_left(tmp_path, pids)


def test_stopped_while_it_stops_it_still_reports(tmp_path: Path) -> None:
    process = started(tmp_path)
    wait_for(process, "running")
    pids = processes_of(process.pid)
    for _ in range(3):
        os.killpg(process.pid, signal.SIGINT)
        time.sleep(0.05)
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 130, output
    assert (tmp_path / "report.html").exists()
    assert_nothing_is_left(tmp_path, pids)


@pytest.mark.parametrize("options", [[], ["--packets"]], ids=["relay", "packets"])
def test_killed_it_leaves_no_process(tmp_path: Path, options: list[str]) -> None:
    if options:
        need_root()
    process = started(tmp_path, *options)
    wait_for(process, "running")
    pids = processes_of(process.pid)
    process.kill()
    process.communicate(timeout=30)
    until(lambda: not any(map(is_running, pids)), "a process outlives its fleet")


SHARED = """
name: shared
nodes: {centre: {}, a: {kind: edge, uplink: centre, link: dsl}, b: {kind: edge, uplink: centre, link: fibre}}
links: {dsl: {}, fibre: {}, wifi: {}, air: {}}
populations:
  one: {profile: lamp, at: a, link: wifi}
  two: {profile: lamp, at: b, link: wifi}
  three: {profile: lamp, at: b, link: air}
"""


def test_a_power_cut_silences_what_leads_to_the_node_alone() -> None:
    scenario = typed_yaml.decode(SHARED, Scenario, "test.yaml")

    async def links() -> list[list[str]]:
        world = RealWorld(scenario, 1)
        return [sorted(world._links_of(node)) for node in ("centre", "a", "b")]

    assert asyncio.run(links()) == [["dsl", "fibre"], ["dsl"], ["air", "fibre"]]


def test_a_node_that_somebody_else_stopped_is_no_success() -> None:
    scenario = typed_yaml.decode(SHARED + "length: 1s\ndrain: 1s\n", Scenario, "test.yaml")

    async def scene() -> list[str]:
        world = RealWorld(scenario, 1)
        fleet = Fleet(scenario, 1, world)
        run = asyncio.create_task(fleet.run())
        while fleet.phase != "running":
            assert not run.done()
            await asyncio.sleep(0.02)
        os.kill(world.programs["a"].pid, signal.SIGSTOP)
        await run
        return fleet.endings

    assert asyncio.run(scene()) == ["node a stood still, and the scenario had not paused it"]
