"""The rules a machine can check. Each takes a module and yields `(line, what is wrong)`.

ARCHITECTURE.md says why; this page is what is enforced.
"""

import ast
from collections.abc import Callable, Iterator

from architecture.source import PACKAGES, Module, within

Rule = Callable[[Module], Iterator[tuple[int, str]]]

# part: what it may import besides itself. A module belongs to the longest part that its name begins with.
HOUSE = {"oriole", "oriole.wire", "oriole.link"}
ENGINE = HOUSE | {"broker.core", "broker.mqtt", "broker.coap"}
SHELL = ENGINE | {"broker.listeners", "broker.journal", "broker.auth"}
ARROWS: dict[str, set[str]] = {
    "oriole.wire": set(),
    "oriole.link": {"oriole.wire"},
    "oriole": HOUSE,
    "broker.core": HOUSE,
    "broker.mqtt": HOUSE | {"broker.core"},
    "broker.coap": HOUSE | {"broker.core"},
    "broker.listeners": ENGINE,
    "broker.journal": ENGINE,
    "broker.auth": ENGINE,
    "broker": SHELL,
    "edge_node": SHELL | {"broker"},
    "firmware_sim": HOUSE,
    # The two exceptions: virtual time runs the engines in its own process, and the command finds every program.
    "firmware_sim.virtual": SHELL | {"broker", "edge_node", "firmware_sim"},
    "firmware_sim.fleet.program": HOUSE | {"firmware_sim", "firmware_sim.virtual"},
    "firmware_sim.demo": HOUSE | {"firmware_sim", "firmware_sim.fleet.program"},
    "firmware_sim.cli": HOUSE | {"firmware_sim", "firmware_sim.fleet.program", "firmware_sim.demo"},
    "oriole.cli": HOUSE | {"broker", "edge_node", "firmware_sim", "firmware_sim.cli"},
    "oriole.__main__": {"oriole.cli"},
}

# No I/O, no clock, no chance. Of the edge, everything but its shells.
SANS_IO = ("oriole.wire", "oriole.link", "broker.core", "broker.mqtt", "broker.coap", "edge_node")
SHELLS = (
    "edge_node.app",
    "edge_node.node",
    "edge_node.devices.port",
    "edge_node.uplink.connection",
    "edge_node.uplink.dialler",
    "edge_node.uplink.link_watch",
    "edge_node.uplink.resolver",
)
WORLD = """
    asyncio concurrent datetime fcntl glob http logging multiprocessing os pathlib queue random sched secrets select
    selectors shutil signal socket ssl subprocess tempfile termios threading time urllib.request uuid uvloop
    aiocoap paho rich serial websockets oriole.logging oriole.data_dir oriole.typed_yaml
""".split()
WORLDLY_CALLS = {"open", "print", "input", "breakpoint"}

DOCUMENTED = ("oriole.wire", "oriole.link", "broker.core")
MAX_LINES = 600


def arrows(module: Module) -> Iterator[tuple[int, str]]:
    """A part imports only what stands below it."""
    part = part_of(module.name)
    for line, name in module.imports():
        target = part_of(name)
        if target and target != part and target not in ARROWS[part]:
            yield line, f"{part} must not import {name}"


def sans_io(module: Module) -> Iterator[tuple[int, str]]:
    """What decides touches neither the world nor a clock."""
    if not decides(module):
        return
    for line, name in module.imports():
        if any(within(name, forbidden) for forbidden in WORLD):
            yield line, f"{name} is for shells: bytes and `now` are arguments here"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in WORLDLY_CALLS:
            yield node.lineno, f"{node.func.id}() is for shells"


def no_set_order(module: Module) -> Iterator[tuple[int, str]]:
    """Nothing that decides takes the order of a set: it is not the same in every run."""
    if not decides(module):
        return
    names = set(_set_names(module.tree))
    for node in ast.walk(module.tree):
        for ordered in _order_taken_from(node):
            if _is_set(ordered) or _name(ordered) in names:
                yield (
                    ordered.lineno,
                    f"the order of {ast.unparse(ordered)} differs from run to run: sort it, or use a dict",
                )


def slotted(module: Module) -> Iterator[tuple[int, str]]:
    """A class of what decides has slots: small, and closed to attributes nobody declared."""
    if not decides(module):
        return
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and not _has_slots(node):
            yield node.lineno, f"class {node.name} has no __slots__"


