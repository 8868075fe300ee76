"""A test that needs a program which is missing is skipped with the reason, and fails where programs are promised."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
TESTS = """
import pytest

@pytest.mark.interop("sh", "no-such-program")
def test_missing() -> None: ...

@pytest.mark.interop("sh")
def test_there() -> None: ...
"""


@pytest.mark.parametrize(
    ("environment", "status", "outcome"),
    [
        ({}, 0, "1 passed, 1 skipped"),
        ({"ORIOLE_REQUIRE_INTEROP": "1"}, 1, "1 passed, 1 error"),
        ({"CI": "true"}, 1, "1 passed, 1 error"),
    ],
)
def test_a_missing_program(tmp_path: Path, environment: dict[str, str], status: int, outcome: str) -> None:
    shutil.copy(CONFTEST, tmp_path)
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = interop(*programs): x\n")
    clean = {name: value for name, value in os.environ.items() if name not in ("CI", "ORIOLE_REQUIRE_INTEROP")}
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-ra", "-p", "no:cacheprovider", "-p", "no:hypothesispytest", str(tmp_path)],
        env=clean | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == status, run.stdout
    assert outcome in run.stdout
    assert "needs no-such-program: install Debian's mosquitto" in run.stdout
