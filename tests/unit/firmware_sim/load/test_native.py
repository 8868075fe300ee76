"""The C loop is compiled once, and done without where it cannot be."""

import shutil
from pathlib import Path

import pytest

from firmware_sim.load import native


@pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler, `cc`")
def test_compiles_into_the_cache_and_finds_it_there_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert native.compiled() is not None
    (library,) = (tmp_path / "oriole").iterdir()
    monkeypatch.setenv("PATH", "")
    assert native.compiled() is not None
    library.unlink()
    assert native.compiled() is None


def test_no_compiler_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    assert native.compiled() is None


def test_no_cache_no_library(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/dev/null")
    assert native.compiled() is None
