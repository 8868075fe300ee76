"""Batches and their answers: they come out as they went in, and whatever else comes is the one documented error."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.wire.uplink import (
    MOST_LIFETIME_MS,
    MOST_NODES,
    MOST_PARCELS,
    Answer,
    Batch,
    Facts,
    Parcel,
    UplinkError,
    decode_answer,
    decode_batch,
    encode,
)

MOST = (1 << 53) - 1
MOST_SKIPPED = (1 << 31) - 1
FURTHEST = MOST + MOST_PARCELS * MOST_SKIPPED
"""Where the batch that goes furthest ends."""

numbers = st.integers(0, MOST)
names = st.text(st.characters(min_codepoint=1, max_codepoint=127, exclude_characters=","), min_size=1, max_size=64)
classes = st.text("abcxyz", min_size=1, max_size=16)
texts = st.none() | st.text(max_size=20)
facts = st.builds(
    Facts,
    content_type=texts,
    payload_format_indicator=st.none() | st.integers(0, 1),
    response_topic=texts,
    correlation_data=st.none() | st.binary(max_size=20),
    user_property=st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=3).map(tuple),
    collapse_key=texts,
)
parcels = st.builds(
    Parcel,
    flags=st.integers(0, 5),
    topic=st.binary(max_size=20),
    payload=st.binary(max_size=50),
    lifetime_ms=st.integers(0, MOST_LIFETIME_MS),
    path=st.lists(names, max_size=MOST_NODES - 1).map(tuple),
    facts=st.none() | facts,
)
batches = st.builds(
    Batch,
    traffic_class=classes,
    first=st.integers(1, MOST),
    parcels=st.lists(parcels | st.integers(0, MOST_SKIPPED), max_size=5),
)
answers = st.builds(
    Answer,
    traffic_class=classes,
    upto=st.integers(0, FURTHEST),
    places=st.lists(st.tuples(numbers, numbers), max_size=5),
    refusals=st.lists(st.tuples(numbers, st.integers(0x80, 0xFF)), max_size=5),
    is_busy=st.booleans(),
)
pack = msgspec.msgpack.encode
parcel = [2, b"t", b"x"]


@given(batches)
def test_a_batch_comes_out_as_it_went_in(batch: Batch) -> None:
    assert decode_batch(encode(batch)) == batch


@given(answers)
def test_an_answer_comes_out_as_it_went_in(answer: Answer) -> None:
    assert decode_answer(encode(answer)) == answer


def test_what_is_not_said_is_as_it_mostly_is() -> None:
    assert decode_batch(pack(["normal", 1, [parcel]])) == Batch("normal", 1, [Parcel(2, b"t", b"x", 0, (), None)])
    assert decode_answer(pack(["normal", 1])) == Answer("normal", 1, [], [], False)


@given(st.binary(max_size=100))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for decode in (decode_batch, decode_answer):
        with suppress(UplinkError):
            decode(data)


@given(batches, st.data())
def test_a_damaged_batch_is_read_or_refused(batch: Batch, data: st.DataObject) -> None:
    blob = bytearray(encode(batch))
    blob[data.draw(st.integers(0, len(blob) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(UplinkError):
        decode_batch(bytes(blob))


def test_a_batch_that_is_cut_short_or_followed_by_rubbish_is_refused() -> None:
    blob = encode(Batch("normal", 7, [Parcel(2, b"topic", b"payload", 1000, ("a",)), 3]))
    decode_batch(blob)
    for size in range(len(blob)):
        with pytest.raises(UplinkError):
            decode_batch(blob[:size])
    with pytest.raises(UplinkError):
        decode_batch(blob + b"\0")


@pytest.mark.parametrize(
    "row",
    [
        ["normal", 0, []],
        ["normal", -1, []],
        ["normal", MOST + 1, []],
        ["normal", "1", []],
        ["c" * 17, 1, []],
        ["", 1, []],
        ["a,b", 1, []],
        ["n\0", 1, []],
        ["Normal", 1, []],
        ["ä", 1, []],
        ["normal\n", 1, []],
        [7, 1, []],
        ["normal", 1, [1] * (MOST_PARCELS + 1)],
        ["normal", 1, [-1]],
        ["normal", 1, [MOST_SKIPPED + 1]],
        ["normal", 1, [None]],
        ["normal", 1, [[6, b"t", b"x"]]],
        ["normal", 1, [[-1, b"t", b"x"]]],
        ["normal", 1, [[2, b"t"]]],
        ["normal", 1, [[2, "t", b"x"]]],
        ["normal", 1, [[2, b"t", "x"]]],
        ["normal", 1, [[2, b"t", b"x", -1]]],
        ["normal", 1, [[2, b"t", b"x", MOST_LIFETIME_MS + 1]]],
        ["normal", 1, [[2, b"t", b"x", 0, ["n"] * MOST_NODES]]],
        ["normal", 1, [[2, b"t", b"x", 0, ["n" * 65]]]],
        ["normal", 1, [[2, b"t", b"x", 0, [""]]]],
        ["normal", 1, [[2, b"t", b"x", 0, ["a,b"]]]],
        ["normal", 1, [[2, b"t", b"x", 0, ["n\0"]]]],
        ["normal", 1, [[2, b"t", b"x", 0, ["ä"]]]],
        ["normal", 1, [[2, b"t", b"x", 0, ["n" * 64 + "\n"]]]],
        ["normal", 1, [[2, b"t", b"x", 0, [], [1, None, None, None, [], None]]]],
        ["normal", 1, [[2, b"t", b"x", 0, [], [None, None, None, None, [["one"]], None]]]],
        {"traffic_class": "normal", "first": 1, "parcels": []},
    ],
    ids=lambda row: str(row)[:50],
)
def test_no_batch_that_no_node_writes_is_read(row: Any) -> None:
    with pytest.raises(UplinkError):
        decode_batch(pack(row))


@pytest.mark.parametrize(
    "row",
    [
        ["normal"], ["normal", -1], ["normal", "1"], ["c" * 17, 1], ["", 1], ["a,b", 1], ["normal", 1, [[1]]],
        ["normal", 1, [[1, -1]]], ["normal", 1, [[1, MOST + 1]]], ["normal", 1, [[MOST + 1, 1]]],
        ["normal", 1, [], [[-1, 1]]], ["normal", 1, [], [[MOST + 1, 1]]], ["normal", 1, [], [[1, "1"]]],
        ["normal", 1, [], [], 1],
    ],
    ids=lambda row: str(row)[:50],
)  # fmt: skip
def test_no_answer_that_no_node_gives_is_read(row: Any) -> None:
    with pytest.raises(UplinkError):
        decode_answer(pack(row))


def test_as_much_as_a_limit_says_is_read() -> None:
    path = tuple("n" * 64 for _ in range(MOST_NODES - 1))
    skips = [MOST_SKIPPED] * (MOST_PARCELS - 1)
    batch = Batch("z" * 16, MOST, [Parcel(5, b"t", b"x", MOST_LIFETIME_MS, path), *skips])
    assert decode_batch(pack(batch)) == batch
    answer = Answer("z" * 16, FURTHEST, [(MOST, MOST)], [(MOST, MOST)], True)
    assert decode_answer(pack(answer)) == answer
