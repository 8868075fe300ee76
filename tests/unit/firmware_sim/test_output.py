"""Files to write: what cannot be written is found out before the run, and what could be is left as it was."""

import argparse
from pathlib import Path

import pytest

from firmware_sim.output import writable, write


@pytest.mark.parametrize("path", ["/nonexistent/x.html", "/dev/null/x.html", "/tmp", ""])
def test_what_cannot_be_written_is_said(path: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match=f"cannot write {path}: "):
        writable(path)


def test_asking_changes_nothing(tmp_path: Path) -> None:
    new, old = tmp_path / "new", tmp_path / "old"
    old.write_text("kept")
    assert (writable(str(new)), writable(str(old))) == (new, old)
    assert not new.exists()
    assert old.read_text() == "kept"


def test_what_went_wrong_meanwhile_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert write("oriole fleet", {tmp_path / "report": b"text"})
    assert (tmp_path / "report").read_bytes() == b"text"
    gone = tmp_path / "gone" / "report"
    assert not write("oriole fleet", {gone: b"text", tmp_path / "report": b"new"})
    assert (tmp_path / "report").read_bytes() == b"new", "the others are written nevertheless"
    assert capsys.readouterr().err == f"oriole fleet: cannot write {gone}: No such file or directory\n"
