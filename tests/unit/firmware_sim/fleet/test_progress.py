"""Progress where there is no terminal: what begins is told at once, and what lasts is told again."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from firmware_sim.fleet import progress
from firmware_sim.fleet.progress import Progress


class Run:
    """As much of a fleet as is shown."""

    def __init__(self) -> None:
        self.phase = "starting"

    def progress(self) -> str:
        return self.phase


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """All that was told since the last time; waits for something."""

    def lines() -> list[str]:
        deadline = time.monotonic() + 10
        said = ""
        while not said and time.monotonic() < deadline:
            time.sleep(0.005)
            said = capsys.readouterr().err
        return said.splitlines()

    return lines


def test_acting_and_draining_are_told_when_they_begin(
    told: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(progress, "LOOK_S", 0.01)
    run: Any = Run()
    shown = Progress(run)
    for phase in ("connecting", "running", "draining"):
        run.phase = phase
        if phase != "connecting":
            assert told() == [phase]
    run.phase = "closing"
    shown.close()


def test_what_lasts_is_told_again(told: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "LOOK_S", 0.01)
    monkeypatch.setattr(progress, "CONNECTING_S", 0.03)
    shown = Progress(Run())  # type: ignore[arg-type]
    for _ in range(2):
        assert set(told()) == {"starting"}
    shown.close()
