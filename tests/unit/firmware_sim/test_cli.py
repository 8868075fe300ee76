"""Command lines that cannot be used: status 2 and a sentence, before anything starts."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from firmware_sim.cli import main_demo, main_fleet

SMALL = """
name: small
about: Two lamps and a switch
compress: 60
nodes: {centre: {}, house: {kind: edge, uplink: centre, link: dsl}}
links: {dsl: {delay_ms: 5}}
populations:
  lamp: {profile: lamp, at: house, count: 2}
  switch: {profile: remote, at: house, commands: [lamp]}
faults: [{at: 20s, cut: dsl, lasts: 5s}]
expectations:
  - {measure: lost, at_most: 0}
  - {measure: latency_p99_ms, way: house -> house, at_most: 5, waits_for: issue 9}
"""
LAMP = ["device", "lamp", "mqtt://127.0.0.1:1"]


def refusal(main: Callable[[list[str]], int], argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """What is said on stderr."""
    try:
        status = main(argv)
    except SystemExit as exit_:  # argparse's
        status = int(exit_.code or 0)
    assert status == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["dance"], "invalid choice: 'dance'"),
        (["run"], "the following arguments are required: SCENARIO.yaml"),
        (
            ["run", "smart_hom"],
            "there is no file `smart_hom`, and of the scenarios that come along (`oriole fleet list`) none",
        ),
        (["run", "smart_hom"], "did you mean `smart_home`?"),
        (["run", "smart_hom"], "three_houses"),
        (["run", "smart_hom"], "(`oriole fleet list`)"),
        (["check", "smart_hom"], "there is no file `smart_hom`"),
        (["run", "three_houses", "--report", "/nonexistent/x.html"], "--report: cannot write /nonexistent/x.html: No "),
        (["run", "three_houses", "--json", "/tmp"], "--json: cannot write /tmp: Is a directory"),
        (["run", "three_houses", "--trace", "/nonexistent/x"], "--trace: cannot write /nonexistent/x: No such file"),
        *(
            (["run", "three_houses", f"--compress={text}"], f"`{text}` is no factor from 1 to 1000000")
            for text in ("0", "-1", "nan", "inf", "0.5", "much", "1000001")
        ),
        (["run", "three_houses", "--compress=1000000"], "oriole fleet: compressed by 1e+06: `every` is at least 1 ms"),
        (["run", "three_houses", "--seed", "x"], "--seed: invalid int value: 'x'"),
        (["run", "three_houses", "--virtual", "--packets"], "leave out one of --virtual and --packets"),
        (["run", "three_houses", "--address", "centre"], "--address centre: write it like --address centre=mqtt://"),
        (
            ["run", "three_houses", "--address", "x=mqtt://a"],
            "--address x: the scenario has no such node; there are centre, edge_a, ",
        ),
        (
            ["run", "three_houses", "--address", "centre=a"],
            "--address centre: `a`: no URL: write it like mqtt://127.0.0.1:1883",
        ),
        (["run", "three_houses", "--address", "centre=coap://a"], "`centre` does not listen for mqtt://"),
        (["run", "three_houses", "--virtual", "--address", "centre=mqtt://a"], "names something real"),
        (["run", "/tmp"], "oriole fleet: /tmp: Is a directory"),
        (["replay", "/nonexistent"], "oriole fleet: /nonexistent: No such file or directory"),
        (["replay", "/dev/null"], "oriole fleet: /dev/null: not a trace: `oriole fleet run --trace FILE` writes one"),
        (["replay", "/dev/null", "--compress", "0"], "`0` is no factor from 1 to 1000000"),
        (["replay", "/dev/null", "--trace", "/nonexistent/x"], "--trace: cannot write /nonexistent/x: No such file"),
        (["compare", "/dev/null"], "the following arguments are required: B.json"),
        (["compare", "/dev/null", "/dev/null"], "oriole fleet: /dev/null: not what `oriole fleet run --json` writes"),
        (["compare", "/nonexistent", "/dev/null"], "oriole fleet: /nonexistent: No such file or directory"),
        *(
            ([*LAMP, f"--every={text}"], f"`{text}` is not at least 0.001")
            for text in ("0", "-1", "nan", "inf", "1e-9")
        ),
        ([*LAMP, "--every", "often"], "`often` is no number of seconds"),
        ([*LAMP, "--name", "a/#"], "--name: a topic name has no wildcards: 'a/#'"),
        ([*LAMP, "--name", ""], "--name: a topic name has at least one character"),
        ([*LAMP, "--name", "$SYS"], "--name: topics that begin with `$` are the broker's own"),
        ([*LAMP, "--place", "a//b"], "--place: an empty topic level"),
        (["device", "toaster", "mqtt://127.0.0.1"], "there is no kind `toaster` to run by hand; there are lamp,"),
        (["device", "lampe", "mqtt://127.0.0.1"], "did you mean `lamp`?"),
        (["device", "remote", "mqtt://127.0.0.1"], "there is no kind `remote` to run by hand"),
        (["device", "lamp", "http://127.0.0.1"], "a lamp speaks mqtt://, not http://"),
        (["device", "thermostat", "mqtts://127.0.0.1"], "a thermostat speaks coap:// or mqtt://, not mqtts://"),
        (["device", "relay", "COAP://127.0.0.1"], "a relay speaks serial://, not COAP://"),
        (["device", "relay", "/dev/ttyUSB0"], "no URL: write it like serial:///dev/ttyUSB0"),
        (["device", "thermostat", "127.0.0.1"], "no URL: write it like coap://127.0.0.1:5683"),
    ],
)
def test_the_fleet_refuses(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refusal(main_fleet, argv, capsys)


def test_a_broken_scenario_is_refused_by_line_by_every_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text("name: broken\nnodes: {centre: {}}\npopulations:\n  lamp: {profile: lamp, at: moon}\n")
    for command in (["run"], ["run", "--virtual"], ["check"]):
        said = refusal(main_fleet, [*command, str(file)], capsys)
        assert said == f"oriole fleet: {file}, line 4: `populations.lamp.at`: no node `moon`; there are centre\n"


def test_the_list_has_a_line_for_each_scenario(capsys: pytest.CaptureFixture[str]) -> None:
    assert main_fleet(["list"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in listed] == sorted(line.split()[0] for line in listed)
    assert any(line.startswith("three_houses ") and "houses" in line[20:] for line in listed)


def test_check_says_what_a_scenario_would_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    assert main_fleet(["check", str(file)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "small: Two lamps and a switch",
        "  length    1m; on real sockets compressed by 60 to 1s",
        "  nodes     centre (broker), house (edge of centre)",
        "  links     dsl",
        "  devices   3: 2 lamp, 1 remote",
        "  planned   20 actions: 12 report, 6 order, 1 cut, 1 heal",
        "  expects   lost: at most 0",
        "  expects   latency_p99_ms, way house -> house: at most 5 (waiting for issue 9)",
    ]


def test_check_does_not_count_for_ever(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("firmware_sim.fleet.check.MOST_COUNTED", 1000)
    file = tmp_path / "small.yaml"
    profile = "profiles: {bulb: {kind: lamp, every: 1ms}}\n"
    for length, planned in (("500ms", "1000 actions"), ("501ms", "more than 1000 actions, so many within 1m")):
        file.write_text(
            f"name: small\nlength: {length}\nnodes: {{centre: {{}}}}\n{profile}populations:\n"
            "  lamp: {profile: bulb, at: centre, count: 2}\n"
        )
        assert main_fleet(["check", str(file)]) == 0
        assert f"  planned   {planned}: 1000 report" in capsys.readouterr().out.splitlines()


def test_the_schema_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main_fleet(["schema"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "Oriole fleet scenario"


def test_run_replay_and_compare(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(SMALL)
    first, second, missed = (str(tmp_path / name) for name in ("first.json", "second.json", "missed.json"))
    trace = str(tmp_path / "trace")
    assert main_fleet(["run", str(file), "--virtual", "--json", first, "--trace", trace]) == 0
    verdict = capsys.readouterr().out.splitlines()[-2:]
    assert verdict[0].endswith("0 lost, 0 doubled")
    assert verdict[1].startswith("expectations: 1 met, 1 waiting; virtual time, 60 s in ")
    assert main_fleet(["replay", trace, "--virtual", "--json", second]) == 0
    file.write_text(SMALL.replace("lost, at_most: 0", "lost, at_least: 1"))
    assert main_fleet(["run", str(file), "--virtual", "--json", missed]) == 1, "an expectation is missed"
    assert "1 missed, 1 waiting" in capsys.readouterr().out
    assert main_fleet(["compare", first, second]) == 0
    assert "ratio" in capsys.readouterr().out
    assert main_fleet(["compare", first, missed]) == 0, "what is missed is another expectation"


def test_foreign_nodes_have_no_virtual_time(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "foreign.yaml"
    file.write_text(SMALL.replace("centre: {}", "centre: {kind: foreign, addresses: ['mqtt://127.0.0.1']}"))
    assert main_fleet(["run", str(file), "--virtual"]) == 1
    assert "node `centre` is foreign: what runs elsewhere has no virtual time" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "argv", "message"),
    [
        ("abc", [], "the environment's DEMO_SECONDS: 'abc' is no number of seconds"),
        ("3", [], "the environment's DEMO_SECONDS: 3 is not between 10 and 3600"),
        ("abc", ["--seconds", "3"], "argument --seconds: 3 is not between"),
        ("", ["--report", "/nonexistent/x.html"], "--report: cannot write /nonexistent/x.html: No such file"),
        ("", ["--json", "/nonexistent/x.json"], "--json: cannot write /nonexistent/x.json: No such file"),
    ],
)
def test_the_demo_refuses(
    seconds: str,
    argv: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DEMO_SECONDS", seconds)
    said = refusal(main_demo, argv, capsys)
    assert message in said
    assert ("--seconds:" in said) is ("--seconds" in argv), "blamed only when given"


@pytest.mark.parametrize("argv", [["list"], ["schema"], ["check", "three_houses"]])
def test_who_stops_reading_has_read_enough(argv: list[str]) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    with os.fdopen(writes, "wb") as unread:
        done = subprocess.run(
            [sys.executable, "-m", "oriole", "fleet", *argv],
            stdout=unread,
            stderr=subprocess.PIPE,
            timeout=30,
            check=False,
        )
    assert (done.returncode, done.stderr) == (0, b"")
