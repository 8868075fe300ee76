"""What people copy from deploy/ works."""

import re
import shlex
from pathlib import Path

import pytest

from oriole.cli import COMMANDS
from oriole.config import BrokerConfig, EdgeConfig, load

DEPLOY = Path(__file__).parents[2] / "deploy"
EXAMPLES = {"simple.yaml": BrokerConfig, "broker.yaml": BrokerConfig, "edge.yaml": EdgeConfig}


def test_every_example_is_tested() -> None:
    assert {file.name for file in (DEPLOY / "examples").iterdir()} == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_a_configuration(name: str) -> None:
    config = load(DEPLOY / "examples" / name, EXAMPLES[name])
    assert config != EXAMPLES[name]()


def test_the_edge_of_the_examples_may_log_in_at_the_broker() -> None:
    uplink = load(DEPLOY / "examples" / "edge.yaml", EdgeConfig).uplink[0]
    assert load(DEPLOY / "examples" / "broker.yaml", BrokerConfig).users[uplink.username or ""] == uplink.password


@pytest.mark.parametrize("name", ["broker", "edge"])
def test_a_unit_runs_a_command_that_exists_on_the_file_it_is_given(name: str) -> None:
    unit = (DEPLOY / f"oriole-{name}.service").read_text()
    (start,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
    program, command, option, file = shlex.split(start)
    assert (program, option, file) == ("/opt/oriole/bin/oriole", "--config", f"%d/{name}.yaml")
    assert command in COMMANDS
    assert f"\nLoadCredential={name}.yaml:/etc/oriole/{name}.yaml\n" in unit
    data = load(DEPLOY / "examples" / f"{name}.yaml", EXAMPLES[f"{name}.yaml"]).data
    assert data == Path("/var/lib") / re.findall(r"^StateDirectory=(.*)$", unit, re.MULTILINE)[0]
