"""A YAML file read into typed values, with errors that name the file, the line and the key.

PyYAML keeps where each node stood, msgspec checks types and says where in the value it stumbled; this module puts
the two together, in the words of `oriole.mistakes`. It knows nothing of what the file is about.
"""

from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from oriole.mistakes import STEP, UNKNOWN_KEY, in_words, is_of_key, split

MAX_FILE_BYTES = 4 << 20

T = TypeVar("T")


class ConfigError(ValueError):
    """What a person wrote cannot be used; the message says where and why."""


def load(path: str | Path, kind: type[T]) -> T:
    """Read the YAML file at `path` into a `kind`, a msgspec structure. Raises `ConfigError`."""
    try:
        raw = Path(path).read_bytes()
        if len(raw) > MAX_FILE_BYTES:
            raise ConfigError(f"{path}: larger than {MAX_FILE_BYTES} bytes")
        return decode(raw.decode(), kind, str(path))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from error


def decode(text: str, kind: type[T], source: str) -> T:
    """Read YAML `text` into a `kind`; `source` is its name in errors. An empty text is a `kind` with its defaults.

    Raises `ConfigError`: not YAML, a key given twice, an unknown key, a value of the wrong type or out of range.
    """
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
        value = None if root is None else loader.construct_document(root)
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f", line {error.problem_mark.line + 1}"
        raise ConfigError(f"{source}{line}: {error.problem or error.context}") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
        raise ConfigError(f"{source}: {' '.join(str(error).split())}") from error
    try:
        result: T = convert({} if value is None else value, kind)
        return result
    except msgspec.ValidationError as error:
        raise ConfigError(f"{source}{_explain(str(error), root, value, kind)}") from error


def convert(value: object, kind: Any) -> Any:
    """`value`, of plain Python types, as a `kind`; types with a `parse` method read themselves, from a string or from
    what they say in `reads`.

    Raises `msgspec.ValidationError`, in a user's words.
    """
    try:
        return msgspec.convert(value, kind, dec_hook=_parse)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(in_words(str(error), kind)) from None


def _parse(kind: Any, value: Any) -> object:
    reads = getattr(kind, "reads", (str,))
    if type(value) not in reads:
        names = " | ".join(each.__name__ for each in reads)
        raise ValueError(f"Expected `{names}`, got `{type(value).__name__}`")
    if kind is Path and not value:
        raise ValueError("an empty path")
    return kind(value) if kind is Path else kind.parse(value)


class _Loader(yaml.SafeLoader):
    """The safe loader, without duplicate keys, of which YAML would silently take the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise yaml.MarkedYAMLError(problem=f"`{key.value}` is given twice", problem_mark=key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _child(node: yaml.MappingNode, key: Any) -> yaml.Node:
    """The node of `key`, or `node` where it is spelt otherwise (0x10). The last one: a `<<` is put before the rest."""
    child: yaml.Node = next((value for name, value in reversed(node.value) if name.value == str(key)), node)
    return child


def _explain(message: str, root: yaml.Node | None, value: Any, kind: Any) -> str:
    """Put line and key to `message`, `convert`'s, which ends like "- at `$.users[...]`"."""
    what, path = split(message)
    node, part, keys = root, value, ""
    for field, index in STEP.findall(path):
        if isinstance(node, yaml.MappingNode):
            key = field or _failing_key(part, value, kind, message)
            node, part, keys = _child(node, key), part[key], f"{keys}.{key}" if keys else str(key)
        elif isinstance(node, yaml.SequenceNode) and index.isdecimal():
            node, part, keys = node.value[int(index)], part[int(index)], f"{keys}[{index}]"
    if is_of_key(path) and isinstance(node, yaml.MappingNode):
        key = _failing_key(part, value, kind, message)
        if isinstance(key, str):
            keys = f"{keys}.{key}" if keys else key
            node = next((each for each, _ in node.value if each.value == key), node)
    if unknown := UNKNOWN_KEY.match(what):
        assert isinstance(node, yaml.MappingNode)
        key_node = next((key for key, _ in node.value if key.value == unknown[1]), node)
        name = f"{keys}.{unknown[1]}" if keys else unknown[1]
        return f", line {key_node.start_mark.line + 1}: unknown key `{name}`{unknown[2] or ''}"
    line = f", line {node.start_mark.line + 1}" if node else ""
    is_unquoted = what.startswith("expected a text, got ") and isinstance(node, yaml.ScalarNode)
    hint = " (put it in quotes)" if is_unquoted and not what.endswith("nothing") else ""
    return f"{line}: {f'`{keys}`: ' if keys else ''}{what[0].lower()}{what[1:]}{hint}"


def _failing_key(mapping: dict[Any, Any], document: object, kind: Any, message: str) -> Any:
    """The key that is refused in `mapping`, a part of `document`, in the words of `message`. msgspec does not say: each
    is tried alone. There may be other mistakes in the document, in other words.
    """
    entries = dict(mapping)
    try:
        for key, entry in entries.items():
            mapping.clear()
            mapping[key] = entry
            try:
                convert(document, kind)
            except msgspec.ValidationError as error:
                if str(error) == message:
                    return key
    finally:
        mapping.clear()
        mapping.update(entries)
    raise AssertionError("no entry is refused alone")
