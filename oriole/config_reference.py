"""docs/configuration.md, written from the configuration's types: `python -m oriole.config_reference`."""

from typing import Annotated, Any, Literal, get_args, get_origin

from msgspec import Meta, Struct

from oriole.config import BrokerConfig, EdgeConfig, Key, NodeName, TopicFilter, keys
from oriole.urls import Listener, SerialPort, Uplink

_INTRODUCTION = """\
# Configuration

<!-- Written by `make docs` from oriole/config.py. -->

`oriole broker --config FILE` and `oriole edge --config FILE` read one YAML file. Every key has a default; a key that
is not known is refused by name and line. The command line overrides the file, and a list given there replaces the
file's. Sizes are in bytes, times in seconds. Examples: `deploy/`.
"""

_WORDS = {
    bool: "true or false",
    int: "whole number",
    str: "text",
    NodeName: "text",
    TopicFilter: "topic filter",
    Listener: "URL",
    Uplink: "URL",
    SerialPort: "URL",
}


def markdown() -> str:
    """The whole page."""
    sections = [_INTRODUCTION]
    common = {key.name for key in keys(BrokerConfig)}
    sections.append("## Broker and edge\n\n" + _table(BrokerConfig))
    sections.append("## Edge alone\n\n" + _table(EdgeConfig, leave_out=common))
    for key in keys(BrokerConfig):
        if isinstance(key.default, Struct):
            doc = " ".join((type(key.default).__doc__ or "").split())
            sections.append(f"## `{key.name}`\n\n{doc}\n\n{_table(type(key.default))}")
    return "\n".join(sections)


def _table(kind: type[Struct], leave_out: frozenset[str] | set[str] = frozenset()) -> str:
    rows = "".join(_row(key) for key in keys(kind) if key.name not in leave_out)
    return f"| key | value | default | option | |\n|---|---|---|---|---|\n{rows}"


def _row(key: Key) -> str:
    default = f"see [`{key.name}`](#{key.name})" if isinstance(key.default, Struct) else _default(key.default)
    return f"| `{key.name}` | {_type(key.type)} | {default} | {_option(key)} | {key.description} |\n"


def _option(key: Key) -> str:
    if key.metavar is None:
        return ""
    return f"`--{key.name.replace('_', '-')}{' ' if key.metavar else ''}{key.metavar}`"


def _default(value: object) -> str:
    if value in (None, (), {}):
        return "none"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple):
        return ", ".join(f"`{item}`" for item in value)
    return f"`{value}`"


def _type(hint: Any) -> str:
    """What a person may write for `hint`."""
    if get_origin(hint) is Annotated:
        plain, *rest = get_args(hint)
        limits = [meta for meta in rest if isinstance(meta, Meta)]
        low = next((meta.ge for meta in limits if meta.ge is not None), None)
        high = next((meta.le for meta in limits if meta.le is not None), None)
        if low is None:
            return _type(plain)
        return f"{_type(plain)}, {low} to {high}" if high is not None else f"{_type(plain)}, at least {low}"
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return f"list of {_type(arguments[0])}s"
    if origin is dict:
        return f"mapping of {_type(arguments[0])} to {_type(arguments[1])}"
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if type(None) in arguments:
        return "path"
    return _WORDS.get(hint, "mapping")


if __name__ == "__main__":
    print(markdown(), end="")
