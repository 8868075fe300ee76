"""What msgspec refuses, in the words of whoever wrote the value: "expected a whole number, got a text".

msgspec says what it stumbled over and where, in a programmer's words, and not what could stand there instead. The types
say that: the choices, the known keys, and the nearest of them to what was written. Files and lines are unknown here.
"""

import re
from collections.abc import Collection, Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from msgspec import inspect

STEP = re.compile(r"\.(\w+)|\[(\d+|\.\.\.)\]")
"""A step of a path: a field, or an index."""
UNKNOWN_KEY = re.compile(r"unknown key `(.*)`(; there .*|; did you mean `\w+`\?)?$", re.DOTALL)
"""How an unknown key is refused: its name, and a hint."""

_PLACE = r" - at (?:`key` in )?`\$[\w.\[\]]*`"
_PLACES = re.compile(rf"(?:{_PLACE})+$")
_CHOICE = re.compile(r"Invalid enum value '?(.*?)'?$", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(.*)`$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(.*)`$")
_PATTERN = re.compile(r"Expected `str` matching regex ")
_TYPE = re.compile(r"Expected `([\w |]+)`(?: (of length )?(?:(<=|>=|<|>) )?([-+.\w]+))?(?:, got `?(\w+)`?)?$")

_TYPES = {
    "str": "a text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "list": "a list",
    "object": "a mapping",
    "dict": "a mapping",
    "null": "nothing",
    "NoneType": "nothing",
    "date": "a date",
    "datetime": "a date and time",
    "bytes": "binary data",
    "set": "a set",
}
_GOT = {**_TYPES, "float": "a number with a point"}
_BOUNDS = {"<=": "of at most ", ">=": "of at least ", "<": "below ", ">": "above ", None: "of "}
_LENGTHS = {"str": " characters", "array": " entries", "object": " keys"}


def in_words(message: str, kind: Any) -> str:
    """`message`, msgspec's about a value that is no `kind`, in other words; the places at its end stay as they are."""
    what, path = split(message)
    return f"{_what_in_words(what, path, kind)}{message[len(what) :]}"


def split(message: str) -> tuple[str, str]:
    """What `message` says, and the path to where, of which it has the last part first.

    A structure that finds the fault in a part of itself says where, from itself; that stands before its own place.
    """
    places = _PLACES.search(message)
    if places is None:
        return message, ""
    return message[: places.start()], "".join(reversed(re.findall(_PLACE, places[0])))


def is_of_key(path: str) -> bool:
    """Whether it is a key that is refused, and not what stands there."""
    return "`key` in" in path


def there_are(known: Iterable[str], name: str) -> str:
    """What could have been written instead of `name`, and which of it was probably meant."""
    choices = [each for each in known if each]  # an empty text stands for what is not there
    return f"there are {', '.join(choices)}{did_you_mean(name, choices)}"


def did_you_mean(name: str, known: Collection[str]) -> str:
    """Which of the `known` was probably meant by `name`; empty where nothing is near."""
    return "".join(f"; did you mean `{near}`?" for near in get_close_matches(name.lower(), known, n=1))


def _what_in_words(what: str, path: str, kind: Any) -> str:
    if choice := _CHOICE.match(what):
        return f"`{choice[1]}` is no choice; {there_are(_choices(_types_at(kind, path)), choice[1])}"
    if unknown := _UNKNOWN.match(what):
        keys = [key for each in _types_at(kind, path) for key in _keys(each)]
        hint = did_you_mean(unknown[1], keys) or f"; {there_are(keys, unknown[1])}"
        return f"unknown key `{unknown[1]}`{hint}"
    if missing := _MISSING.match(what):
        return f"`{missing[1]}` is missing"
    if _PATTERN.match(what) and (words := _pattern_in_words(_types_at(kind, path))):
        return f"expected {words}"
    if refused := _TYPE.match(what):
        names, of_length, comparison, bound, got = refused.groups()
        words = " or ".join(dict.fromkeys(_TYPES.get(name, name) for name in _plain(names.split(" | "))))
        if bound is not None:
            words += f" {_BOUNDS[comparison]}{bound.removesuffix('.0')}{_LENGTHS.get(names, '') if of_length else ''}"
        as_key = " as a key" if is_of_key(path) else ""
        return f"expected {words}{as_key}{f', got {_GOT.get(got, got)}' if got else ''}"
    return what


def _plain(names: list[str]) -> list[str]:
    """Without whole numbers where any number will do."""
    return [name for name in names if name != "int" or "float" not in names]


# ---- What the types say


def _types_at(kind: Any, path: str) -> list[inspect.Type]:
    """What may stand at `path` of a `kind`, with and without its constraints."""
    types = list(_layers(inspect.type_info(kind)))
    for field, _ in STEP.findall(path):
        types = [layer for each in types for below in _below(each, field) for layer in _layers(below)]
    if is_of_key(path):
        return [layer for each in types if isinstance(each, inspect.DictType) for layer in _layers(each.key_type)]
    return types


def _layers(kind: inspect.Type) -> Iterator[inspect.Type]:
    yield kind
    if isinstance(kind, inspect.Metadata):
        yield from _layers(kind.type)
    elif isinstance(kind, inspect.UnionType):
        for each in kind.types:
            yield from _layers(each)


def _below(kind: inspect.Type, field: str) -> Iterator[inspect.Type]:
    match kind:
        case inspect.StructType():
            yield from (each.type for each in kind.fields if each.encode_name == field)
        case inspect.ListType() | inspect.VarTupleType():
            yield kind.item_type
        case inspect.DictType():
            yield kind.value_type


def _choices(types: list[inspect.Type]) -> Iterator[str]:
    for each in types:
        if isinstance(each, inspect.LiteralType):
            yield from map(str, each.values)


def _keys(kind: inspect.Type) -> Iterator[str]:
    if isinstance(kind, inspect.StructType):
        yield from (field.encode_name for field in kind.fields)


def _pattern_in_words(types: list[inspect.Type]) -> str | None:
    """What a type with a pattern says of it in its `extra`."""
    extras = (each.extra for each in types if isinstance(each, inspect.Metadata) and each.extra)
    return next((extra["words"] for extra in extras if "words" in extra), None)
