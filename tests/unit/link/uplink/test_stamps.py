"""What nodes tell each other: it survives the way, and nonsense is the one documented error."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.link.uplink.stamps import (
    EPOCH,
    MOST_NAME,
    MOST_STAMP_BYTES,
    NODE,
    ORDER,
    PATH,
    QOS,
    SEQUENCE,
    Greeting,
    Stamp,
    StampError,
    without_stamps,
)
from oriole.wire.mqtt import Properties, encode_properties

names = st.text(st.characters(max_codepoint=126, exclude_characters=","), min_size=1, max_size=MOST_NAME)
numbers = st.integers(0, 10**18 - 1)
stamps = st.builds(
    Stamp,
    numbers,
    st.text("abcdefgh", min_size=1, max_size=MOST_NAME),
    numbers.filter(bool),
    st.sampled_from((0, 2)),
    st.lists(names, max_size=16).map(tuple),
)
pairs = st.lists(st.tuples(st.sampled_from((NODE, EPOCH, ORDER, SEQUENCE, QOS, PATH, "other")), st.text(max_size=80)))


@given(stamps, st.lists(st.tuples(st.just("mine"), st.text())))
def test_a_stamp_comes_out_as_it_went_in(stamp: Stamp, own: list[tuple[str, str]]) -> None:
    assert Stamp.read([*own, *stamp.pairs()]) == stamp
    assert without_stamps([*own, *stamp.pairs()]) == own


@given(names, names, numbers)
def test_a_greeting_comes_out_as_it_went_in(name: str, epoch: str, order: int) -> None:
    greeting = Greeting(name, epoch, order)
    assert Greeting.read(greeting.pairs()) == greeting


@given(pairs)
def test_any_strings_are_read_or_refused(found: list[tuple[str, str]]) -> None:
    for kind in (Greeting, Stamp):
        with suppress(StampError):
            kind.read(found)


@pytest.mark.parametrize(
    "pair",
    [
        (ORDER, "x"), (ORDER, ""), (ORDER, "-1"), (ORDER, "1" * 19), (ORDER, "²"), (SEQUENCE, "normal"),
        (SEQUENCE, "c" * 65 + ":1"), (QOS, "1"), (PATH, ""), (PATH, "a,,b"), (PATH, "a" * 65), (PATH, "a," * 16 + "b"),
    ],
)  # fmt: skip
def test_what_no_node_writes_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(StampError):
        Stamp.read([pair])


@pytest.mark.parametrize("name", ["", "a,b", "n" * 65, "ñ"])
def test_a_name_that_no_node_has_is_refused(name: str) -> None:
    for found in ([(NODE, name), (EPOCH, "e")], [(NODE, "n"), (EPOCH, name)]):
        with pytest.raises(StampError):
            Greeting.read(found)


def test_somebody_who_greets_by_half_is_no_node() -> None:
    assert Greeting.read([(NODE, "n")]) is None
    assert Greeting.read([]) is None


def test_the_longest_stamp_fits_what_is_granted_for_it() -> None:
    longest = Stamp(10**18 - 1, "normal", 10**18 - 1, 2, ("n" * MOST_NAME,) * 16)
    assert len(encode_properties(Properties(user_property=longest.pairs()))) <= MOST_STAMP_BYTES
