"""Every library that the source imports is declared, and every declared one is used and explained."""

import re
import sys
import tomllib
from pathlib import Path

from architecture.source import PACKAGES, modules

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = [name for extra in PROJECT["optional-dependencies"].values() for name in extra]

# Where a distribution's name is not the one that is imported.
IMPORTED_AS = {
    "paho-mqtt": "paho",
    "pyserial": "serial",
    "pyserial-asyncio-fast": "serial_asyncio_fast",
    "PyYAML": "yaml",
}


def distribution(requirement: str) -> str:
    """`cbor2` of `cbor2>=6.0`."""
    return re.split(r"[^A-Za-z0-9_.-]", requirement, maxsplit=1)[0]


def imports() -> set[str]:
    """The top-level names of everything imported that is neither ours nor Python's."""
    names = {name.partition(".")[0] for module in modules(ROOT) for _, name in module.imports()}
    return names - sys.stdlib_module_names - set(PACKAGES)


def test_what_is_imported_is_declared_and_used() -> None:
    declared = {distribution(requirement) for requirement in PROJECT["dependencies"]}
    extras = {IMPORTED_AS.get(name, name) for name in map(distribution, EXTRAS)}
    assert imports() - extras == {IMPORTED_AS.get(name, name) for name in declared}


def test_what_is_declared_is_explained() -> None:
    page = (ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    development = (ROOT / "requirements-dev.txt").read_text(encoding="utf-8").splitlines()
    required = [*PROJECT["dependencies"], *EXTRAS, *(line for line in development if line[:1].isalpha())]
    assert [name for name in map(distribution, required) if f"\n| {name} |" not in page] == []
