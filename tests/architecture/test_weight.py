"""What a program does not use costs it nothing: the heavy libraries are imported late."""

import subprocess
import sys

import pytest

HEAVY = ("aiocoap", "amqtt", "cbor2", "cryptography", "hypothesis", "paho", "rich", "serial")

# What runs on a Pi, or runs so often that start-up time is felt, against what it may have imported by then.
LIGHT = {
    "oriole.cli": (),
    "oriole.config": (),
    "broker.app": (),
    "edge_node.app": ("cbor2",),
    "oriole.pubsub": (),
    "firmware_sim.cli": (),
}


def imported(module: str) -> set[str]:
    """The modules that a fresh interpreter holds after it imported `module` and ran `oriole --version`."""
    program = f"import sys, {module}, oriole.cli; oriole.cli.main(['--version']); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return set(run.stdout.split())


@pytest.mark.parametrize("module", LIGHT)
def test_imports_nothing_heavy(module: str) -> None:
    assert sorted(imported(module) & set(HEAVY) - set(LIGHT[module])) == []


def test_a_heavy_import_is_seen() -> None:
    assert "rich" in imported("rich")
