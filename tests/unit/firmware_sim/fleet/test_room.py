"""Too little room in the temporary folder is said in a sentence; other trouble is left to others."""

import errno
import os
import shutil
import tempfile

import pytest

from firmware_sim.fleet.room import ENOUGH_BYTES, room_for_files, shortage
from firmware_sim.fleet.world import WorldError

ADVICE = ": make room for the run's files, or set TMPDIR to a folder that has some"


def free(amount: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1 << 30, 0, amount))  # type: ignore[attr-defined]


def test_where_there_is_enough_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    free(ENOUGH_BYTES, monkeypatch)
    assert shortage() == ""
    with room_for_files():
        pass


def test_where_there_is_too_little_nothing_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    free(ENOUGH_BYTES - 1, monkeypatch)
    said = f"no room in {tempfile.gettempdir()}, 1023 KiB are free{ADVICE}"
    with pytest.raises(WorldError) as refused, room_for_files():
        pytest.fail("it began")
    assert str(refused.value) == said


def test_where_no_folder_can_be_written_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "gettempdir", none)
    assert shortage() == f"No usable temporary directory found in ['/tmp']{ADVICE}"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("is_wrapped", [False, True])
def test_what_fills_up_meanwhile_is_said(number: int, is_wrapped: bool) -> None:
    error: Exception = OSError(number, os.strerror(number))
    if is_wrapped:
        error, error.__cause__ = WorldError("a node"), error
    with pytest.raises(WorldError) as refused, room_for_files():
        raise error
    assert str(refused.value) == f"no room in {tempfile.gettempdir()}, {os.strerror(number)}{ADVICE}"


@pytest.mark.parametrize("error", [OSError(errno.EIO, "trouble"), WorldError("trouble"), ValueError("trouble")])
def test_other_trouble_is_left_to_others(error: Exception) -> None:
    with pytest.raises(type(error)) as raised, room_for_files():
        raise error
    assert raised.value is error