def thin_packages(module: Module) -> Iterator[tuple[int, str]]:
    """An `__init__.py` names what its package offers, and nothing else."""
    if not module.is_package:
        return
    for node in module.tree.body:
        match node:
            case ast.Expr(value=ast.Constant(value=str())) | ast.Import() | ast.ImportFrom():
                pass
            case ast.Assign(targets=[ast.Name(id="__all__" | "__version__")]):
                pass
            case _:
                yield node.lineno, "a package's __init__ only re-exports: move this to a module"


def short_files(module: Module) -> Iterator[tuple[int, str]]:
    """One noun per file."""
    if (lines := module.text.count("\n")) > MAX_LINES:
        yield MAX_LINES, f"{lines} lines: look for the second noun"


def documented(module: Module) -> Iterator[tuple[int, str]]:
    """A module says what it owns; below, every public class and function is a contract."""
    if module.text.strip() and ast.get_docstring(module.tree) is None:
        yield 1, "no docstring: what does this file own?"
    if not any(within(module.name, part) for part in DOCUMENTED):
        return
    for node in _public(module.tree):
        if ast.get_docstring(node) is None:
            yield node.lineno, f"{node.name} has no docstring"


RULES: tuple[Rule, ...] = (arrows, sans_io, no_set_order, slotted, thin_packages, short_files, documented)


def part_of(name: str) -> str:
    """The part that a module or a name in it belongs to; empty for what is not ours."""
    if not any(within(name, package) for package in PACKAGES):
        return ""
    return max((part for part in ARROWS if within(name, part)), key=len)


def decides(module: Module) -> bool:
    """Whether the module belongs to what is sans-I/O."""
    return any(within(module.name, part) for part in SANS_IO) and module.name not in SHELLS


def _is_set(node: ast.AST | None) -> bool:
    """Whether the expression, or the annotation, is plainly a set."""
    match node:
        case ast.Set() | ast.SetComp():
            return True
        case ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case ast.Name(id="set" | "frozenset") | ast.Subscript(value=ast.Name(id="set" | "frozenset")):
            return True
    return False


def _set_names(tree: ast.Module) -> Iterator[str]:
    """Names of variables, attributes and arguments that are sets somewhere in the module."""
    for node in ast.walk(tree):
        match node:
            case ast.AnnAssign(target=target, annotation=annotation) if _is_set(annotation):
                yield _name(target)
            case ast.arg(arg=name, annotation=annotation) if _is_set(annotation):
                yield name
            case ast.Assign(targets=targets, value=value) if _is_set(value):
                yield from (_name(target) for target in targets)


def _order_taken_from(node: ast.AST) -> Iterator[ast.expr]:
    """The expressions whose order `node` takes: loops, unpacking, `list(x)` and its like, `x.pop()`."""
    match node:
        case ast.For(iter=iterated) | ast.comprehension(iter=iterated) | ast.YieldFrom(value=iterated):
            yield iterated
        case ast.Starred(value=iterated):
            yield iterated
        case ast.Call(func=ast.Name(id="list" | "tuple" | "iter" | "next" | "enumerate" | "zip" | "map"), args=args):
            yield from args
        case ast.Call(func=ast.Attribute(attr="join" | "extend"), args=args):
            yield from args
        case ast.Call(func=ast.Attribute(attr="pop", value=popped), args=[]):
            yield popped


def _name(node: ast.AST) -> str:
    """`x` of `x`, `y` of `x.y`; empty for the rest."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
    return ""


def _has_slots(node: ast.ClassDef) -> bool:
    """Whether the class declares slots, gets them from `@dataclass`, or has a base that rules them out."""
    for base in node.bases:
        name = _name(base.value if isinstance(base, ast.Subscript) else base)
        if name in {"Protocol", "NamedTuple", "TypedDict", "Struct"} or name.endswith(
            ("Enum", "Flag", "Error", "Exception")
        ):
            return True
    for statement in node.body:
        match statement:
            case ast.Assign(targets=[ast.Name(id="__slots__")]) | ast.AnnAssign(target=ast.Name(id="__slots__")):
                return True
    return any("slots=True" in ast.unparse(decorator) for decorator in node.decorator_list)


def _public(tree: ast.Module) -> Iterator[ast.ClassDef | ast.FunctionDef]:
    """Public functions and classes at the top of a module, and the public methods of these."""
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                for method in node.body:
                    if isinstance(method, ast.FunctionDef) and not method.name.startswith("_"):
                        yield method
