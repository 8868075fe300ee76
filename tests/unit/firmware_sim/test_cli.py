"""Command lines that cannot be used: status 2 and a sentence, before anything starts."""

from collections.abc import Callable

import pytest

from firmware_sim.cli import main_demo, main_fleet

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
        (["run", "smart_hom"], "there is no file `smart_hom`, and of the scenarios that come along none is called so"),
        (["run", "smart_hom"], "there are smart_home, three_houses (`oriole fleet list` tells more)"),
        (["run", "smart_home", "--report", "/nonexistent/x.html"], "--report: cannot write /nonexistent/x.html: No "),
        (["run", "smart_home", "--json", "/tmp"], "--json: cannot write /tmp: Is a directory"),
        *((["run", "smart_home", f"--seconds={text}"], f"`{text}` is not above 0") for text in ("0", "-1", "nan")),
        (["run", "smart_home", "--seconds", "inf"], "at most 86400 seconds"),
        *(
            ([*LAMP, f"--every={text}"], f"`{text}` is not at least 0.001")
            for text in ("0", "-1", "nan", "inf", "1e-9")
        ),
        ([*LAMP, "--every", "often"], "`often` is no number of seconds"),
        ([*LAMP, "--name", "a/#"], "--name: a topic name has no wildcards: 'a/#'"),
        ([*LAMP, "--name", ""], "--name: a topic name has at least one character"),
        ([*LAMP, "--name", "$SYS"], "--name: topics that begin with `$` are the broker's own"),
        ([*LAMP, "--place", "a//b"], "--place: an empty topic level"),
        (["device", "lamp", "http://127.0.0.1"], "a lamp speaks mqtt://, not http://"),
        (["device", "thermostat", "mqtts://127.0.0.1"], "a thermostat speaks coap://, not mqtts://"),
        (["device", "relay", "COAP://127.0.0.1"], "a relay speaks serial://, not coap://"),
        (["device", "relay", "/dev/ttyUSB0"], "no URL: write it like serial:///dev/ttyUSB0"),
        (["device", "thermostat", "127.0.0.1"], "no URL: write it like coap://127.0.0.1:5683"),
    ],
)
def test_the_fleet_refuses(argv: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert message in refusal(main_fleet, argv, capsys)


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
