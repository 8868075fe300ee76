"""A key of the configuration that nothing reads would promise what nobody keeps."""

import ast
from collections.abc import Iterable
from pathlib import Path

from architecture.source import Module, modules, within

from oriole.config import BrokerConfig, EdgeConfig, Limits, keys

ROOT = Path(__file__).parents[2]


def read_by(found: Iterable[Module], *packages: str) -> set[str]:
    """Every attribute that modules of `packages` read."""
    trees = [module.tree for module in found if any(within(module.name, package) for package in packages)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)}


def test_every_key_is_read() -> None:
    found = modules(ROOT)
    broker = {key.name for kind in (BrokerConfig, Limits) for key in keys(kind)}
    assert sorted(broker - read_by(found, "broker")) == []
    edge = {key.name for key in keys(EdgeConfig)} - broker
    assert sorted(edge - read_by(found, "edge_node")) == []


def test_a_key_that_nothing_reads_is_seen() -> None:
    module = Module("broker.a", Path("broker/a.py"), "", ast.parse("config.listen\nconfig.data = 1"))
    assert read_by([module], "broker") == {"listen"}
