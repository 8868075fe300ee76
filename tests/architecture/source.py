"""The source as the rules see it: modules with their names, trees and imports, found without running any of it."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PACKAGES = ("oriole", "broker", "edge_node", "firmware_sim")


@dataclass(frozen=True, slots=True)
class Module:
    """A file of Python: its dotted `name`, its `path` below the root and what is in it."""

    name: str
    path: Path
    text: str
    tree: ast.Module

    @property
    def is_package(self) -> bool:
        return self.path.name == "__init__.py"

    def imports(self) -> Iterator[tuple[int, str]]:
        """Line and full name of everything imported anywhere, late imports and those for types included.

        `from a import b` is `a.b`, whether b is a module or not; `import_module("a.b")` is found where it is literal.
        """
        for node in ast.walk(self.tree):
            match node:
                case ast.Import(names=names):
                    yield from ((node.lineno, alias.name) for alias in names)
                case ast.ImportFrom(module=module, names=names, level=level):
                    base = ".".join(filter(None, (self._parent(level), module)))
                    yield from ((node.lineno, f"{base}.{alias.name}") for alias in names)
                case ast.Call(func=ast.Attribute(attr="import_module") | ast.Name(id="import_module" | "__import__")):
                    if node.args and isinstance(node.args[0], ast.Constant):
                        yield node.lineno, str(node.args[0].value)

    def _parent(self, level: int) -> str:
        """The package that a relative import with `level` dots begins from; empty for an absolute one."""
        parts = self.name.split(".")
        return ".".join(parts[: len(parts) + self.is_package - level]) if level else ""


@cache
def modules(root: Path) -> tuple[Module, ...]:
    """Every module of the packages below `root`, sorted by name; read once, as every rule asks for them."""
    found = []
    for package in PACKAGES:
        for file in sorted((root / package).rglob("*.py")):
            path = file.relative_to(root)
            parts = path.with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            text = file.read_text(encoding="utf-8")
            found.append(Module(name, path, text, ast.parse(text, str(path))))
    return tuple(found)


def within(name: str, part: str) -> bool:
    """Whether `name` is the module `part` or something in it."""
    return name == part or name.startswith(f"{part}.")
