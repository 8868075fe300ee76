"""Schedules are values that a seed stands for."""

from __future__ import annotations

from faults.schedule import BROKER_FAULTS, CLIENT_FAULTS, SUBSCRIBER_FAULTS, draw


def test_a_seed_stands_for_a_schedule() -> None:
    assert draw(7) == draw(7)
    assert draw(7) != draw(8)


def test_every_kind_of_fault_comes_up() -> None:
    kinds = {fault.kind for seed in range(50) for fault in draw(seed).faults}
    assert kinds == {*(kind for kinds in BROKER_FAULTS.values() for kind in kinds), *CLIENT_FAULTS, *SUBSCRIBER_FAULTS}


def test_no_disk_gets_full_where_none_can_be_mounted() -> None:
    assert all(draw(seed, has_small_disks=False).disk != "small" for seed in range(50))
