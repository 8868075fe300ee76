"""The dispatcher: what is run, what is said about what cannot be run, and what is not even imported."""

import subprocess
import sys
from types import ModuleType

import pytest

from oriole import __version__, cli


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("a_program")
    monkeypatch.setitem(sys.modules, "a_program", module)
    monkeypatch.setitem(cli.COMMANDS, "broker", cli.Command("a_program:main", ""))
    return module


def test_runs_the_command_with_what_follows(program: ModuleType) -> None:
    seen: list[list[str]] = []
    program.__dict__["main"] = lambda argv: seen.append(argv) or 7
    assert cli.main(["broker", "--listen", "x"]) == 7
    assert seen == [["--listen", "x"]]


def test_ctrl_c_is_a_status_not_a_traceback(program: ModuleType) -> None:
    def interrupted(argv: list[str]) -> int:
        raise KeyboardInterrupt

    program.__dict__["main"] = interrupted
    assert cli.main(["broker"]) == 130


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["brokr"], "oriole: unknown command `brokr`: did you mean `broker`?\n"),
        (["frobnicate"], "oriole: unknown command `frobnicate`: `oriole --help` lists the commands\n"),
        (["--listen", "x"], "oriole: unknown option `--listen`: `oriole --help` lists the commands\n"),
    ],
)
def test_refuses(capsys: pytest.CaptureFixture[str], argv: list[str], message: str) -> None:
    assert cli.main(argv) == 2
    assert capsys.readouterr() == ("", message)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert [name for name in cli.COMMANDS if f"\n  {name} " not in shown] == []


def test_no_command_is_bad_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.startswith("usage: oriole COMMAND")


def test_as_a_module() -> None:
    run = subprocess.run([sys.executable, "-m", "oriole", "--version"], capture_output=True, text=True, check=True)
    assert run.stdout == f"oriole {__version__}\n"
