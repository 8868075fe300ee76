"""`oriole demo` as a user starts it: broker, edges, cables and all, in small."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from firmware_sim.links.model import LinkModel
from firmware_sim.links.network import Network
from firmware_sim.real.programs import Program

DEMO = [sys.executable, "-m", "oriole", "demo"]
SECONDS = 14
PROGRAMS = 4  # a broker, two edges, the links
SLOWNESS_S = 6.0  # of a machine that has other things to do


def descendants(pid: int) -> list[int]:
    """Every process below `pid`, as far as /proc shows."""
    children = [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return [each for child in children for each in (child, *descendants(child))]


@pytest.mark.timeout(90)
def test_the_demo_loses_nothing_and_its_report_has_the_runs_figures(tmp_path: Path) -> None:
    report, figures = tmp_path / "report.html", tmp_path / "figures.json"
    began_s = time.monotonic()
    run = subprocess.run(
        [*DEMO, "--report", report, "--json", figures],
        env={**os.environ, "DEMO_SECONDS": str(SECONDS)},
        capture_output=True,
        text=True,
        check=False,
        timeout=80,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert time.monotonic() - began_s < SECONDS + SLOWNESS_S
    result = json.loads(figures.read_text())
    total = result["accounts"]["total"]
    assert result["accounts"]["adds_up"]
    assert (total["lost"], total["doubled"]) == (0, 0)
    assert set(result["devices"]) == {"lamp", "watch", "thermostat", "relay", "remote", "herald"}
    for way in ("edge → edge", "centre → edge", "edge → centre", "direct → direct", "broadcast → edge"):
        assert result["accounts"]["ways"][way]["delivered"] > 0, way
        assert result["latency"][way]["count"] > 0, way
    assert result["latency"]["edge → edge"]["p50_ms"] < 40 <= result["latency"]["direct → direct"]["p50_ms"] / 2
    assert result["answers"]["edge"]["p50_ms"] < 80 <= result["answers"]["direct"]["p50_ms"]
    assert result["in_a_cut"], "a link was cut"
    text = report.read_text()
    assert str(report) in run.stdout
    assert f"{total['due']} messages due: {total['delivered']} delivered" in text
    latency = result["latency"]["edge → edge"]
    assert f"<td>{latency['count']:,}</td><td>{latency['p50_ms']:,.1f}</td>" in text
    assert {each["state"] for each in result["judgements"]} == {"met"}
    assert set(result["usage"]) == {"centre", "edge_a", "edge_b"}
    assert "dsl_a cut" in text
    assert not re.search(r"https?:", text)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["while it starts", "while it runs"])
def test_stopped_early_it_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    report = tmp_path / "report.html"
    demo = subprocess.Popen(
        [*DEMO, "--seconds", "60", "--report", report], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    assert demo.stdout is not None
    while number == signal.SIGINT and "running" not in (line := demo.stdout.readline()):
        assert line, "it ended"
    while len(started := descendants(demo.pid)) < PROGRAMS:
        assert demo.poll() is None
        time.sleep(0.05)
    demo.send_signal(number)
    output, _ = demo.communicate(timeout=20)
    if number == signal.SIGINT:
        assert demo.returncode == 0, output
        assert report.exists(), "what happened until then is told"
    assert not [pid for pid in started if Path(f"/proc/{pid}").exists()]


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "oriole").mkdir()
    for name in ("oriole/__init__.py", "random.py", "firmware_sim.py"):
        (tmp_path / name).write_text("raise ImportError('from the current folder')")
    monkeypatch.chdir(tmp_path)

    async def scene() -> None:
        async with Network() as network:
            await network.add("dsl", LinkModel())
        program = Program("broker", tmp_path / "log")
        await program.start(["broker", "--listen", "mqtt://127.0.0.1:0"])
        await program.stop()

    asyncio.run(scene())


def test_too_short_is_refused_before_anything_starts() -> None:
    run = subprocess.run([*DEMO, "--seconds", "3"], capture_output=True, text=True, check=False, timeout=20)
    assert run.returncode == 2
    assert "between 10 and 3600" in run.stderr
