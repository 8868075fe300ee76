"""The frames against docs/serial-vectors.json, which firmware in other languages is tested with too."""

import contextlib
import itertools
import json
from pathlib import Path
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.wire import cbor
from oriole.wire.serial import Damage, Decoder, Frame, FrameError, Malformed, Noise, cobs, decode, encode
from oriole.wire.serial import frames as module

VECTORS = json.loads((Path(__file__).parents[4] / "docs" / "serial-vectors.json").read_text())
FRAMES = VECTORS["frames"]
CLASSES = {name: getattr(module, name.capitalize()) for name in {vector["type"] for vector in FRAMES}}


def frame_of(vector: dict[str, object]) -> Frame:
    fields = vector["fields"]
    assert isinstance(fields, dict)
    values = {name: bytes.fromhex(value["hex"]) if isinstance(value, dict) else value for name, value in fields.items()}
    frame: Frame = CLASSES[vector["type"]](**values)
    return frame


@pytest.mark.parametrize("vector", FRAMES, ids=[vector["name"] for vector in FRAMES])
def test_vectors(vector: dict[str, object]) -> None:
    wire = bytes.fromhex(str(vector["wire"]))
    frame = frame_of(vector)
    if not vector.get("decode_only"):
        assert encode(frame) == wire
    assert Decoder().receive(wire) == [frame]
    one_by_one = Decoder()
    assert [item for byte in wire for item in one_by_one.receive(bytes((byte,)))] == [frame]


@pytest.mark.parametrize("vector", FRAMES, ids=[vector["name"] for vector in FRAMES])
def test_a_frame_cut_anywhere_is_noise_and_the_next_one_is_whole(vector: dict[str, object]) -> None:
    wire = bytes.fromhex(str(vector["wire"]))
    for cut in range(1, len(wire) - 1):
        damaged, whole = Decoder().receive(wire[:cut] + b"\0" + wire)
        assert isinstance(damaged, Noise)
        assert whole == frame_of(vector)


@pytest.mark.parametrize("vector", FRAMES, ids=[vector["name"] for vector in FRAMES])
def test_any_flipped_bit_is_noticed(vector: dict[str, object]) -> None:
    wire = bytes.fromhex(str(vector["wire"]))
    frame = frame_of(vector)
    for index in range(len(wire) - 1):
        for bit in range(8):
            damaged = bytearray(wire)
            damaged[index] ^= 1 << bit
            assert frame not in Decoder().receive(bytes(damaged))


@pytest.mark.parametrize("vector", VECTORS["noise"], ids=[vector["name"] for vector in VECTORS["noise"]])
def test_noise_vectors(vector: dict[str, str]) -> None:
    decoder = Decoder()
    items = decoder.receive(bytes.fromhex(vector["wire"]))
    assert [item.damage.value for item in items if isinstance(item, Noise)] == [vector["damage"]]
    assert decoder.counters[vector["damage"]] == 1


@pytest.mark.parametrize("vector", VECTORS["malformed"], ids=[vector["name"] for vector in VECTORS["malformed"]])
def test_malformed_vectors(vector: dict[str, object]) -> None:
    (item,) = Decoder().receive(bytes.fromhex(str(vector["wire"])))
    assert isinstance(item, Malformed)
    assert item.error.reason == vector["reason"]
    assert item.error.sequence == vector["sequence"]


def test_an_over_long_frame_costs_no_memory_and_is_counted_once() -> None:
    decoder = Decoder(max_frame_bytes=256)
    frame = frame_of(FRAMES[0])
    out = [item for _ in range(1000) for item in decoder.receive(b"\xff" * 100)]
    assert sum(len(item.data) for item in out if isinstance(item, Noise)) > 99_000
    assert decoder.receive(b"\0" + encode(frame)) == [frame]
    assert decoder.counters["over_long"] == 1


def test_a_log_without_end_is_text() -> None:
    decoder = Decoder(max_frame_bytes=256)
    (noise,) = decoder.receive(b"I (300) cpu_start: Starting scheduler.\r\n" * 7)
    assert isinstance(noise, Noise)
    assert noise.damage is Damage.TEXT


def test_what_is_appended_by_a_later_version_is_skipped() -> None:
    body = cbor.encode_sequence([8, 7, "a/b", b"on", True, {"new": 1}, [2]])
    assert decode(body) == module.Publish(7, "a/b", b"on", True)


@given(st.binary())
def test_any_body_decodes_or_raises_the_one_error(body: bytes) -> None:
    with contextlib.suppress(FrameError):
        decode(body)


ITEMS = st.one_of(st.integers(0, 13), st.integers(), st.binary(), st.text(), st.booleans(), st.none())


@given(st.lists(ITEMS, min_size=1, max_size=12))
def test_any_sequence_decodes_or_raises_the_one_error(values: list[object]) -> None:
    body = cbor.encode_sequence(values)
    wire = cobs.encode(body + crc32(body).to_bytes(4, "big")) + b"\0"
    (item,) = Decoder(2**20).receive(wire)
    assert not isinstance(item, Noise)


@given(st.binary(max_size=600), st.lists(st.integers(0, 600), max_size=5))
def test_noise_is_the_same_however_it_is_cut(data: bytes, cuts: list[int]) -> None:
    whole, pieces = Decoder(256), Decoder(256)
    edges = [0, *sorted(cuts), len(data)]
    frame = encode(frame_of(FRAMES[0]))
    expected = whole.receive(data + b"\0" + frame)
    got = [item for start, end in itertools.pairwise(edges) for item in pieces.receive(data[start:end])]
    got += pieces.receive(b"\0" + frame)
    assert got[-1] == expected[-1] == frame_of(FRAMES[0])
    joined = [b"".join(item.data for item in items if isinstance(item, Noise)) for items in (got, expected)]
    assert joined[0] == joined[1] == data.replace(b"\0", b"")


ids = st.binary(min_size=1, max_size=16)
names = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=64)
u64 = st.integers(0, 2**64 - 1)
FRAME = st.one_of(
    st.builds(module.Hello, u64, ids, ids, u64, st.integers(1, 2**64 - 1), u64, st.integers(256, 2**32), names, names),
    st.builds(module.Bye, u64, st.text()),
    st.integers(0, 9).flatmap(lambda n: st.builds(module.Ack, st.just(n), st.integers(0, n), u64)),
    st.builds(module.Error, u64, u64, u64, st.text()),
    st.builds(module.Publish, u64, st.text(), st.binary(max_size=2000), st.booleans()),
    st.builds(module.Deliver, u64, st.text(), st.binary(), st.booleans()),
    st.builds(module.Subscribe, u64, st.text(), st.integers(0, 1)),
    st.builds(module.Unsubscribe, u64, st.text()),
    st.builds(module.Skip, u64),
    st.just(module.Ping()),
)


@given(st.lists(FRAME, max_size=4))
def test_round_trip(frames: list[Frame]) -> None:
    assert Decoder().receive(b"".join(map(encode, frames))) == frames
