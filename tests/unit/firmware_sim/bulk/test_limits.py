"""What the system does not allow is said before the first connection."""

import resource

import pytest

from firmware_sim.bulk import limits
from firmware_sim.bulk.config import BulkConfig, Group


def config(count: int, sources: list[str] | None = None) -> BulkConfig:
    group = Group(name="m", kind="meter", count=count, place="f", addresses=[("127.0.0.1", 1883)])
    return BulkConfig(run="r", seed=1, groups=[group], sources=sources or [])


def test_too_few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "allow_open_files", lambda: None)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 1000))
    limits.check(config(900))
    with pytest.raises(limits.LimitError, match="1000 devices need 1032 open files, and 1000 are allowed"):
        limits.check(config(1000))


def test_too_few_ports_unless_there_are_more_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "allow_open_files", lambda: None)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (200_000, 200_000))
    with pytest.raises(limits.LimitError, match=r"127.0.0.1:1883 need \d addresses in `sources`"):
        limits.check(config(65_000))
    limits.check(config(65_000, [f"127.0.0.{last}" for last in range(1, 9)]))
