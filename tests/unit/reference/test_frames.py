"""The reference device's frames against docs/serial-vectors.json, and against Oriole's own where they are at random."""

import json
import runpy
import sys
from pathlib import Path
from types import FunctionType
from zlib import crc32

import oriole_frames as theirs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.wire.serial import Deliver, cobs, encode

VECTORS = json.loads((Path(__file__).parents[3] / "docs" / "serial-vectors.json").read_text())


def names(vectors: list[dict[str, object]]) -> list[object]:
    return [vector["name"] for vector in vectors]


def chunk(vector: dict[str, object]) -> bytes:
    """What is between two zeros."""
    return bytes.fromhex(str(vector["wire"]))[:-1]


@pytest.mark.parametrize("vector", VECTORS["frames"], ids=names(VECTORS["frames"]))
def test_frames(vector: dict[str, object]) -> None:
    fields = vector["fields"]
    assert isinstance(fields, dict)
    values = {name: bytes.fromhex(value["hex"]) if isinstance(value, dict) else value for name, value in fields.items()}
    sequence = values.pop("sequence", 0)
    if vector["type"] == "publish":
        values.setdefault("retain", False)
    frame = [getattr(theirs, str(vector["type"]).upper()), sequence, *values.values()]
    assert theirs.decode_frame(chunk(vector)) == frame
    if not vector.get("decode_only"):
        assert theirs.encode_frame(*frame) == chunk(vector) + b"\0"


@pytest.mark.parametrize("vector", VECTORS["noise"], ids=names(VECTORS["noise"]))
def test_noise(vector: dict[str, object]) -> None:
    assert theirs.decode_frame(chunk(vector)) is None


# What only a device sends, and what only a wrong gateway could: the reference looks at types, not at values.
NOT_LOOKED_AT = {"qos 2", "an empty boot id", "acknowledged before it was received"}


@pytest.mark.parametrize("vector", VECTORS["malformed"], ids=names(VECTORS["malformed"]))
def test_malformed(vector: dict[str, object]) -> None:
    frame = theirs.decode_frame(chunk(vector))
    assert frame[1] == vector["sequence"]
    assert (frame[0] == theirs.UNREADABLE) == (vector["name"] not in NOT_LOOKED_AT)


@given(st.one_of(st.binary(max_size=600), st.lists(st.sampled_from((0, 1)), max_size=600).map(bytes)))
def test_cobs_is_the_same(data: bytes) -> None:
    assert theirs.cobs_encode(data) == cobs.encode(data)
    assert theirs.cobs_decode(cobs.encode(data)) == data


@pytest.mark.parametrize("run", [253, 254, 255, 508, 509])
@pytest.mark.parametrize("tail", [b"", b"\0", b"\0\0", b"x"])
def test_full_blocks(run: int, tail: bytes) -> None:
    data = b"a" * run + tail
    assert theirs.cobs_encode(data) == cobs.encode(data)
    assert theirs.cobs_decode(cobs.encode(data)) == data


numbers = st.integers(0, 2**64 - 1)


@given(numbers, st.text(max_size=30), st.binary(max_size=300), st.booleans())
def test_messages_are_the_same(sequence: int, topic: str, payload: bytes, retain: bool) -> None:
    encoded = encode(Deliver(sequence, topic, payload, retain))
    assert theirs.encode_frame(theirs.DELIVER, sequence, topic, payload, retain) == encoded
    assert theirs.decode_frame(encoded[:-1]) == [theirs.DELIVER, sequence, topic, payload, retain]


@given(st.binary(max_size=60))
def test_no_bytes_make_it_raise(body: bytes) -> None:
    theirs.decode_frame(body)
    framed = cobs.encode(body + crc32(body).to_bytes(4, "big"))
    frame = theirs.decode_frame(framed)
    assert frame is None if not body else len(frame) >= 2


def test_a_port_without_crc32_has_one_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "binascii", None)
    own = runpy.run_path(theirs.__file__)["crc32"]
    assert isinstance(own, FunctionType)
    for vector in VECTORS["frames"]:
        body = bytes.fromhex(vector["body"])
        assert own(body) == crc32(body)
