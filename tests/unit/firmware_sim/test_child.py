"""Children see what is installed and PYTHONPATH, and not the current folder."""

import os
import subprocess
from pathlib import Path

from firmware_sim.child import python_module


def test_pythonpath_counts_and_the_current_folder_does_not(tmp_path: Path) -> None:
    here, elsewhere = tmp_path / "here", tmp_path / "elsewhere"
    for folder in (here, elsewhere):
        folder.mkdir()
        (folder / "who.py").write_text(f"import sys; print({folder.name!r}, *sys.argv[1:])")
    environment = {**os.environ, "PYTHONPATH": str(elsewhere)}
    run = subprocess.run(
        python_module("who", "is", "it"), cwd=here, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout == "elsewhere is it\n"
