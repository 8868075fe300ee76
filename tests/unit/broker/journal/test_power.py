"""Power cuts: whatever the disk made of what it was not asked to keep, what was reported as safe is read again."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from unit.broker.journal.disks import PATIENCE_S, WHO, Power, read

from broker.journal.bases import write_base
from broker.journal.disk import DiskJournal

LIVES = 3
SCHEDULES = 60


def batch(position: int) -> bytes:
    """What has this position, in every life."""
    return random.Random(position).randbytes(random.Random(-position).choice((1, 40, 700, 2500)))


def wrong(folder: Path, reported: int, before: int | None = None) -> str:
    """What is wrong with what is left; nothing, if nothing is."""
    batches, damages = read(folder, before)
    if damages:
        return f"{damages}"
    at = 0
    for position, blob in batches:
        is_base = blob == b"sum" and at == 0
        if not is_base and (position, blob) != (at + 1, batch(at + 1)):
            return f"{position} after {at}"
        at = position
    return "" if at >= reported else f"{at} of {reported}"


def live(folder: Path, chance: random.Random, power: Power) -> None:
    """Write, and compact now and then, until the power fails; on with it, for a while, as nobody is told."""
    size = chance.choice((2000, 6000, 30000))
    journal = DiskJournal(folder, power.on_commit, pytest.fail, pytest.fail, **WHO, segment_bytes=size)
    position = journal.committed
    try:
        for _ in range(chance.randint(0, 12)):
            for _ in range(chance.randint(1, 8)):
                position += 1
                assert journal.append(batch(position)) == position
            committed, closed = journal.committed, journal.closed_segments()
            if closed and chance.random() < 0.2:
                write_base(folder, closed[-1][0], max(committed, 1), [b"sum"], **WHO)
    finally:
        journal.close(PATIENCE_S)
    power.cut()


def schedule(seed: int, tmp_path: Path, is_honest: bool) -> str:
    """Some lives, each ended by a power cut; what is wrong after one of them."""
    chance = random.Random(seed)
    folder = tmp_path / f"{seed}"
    folder.mkdir()
    for number in range(LIVES):
        power = Power(folder, chance, chance.randint(1, 120), is_honest)
        with pytest.MonkeyPatch.context() as patch:
            power.watch(patch)
            live(folder, chance, power)
        folder = tmp_path / f"{seed}-{number}"
        power.write_left(folder)
        if what := wrong_after_start(folder, power.reported_at_cut):
            return f"life {number}: {what}"
    return ""


def wrong_after_start(folder: Path, reported: int) -> str:
    """As `wrong`, before and after a start that writes nothing."""
    if what := wrong(folder, reported):
        return f"at rest: {what}"
    journal = DiskJournal(folder, pytest.fail, pytest.fail, pytest.fail, **WHO, segment_bytes=2000)
    journal.close(PATIENCE_S)
    if what := wrong(folder, reported, journal.first_segment):
        return f"started: {what}"
    return "" if journal.committed >= reported else f"begins after {journal.committed} of {reported}"


def test_what_was_reported_as_safe_is_read_again(tmp_path: Path) -> None:
    found = {seed: schedule(seed, tmp_path, is_honest=True) for seed in range(SCHEDULES)}
    assert {seed: what for seed, what in found.items() if what} == {}


def test_a_journal_that_does_not_sync_is_caught(tmp_path: Path) -> None:
    assert any(schedule(seed, tmp_path, is_honest=False) for seed in range(SCHEDULES))
