"""YAML into typed values: every error names the file, the line and the key."""

from pathlib import Path
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.typed_yaml import MAX_FILE_BYTES, ConfigError, decode, load
from oriole.urls import Listener


class Part(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    size: int = 1
    word: str = "a"
    way: Literal["", "north", "south"] = ""


class Whole(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    part: Part = Part()
    parts: list[Part] = []
    named: dict[str, Part] = {}
    users: dict[str, str] = {}
    listen: list[Listener] = []
    folder: Path | None = None


READ: list[tuple[str, Whole]] = [
    ("", Whole()),
    ("# nothing\n---\n", Whole()),
    ("part: {size: 3}", Whole(part=Part(3))),
    ("parts: [{size: 3}, {}]", Whole(parts=[Part(3), Part()])),
    ("named:\n  x: &x {size: 3}\n  y: *x\n", Whole(named={"x": Part(3), "y": Part(3)})),
    ("named:\n  x: &x {size: 3}\n  y:\n    <<: *x\n    word: b\n", Whole(named={"x": Part(3), "y": Part(3, "b")})),
    ("listen: [mqtt://host]", Whole(listen=[Listener("mqtt", "host", 1883)])),
    ("folder: /var/lib", Whole(folder=Path("/var/lib"))),
    ("folder: null", Whole()),
]

REFUSED = [
    ("prat: 1", "f, line 1: unknown key `prat`; did you mean `part`?"),
    ("part:\n  size: 1\n\n  sice: 2", "f, line 4: unknown key `part.sice`; did you mean `size`?"),
    ("part:\n  colour: red", "f, line 2: unknown key `part.colour`; there are size, word, way"),
    ("part:\n  a`; did you mean `b: 1", "f, line 2: unknown key `part.a`; did you mean `b`; there are size, word, way"),
    ("part:\n  size: x", "f, line 2: `part.size`: expected a whole number, got a text"),
    ("part:\n  size: 1.0", "f, line 2: `part.size`: expected a whole number, got a number with a point"),
    ("part:\n  way: noth", "f, line 2: `part.way`: `noth` is no choice; there are north, south; did you mean `north`?"),
    ("part:\n  way: up", "f, line 2: `part.way`: `up` is no choice; there are north, south"),
    ("named:\n  x:\n    way: u", "f, line 3: `named.x.way`: `u` is no choice; there are north, south"),
    ("part:\n  word: 007", "f, line 2: `part.word`: expected a text, got a whole number (put it in quotes)"),
    ("part:\n  word:", "f, line 2: `part.word`: expected a text, got nothing"),
    ("part:\n- 1", "f, line 2: `part`: expected a mapping, got a list"),
    ("parts:\n- size: 1\n- sice: 1", "f, line 3: unknown key `parts[1].sice`"),
    (
        "users:\n  alice: a\n  bob: 1\n  eve: 2",
        "f, line 3: `users.bob`: expected a text, got a whole number (put it in quotes)",
    ),
    ("users:\n  1: a", "f, line 2: `users`: expected a text as a key, got a whole number"),
    ("named:\n  x: {}\n  y:\n    size: 1\n    sice: 1", "f, line 5: unknown key `named.y.sice`"),
    ("named:\n  x: {}\n  y:\n    size: []", "f, line 4: `named.y.size`: expected a whole number, got a list"),
    ("listen:\n- mqtt://host\n- host", "f, line 3: `listen[1]`: `host`: no URL"),
    ("listen: [1]", "f, line 1: `listen[0]`: expected a text, got a whole number"),
    ("folder: [1]", "f, line 1: `folder`: expected a text, got a list"),
    ("part:\n  size: 1\npart:\n  size: 2", "f, line 3: `part` is given twice"),
    ("3: 4", "f, line 1: expected a text as a key"),
    ("- 1", "f, line 1: expected a mapping, got a list"),
    ("part: {size: 1", "f, line 1: "),
    ("part:\n\tsize: 1", "f, line 2: "),
    ("part: *x", "f, line 1: found undefined alias"),
    ("part: !!python/object:os.system {}", "f, line 1: could not determine a constructor"),
    ("a: 1\n---\nb: 2", "f, line 2: but found another document"),
    ("part: 2026-02-31", "f: day is out of range for month"),
    ("part: \x01", "f: "),
    ("{[1]: 2}", "f, line 1: found unhashable key"),
    ("&a [*a]", "f, line 1: "),
    ("parts:\n- &x {word: b}\n- {<<: *x,\n  word: []}", "f, line 4: `parts[1].word`: expected a text, got a list"),
    ("[" * 5000, "f: maximum recursion depth exceeded"),
]


@pytest.mark.parametrize(("text", "value"), READ)
def test_reads(text: str, value: Whole) -> None:
    assert decode(text, Whole, "f") == value


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_refuses_by_line_and_key(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        decode(text, Whole, "f")
    assert str(error.value).startswith(message)
    assert "\n" not in str(error.value)


def test_reads_a_file(tmp_path: Path) -> None:
    file = tmp_path / "f.yaml"
    file.write_text("part: {word: 灯}", encoding="utf-8")
    assert load(file, Whole) == Whole(part=Part(word="灯"))


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff", "not UTF-8 at byte 0"), (b"#" * (MAX_FILE_BYTES + 1), f"larger than {MAX_FILE_BYTES} bytes")],
    ids=["encoding", "size"],
)
def test_refuses_a_file(tmp_path: Path, content: bytes, message: str) -> None:
    file = tmp_path / "f.yaml"
    file.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load(file, Whole)


def test_names_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"gone\.yaml: No such file or directory"):
        load(tmp_path / "gone.yaml", Whole)
    with pytest.raises(ConfigError, match="Is a directory"):
        load(tmp_path, Whole)


@given(st.text(st.sampled_from("ab:{}[]-&*!?|>'\"#%,\n \t1.~<=\\xé\x00part"), max_size=40))
def test_any_text_is_a_value_or_a_config_error(text: str) -> None:
    for prefix in ("", "part: ", "named: {x: ", "parts: ["):
        try:
            value: Any = decode(prefix + text, Whole, "f")
        except ConfigError:
            continue
        assert isinstance(value, Whole)
