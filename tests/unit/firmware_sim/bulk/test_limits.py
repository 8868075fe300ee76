"""What the system does not allow is said before the first connection."""

import resource
from pathlib import Path

import pytest

from firmware_sim.bulk import limits
from firmware_sim.bulk.config import BulkConfig
from firmware_sim.scenario.file import Scenario
from oriole.typed_yaml import convert


def config(count: int, host: str = "127.0.0.1", **more: object) -> BulkConfig:
    meters = {"profile": "meter", "at": ["centre", "other"], "count": count, "bulk": True}
    value = {"name": "Many", "nodes": {"centre": {}, "other": {}}, "populations": {"m": meters}, **more}
    scenario = convert(value, Scenario)
    return BulkConfig(run="r", seed=1, scenario=scenario, doors={"m": [(host, 1883)]}, journal="")


@pytest.fixture(autouse=True)
def system(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(limits, "allow_open_files", lambda: None)
    monkeypatch.setattr(resource, "getrlimit", lambda _: (50_000, 50_000))
    ports = tmp_path / "ports"
    ports.write_text("30001 50000\n")
    monkeypatch.setattr(limits, "_PORTS", ports)


def test_too_few_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 1000))
    assert limits.sources(config(900)) == [""]
    with pytest.raises(limits.LimitError, match="1000 devices need 1032 open files, and 1000 are allowed"):
        limits.sources(config(1000))


@pytest.mark.parametrize("more", [{"schedule": [{"at": 1, "roam": "m"}]}, {"faults": [{"at": 1, "power_cut": "m"}]}])
def test_a_connection_that_ends_in_silence_stays_open_beside_the_next(
    monkeypatch: pytest.MonkeyPatch, more: dict[str, object]
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1000, 1000))
    limits.sources(config(450, **more))
    with pytest.raises(limits.LimitError, match="500 devices need 1032 open files"):
        limits.sources(config(500, **more))


def test_on_this_machine_there_are_more_addresses_to_connect_from() -> None:
    assert limits.sources(config(19_000)) == [""]
    assert limits.sources(config(19_001)) == ["127.0.0.1", "127.0.0.2"]
    assert limits.sources(config(38_001)) == ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


def test_elsewhere_too_few_ports_are_said() -> None:
    with pytest.raises(limits.LimitError, match="19001 devices to one address, and this machine has 19000 ports"):
        limits.sources(config(19_001, "192.0.2.7"))
