"""Disks without room: the temporary folder, where a run keeps its files, and whatever a trace or a report is to go to.

Each is said in a sentence, never in a traceback; what could be measured is still shown, and nothing runs on.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from integration.test_fleet_worlds import need_root

ORIOLE = [sys.executable, "-m", "oriole", "fleet"]
ADVICE = "make room for the run's files, or set TMPDIR to a folder that has some"

SMALL = """
name: small
length: 1s
settle: 100ms
drain: 1s
nodes: {centre: {}}
profiles:
  bulb: {kind: lamp, every: 50ms}
  watcher: {kind: dashboard, hears: ["#"]}
populations:
  lamp: {profile: bulb, at: centre, count: 2}
  dashboard: {profile: watcher, at: centre}
"""

FORGETFUL = """
name: forgetful
length: 3s
settle: 100ms
drain: 1s
nodes: {centre: {}}
links: {dsl: {delay_ms: 5}}
profiles:
  bulb: {kind: lamp, every: 10ms, padding: 200}
  watcher: {kind: dashboard, hears: ["#"], session: 0}
populations:
  lamp: {profile: bulb, at: centre, count: 20}
  dashboard: {profile: watcher, at: centre, link: dsl}
faults:
  - {at: 2s, cut: dsl, lasts: 800ms}
  - {at: 2500ms, kill: dashboard, keeps_state: false, lasts: 100ms}
"""
"""A dashboard whose session ends with it: what it missed is dropped, which the broker alone can say."""

BULK = """
name: bulk
length: 3s
settle: 100ms
drain: 1s
nodes: {centre: {}}
profiles:
  carried: {kind: meter, every: EVERY, padding: 200}
  watcher: {kind: dashboard, hears: ["#"]}
populations:
  meter: {profile: carried, at: centre, count: 100, bulk: true}
  dashboard: {profile: WATCHER, at: centre}
"""
CARRIED = BULK.replace("EVERY", "20ms").replace("WATCHER", "lamp")
"""What the load generator writes fills the folder."""
HEARD = BULK.replace("EVERY", "100ms").replace("WATCHER", "watcher")
"""What the fleet itself writes does, too."""


def run_in(size: str, scenario: str, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a scenario whose temporary folder is a disk of that size, which nobody else sees."""
    need_root()
    file, folder = tmp_path / "file.yaml", tmp_path / "t"
    file.write_text(scenario)
    folder.mkdir()
    mount = f'mount -t tmpfs -o size={size} none "$TMPDIR" && "$@"; status=$?; ls -A "$TMPDIR" >&2; exit $status'
    return subprocess.run(
        ["unshare", "--mount", "sh", "-c", mount, "sh", *ORIOLE, "run", file, *options],
        env={**os.environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def check_nothing_runs(tmp_path: Path) -> None:
    """Programs of a run have a file of its folder among their arguments."""
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            assert str(tmp_path).encode() not in process.read_bytes()
        except OSError:
            continue  # it has ended


@pytest.mark.parametrize("options", [["--virtual"], []], ids=["virtual", "real"])
def test_a_full_temporary_folder_is_said_before_anything_begins(options: list[str], tmp_path: Path) -> None:
    ran = run_in("64k", SMALL, tmp_path, *options)
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr == f"oriole fleet: no room in {tmp_path}/t, 64 KiB are free: {ADVICE}\n"


@pytest.mark.parametrize("options", [["--virtual"], []], ids=["virtual", "real"])
def test_what_nodes_could_not_write_down_is_not_held_against_them(options: list[str], tmp_path: Path) -> None:
    roomy = run_in("64m", FORGETFUL, tmp_path, *options)
    assert (roomy.returncode, "no room" in roomy.stderr) == (0, False), roomy.stdout + roomy.stderr
    (tmp_path / "t").rmdir()
    ran = run_in("1100k", FORGETFUL, tmp_path, *options)
    assert ran.returncode == 1
    assert " messages due: " in ran.stdout, "there is a verdict"
    said = f"oriole fleet: what nodes could not write down is missing from the accounts; no room in {tmp_path}/t, "
    assert said in ran.stderr
    assert ran.stderr.endswith(f" KiB are free: {ADVICE}\n"), "nothing is left in the folder"
    check_nothing_runs(tmp_path)


@pytest.mark.parametrize("scenario", [CARRIED, HEARD], ids=["carried", "heard"])
def test_a_crowd_that_fills_the_folder_ends_the_run(scenario: str, tmp_path: Path) -> None:
    ran = run_in("1100k", scenario, tmp_path)
    assert ran.returncode == 1
    assert "Traceback" not in ran.stderr
    assert ran.stderr.endswith(f"no room in {tmp_path}/t, No space left on device: {ADVICE}\n")
    check_nothing_runs(tmp_path)


@pytest.mark.parametrize("options", [["--virtual"], []], ids=["virtual", "real"])
def test_a_trace_that_finds_no_room_does_not_end_the_run(options: list[str], tmp_path: Path) -> None:
    file, report = tmp_path / "file.yaml", tmp_path / "report.html"
    file.write_text(SMALL)
    full = ["--trace", "/dev/full", "--json", "/dev/full", "--report", str(report)]
    ran = subprocess.run(
        [*ORIOLE, "run", file, *options, *full], capture_output=True, text=True, check=False, timeout=60
    )
    assert ran.returncode == 1
    assert "0 lost" in ran.stdout
    assert "Traceback" not in ran.stderr
    assert ran.stderr.count("oriole fleet: cannot write /dev/full: No space left on device\n") == 1, "the figures"
    assert ran.stderr.endswith("cannot write /dev/full: No space left on device; it holds a part of the trace\n")
    assert report.read_text().startswith("<!doctype html>"), "one disk that is full is not all of them"


def test_a_replay_has_a_trace_of_its_own_also_in_less_time(tmp_path: Path) -> None:
    file, first, again, faster = (tmp_path / name for name in ("file.yaml", "first", "again", "faster"))
    file.write_text(SMALL)

    def oriole_fleet(*words: str | Path) -> str:
        done = subprocess.run([*ORIOLE, *words], capture_output=True, text=True, check=True, timeout=60)
        return done.stdout

    oriole_fleet("run", file, "--virtual", "--trace", first)
    oriole_fleet("replay", first, "--virtual", "--trace", again)
    assert first.read_bytes() == again.read_bytes()
    oriole_fleet("replay", first, "--compress", "4", "--trace", faster)
    planned, sooner = (
        [line for line in map(json.loads, trace.read_bytes().splitlines()) if "plan" in line]
        for trace in (first, faster)
    )
    assert [line | {"at_ns": round(line["at_ns"] / 4)} for line in planned] == sooner
    head = json.loads(faster.read_bytes().split(b"\n")[0])["scenario"]
    assert (head["length"], head["compress"]) == (0.25, 4)
    refused = subprocess.run([*ORIOLE, "replay", first, "--trace", first], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr) == (2, f"oriole fleet: --trace {first}: that is the trace to replay\n")
    assert first.read_bytes() == again.read_bytes(), "it is as it was"
