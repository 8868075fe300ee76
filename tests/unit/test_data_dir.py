"""The data folder: one holder, one identity, and errors that say what to do."""

import os
import stat
import subprocess
import sys
from collections.abc import Callable
from itertools import count
from pathlib import Path

import pytest

from oriole.data_dir import DataDir, DataDirError, Identity, write_atomically


def dice() -> Callable[[int], bytes]:
    """Bytes that differ from call to call, and are the same in every test."""
    numbers = count(1)
    return lambda length: bytes([next(numbers)]) * length


def test_a_new_folder_gets_an_identity_that_stays(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b"
    with DataDir(path, dice()) as first:
        assert first.identity == Identity(node="01" * 16, epoch="02" * 16)
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    with DataDir(path) as second:
        assert second.identity == first.identity


def test_identities_differ() -> None:
    assert Identity.new() != Identity.new()


def test_two_holders_are_refused_naming_the_process(tmp_path: Path) -> None:
    with DataDir(tmp_path), pytest.raises(DataDirError, match=rf"in use by another Oriole \(process {os.getpid()}\)"):
        DataDir(tmp_path)
    DataDir(tmp_path).close()


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    hold = "import sys; from oriole.data_dir import DataDir; held = DataDir(sys.argv[1]); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", hold, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        other.stdout.readline()
        with pytest.raises(DataDirError, match=rf"process {other.pid}\)"):
            DataDir(tmp_path)
        other.kill()
    DataDir(tmp_path).close()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{}",
        b"\xff",
        b'{"node":"' + b"0" * 32,
        b'{"format":2,"node":"' + b"0" * 32 + b'","epoch":"' + b"0" * 32 + b'"}',
        b'{"format":1,"node":"XYZ","epoch":"' + b"0" * 32 + b'"}',
        b'{"format":1,"node":"' + b"0" * 32 + b'","epoch":"' + b"0" * 32 + b'","more":1}',
    ],
)
def test_refuses_an_identity_it_cannot_read_and_lets_go(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "identity.json"
    file.write_bytes(content)
    with pytest.raises(DataDirError, match=r"identity\.json: cannot be read .* restore it from a copy, or move"):
        DataDir(tmp_path)
    assert file.read_bytes() == content
    file.unlink()
    DataDir(tmp_path).close()


def test_refuses_what_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    for path in (file, file / "below"):
        with pytest.raises(DataDirError, match="not a folder"):
            DataDir(path)


def test_refuses_a_folder_it_may_not_make() -> None:
    with pytest.raises(DataDirError, match="name a folder that this user may write to"):
        DataDir("/proc/oriole")


@pytest.mark.parametrize(("cut_at", "kept"), [(1, b"old"), (2, b"new")])
def test_a_power_cut_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cut_at: int, kept: bytes
) -> None:
    """What is synced first is the new content beside the old, then the folder in which it took the old one's name."""
    file = tmp_path / "file"
    write_atomically(file, b"old")
    old = file.stat().st_ino
    synced: list[bool] = []

    def power_cut(descriptor: int) -> None:
        synced.append(stat.S_ISDIR(os.fstat(descriptor).st_mode))
        if len(synced) == cut_at:
            raise OSError("power cut")

    monkeypatch.setattr(os, "fsync", power_cut)
    with pytest.raises(OSError, match="power cut"):
        write_atomically(file, b"new")
    assert synced == [False, True][:cut_at]
    assert file.read_bytes() == kept
    assert (file.stat().st_ino == old) is (kept == b"old")
    monkeypatch.undo()
    write_atomically(file, b"newer")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("file", b"newer")]
