"""What nodes tell each other: it survives the way, and nonsense is the one documented error."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.link.uplink.stamps import (
    EPOCH,
    LIFE,
    MOST_CLASSES,
    MOST_LIVES,
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
classes = st.text("abcdefgh", min_size=1, max_size=MOST_NAME)
numbers = st.integers(0, 10**18 - 1)
stamps = st.builds(Stamp, numbers, st.sampled_from((0, 2)), st.lists(names, max_size=16).map(tuple))
lives = st.one_of(st.just(("", ())), st.tuples(names, st.lists(names, max_size=MOST_LIVES).map(tuple)))
greetings = st.builds(
    lambda name, epoch, order, lives, has: Greeting(name, epoch, order, *lives, has),
    names,
    names,
    numbers,
    lives,
    st.lists(st.tuples(classes, numbers), max_size=MOST_CLASSES).map(tuple),
)
pairs = st.lists(
    st.tuples(st.sampled_from((NODE, EPOCH, ORDER, LIFE, SEQUENCE, QOS, PATH, "other")), st.text(max_size=80))
)
HELLO = [(NODE, "n"), (EPOCH, "e")]


@given(stamps, st.lists(st.tuples(st.just("mine"), st.text())))
def test_a_stamp_comes_out_as_it_went_in(stamp: Stamp, own: list[tuple[str, str]]) -> None:
    assert Stamp.read([*own, *stamp.pairs()]) == stamp
    assert without_stamps([*own, *stamp.pairs()]) == own


@given(greetings)
def test_a_greeting_comes_out_as_it_went_in(greeting: Greeting) -> None:
    assert Greeting.read(greeting.pairs()) == greeting


@given(pairs)
def test_any_strings_are_read_or_refused(found: list[tuple[str, str]]) -> None:
    for kind in (Greeting, Stamp):
        for given_pairs in (found, HELLO + found):
            with suppress(StampError):
                kind.read(given_pairs)


@pytest.mark.parametrize(
    "pair",
    [
        (ORDER, "x"), (ORDER, ""), (ORDER, "-1"), (ORDER, "1" * 19), (ORDER, "²"), (QOS, "1"), (PATH, ""),
        (PATH, "a,,b"), (PATH, "a" * 65), (PATH, "a," * 16 + "b"),
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


@pytest.mark.parametrize(
    "pair",
    [
        (LIFE, "a" + ",b" * (MOST_LIVES + 1)), (LIFE, "a" * 65), (LIFE, "a," + "b" * 65),
        (SEQUENCE, "normal"), (SEQUENCE, "normal:"), (SEQUENCE, ":1"), (SEQUENCE, "normal:x"),
        (SEQUENCE, "normal:-1"), (SEQUENCE, "c" * 65 + ":1"),
        (SEQUENCE, "normal:" + "1" * 19), (ORDER, "x"),
    ],
)  # fmt: skip
def test_a_greeting_that_means_nothing_is_refused(pair: tuple[str, str]) -> None:
    with pytest.raises(StampError):
        Greeting.read([*HELLO, pair])


def test_a_centre_tells_of_so_many_classes_and_no_more() -> None:
    has = [(SEQUENCE, f"class-{number}:{number}") for number in range(MOST_CLASSES + 1)]
    greeting = Greeting.read([*HELLO, *has[:-1]])
    assert greeting is not None
    assert greeting.has == tuple((f"class-{number}", number) for number in range(MOST_CLASSES))
    with pytest.raises(StampError):
        Greeting.read([*HELLO, *has])


def test_a_first_life_has_none_before_it() -> None:
    assert Greeting.read([*HELLO, (LIFE, "one")]) == Greeting("n", "e", life="one", lives=())
    assert Greeting.read([*HELLO, (LIFE, "three,one,two")]) == Greeting("n", "e", life="three", lives=("one", "two"))


def test_of_too_many_lives_the_last_are_told() -> None:
    lives = tuple(f"life {number}" for number in range(MOST_LIVES + 3))
    read = Greeting.read(Greeting("n", "e", life="now", lives=lives).pairs())
    assert read == Greeting("n", "e", life="now", lives=lives[3:])


def test_somebody_who_greets_by_half_is_no_node() -> None:
    assert Greeting.read([(NODE, "n")]) is None
    assert Greeting.read([]) is None


def test_the_longest_stamp_fits_what_is_granted_for_it() -> None:
    longest = Stamp(10**18 - 1, 2, ("n" * MOST_NAME,) * 16)
    assert len(encode_properties(Properties(user_property=longest.pairs()))) <= MOST_STAMP_BYTES
