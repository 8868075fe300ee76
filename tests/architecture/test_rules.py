"""The source keeps the rules, and each rule is seen to refuse what it is there for."""

from pathlib import Path

import pytest
from architecture.rules import (
    ARROWS,
    MAX_LINES,
    RULES,
    SANS_IO,
    Rule,
    arrows,
    documented,
    no_set_order,
    part_of,
    sans_io,
    short_files,
    slotted,
    thin_packages,
)
from architecture.source import modules

ROOT = Path(__file__).parents[2]


def broken(root: Path, rule: Rule) -> list[str]:
    """What breaks `rule` below `root`, as lines that an editor can jump to."""
    return [f"{module.path}:{line}: {what}" for module in modules(root) for line, what in rule(module)]


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_source_keeps(rule: Rule) -> None:
    assert broken(ROOT, rule) == []


def test_the_rules_see_the_source() -> None:
    names = {module.name for module in modules(ROOT)}
    assert {"oriole", "oriole.cli", "oriole.wire.topics"} <= names
    assert {part_of(name) for name in names} >= {"oriole", "oriole.cli", "oriole.wire", "oriole.link", "broker.core"}


BREAKS: list[tuple[Rule, str, str, str]] = [
    (arrows, "oriole/wire/a.py", "import oriole.link.x", "must not import oriole.link.x"),
    (arrows, "oriole/wire/a.py", "from oriole import config", "must not import oriole.config"),
    (arrows, "oriole/wire/a.py", "from ..link import x", "must not import oriole.link.x"),
    (arrows, "oriole/wire/b/__init__.py", "from ...link import x", "must not import oriole.link.x"),
    (arrows, "oriole/link/a.py", "def f():\n    from broker.core import x", "must not import broker.core.x"),
    (arrows, "oriole/config.py", "from oriole.cli import main", "must not import oriole.cli.main"),
    (arrows, "broker/core/a.py", "import importlib\nimportlib.import_module('broker.mqtt')", "broker.mqtt"),
    (arrows, "broker/core/a.py", "from broker import app", "must not import broker.app"),
    (arrows, "broker/mqtt/a.py", "import broker.coap", "must not import broker.coap"),
    (arrows, "broker/listeners/a.py", "from broker import journal", "must not import broker.journal"),
    (arrows, "broker/app.py", "import edge_node", "must not import edge_node"),
    (arrows, "edge_node/a.py", "import firmware_sim.x", "must not import firmware_sim.x"),
    (arrows, "firmware_sim/a.py", "from broker.core import x", "must not import broker.core.x"),
    (arrows, "firmware_sim/a.py", "import oriole.cli", "must not import oriole.cli"),
    *((sans_io, f"{part.replace('.', '/')}/a.py", "import asyncio", "asyncio is for shells") for part in SANS_IO),
    (sans_io, "broker/core/a.py", "def f():\n    from time import monotonic", "time.monotonic is for shells"),
    (sans_io, "broker/core/a.py", "from datetime import datetime", "datetime.datetime is for shells"),
    (sans_io, "broker/core/a.py", "from oriole.logging import Log", "oriole.logging.Log is for shells"),
    (sans_io, "broker/core/a.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import socket", "socket"),
    (sans_io, "broker/core/a.py", "print(1)", "print() is for shells"),
    (no_set_order, "broker/core/a.py", "for x in {1, 2}: pass", "the order of {1, 2}"),
    (no_set_order, "broker/core/a.py", "[x for x in set(y)]", "the order of set(y)"),
    (no_set_order, "broker/core/a.py", "def f(s: set[int]):\n    return list(s)", "the order of s"),
    (
        no_set_order,
        "broker/core/a.py",
        "class A:\n    def f(self): self.s = set()\n    def g(self): self.s.pop()",
        "self.s",
    ),
    (no_set_order, "broker/core/a.py", "s: frozenset[int] = f()\n[*s]", "the order of s"),
    (slotted, "broker/core/a.py", "class A: pass", "class A has no __slots__"),
    (slotted, "broker/core/a.py", "@dataclass(frozen=True)\nclass A: pass", "class A has no __slots__"),
    (thin_packages, "broker/core/__init__.py", "def f(): pass", "only re-exports"),
    (thin_packages, "broker/core/__init__.py", "x = 1", "only re-exports"),
    (short_files, "broker/core/a.py", "\n" * (MAX_LINES + 1), "look for the second noun"),
    (documented, "broker/app.py", "x = 1", "what does this file own?"),
    (documented, "broker/core/a.py", "'''A.'''\ndef f(): pass", "f has no docstring"),
    (documented, "broker/core/a.py", "'''A.'''\nclass A:\n    '''A.'''\n    def f(self): pass", "f has no docstring"),
]

KEEPS = [
    (arrows, "oriole/cli.py", "import broker.app, edge_node.app, firmware_sim.cli"),
    (arrows, "edge_node/a.py", "from broker.listeners import tcp\nimport broker.app, oriole.config, yaml"),
    (arrows, "brokerage.py", "import anything"),
    (sans_io, "broker/listeners/a.py", "import asyncio, socket"),
    (sans_io, "edge_node/app.py", "import asyncio"),
    (sans_io, "broker/core/a.py", "import timeit_like, struct"),
    (no_set_order, "broker/core/a.py", "s = {1}\nsorted(s), len(s), 1 in s\nd = {}\nd.pop(1)\n[].pop()"),
    (no_set_order, "broker/listeners/a.py", "for x in {1}: pass"),
    (slotted, "broker/core/a.py", "class A:\n    __slots__ = ()\nclass B(IntEnum): pass\nclass C(ValueError): pass"),
    (slotted, "broker/core/a.py", "@dataclass(slots=True)\nclass A: pass\nclass B(Protocol[T]): pass"),
    (thin_packages, "broker/core/__init__.py", "'''A.'''\nfrom broker.core.a import f\n__all__ = ['f']"),
    (documented, "broker/core/__init__.py", ""),
    (documented, "broker/core/a.py", "'''A.'''\ndef _f(): pass\nclass A:\n    '''A.'''\n    def __init__(self): pass"),
]


def tree(root: Path, path: str, source: str) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(source)
    return root


@pytest.mark.parametrize(("rule", "path", "source", "message"), BREAKS)
def test_a_rule_refuses(tmp_path: Path, rule: Rule, path: str, source: str, message: str) -> None:
    (what,) = broken(tree(tmp_path, path, source), rule)
    assert what.startswith(f"{path}:")
    assert message in what


@pytest.mark.parametrize(("rule", "path", "source"), KEEPS)
def test_a_rule_lets_pass(tmp_path: Path, rule: Rule, path: str, source: str) -> None:
    assert broken(tree(tmp_path, path, source), rule) == []


def test_every_rule_is_seen_to_refuse() -> None:
    assert {rule for rule, *_ in BREAKS} == set(RULES)


def test_the_arrows_have_no_cycle() -> None:
    below = {part: targets - {part} for part, targets in ARROWS.items()}
    while below:
        free = [part for part, targets in below.items() if not targets & below.keys()]
        assert free, f"a cycle among {sorted(below)}"
        below = {part: targets for part, targets in below.items() if part not in free}
