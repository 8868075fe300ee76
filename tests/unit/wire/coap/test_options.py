"""Options: what numbers say about themselves, what each may hold, and numbers as short as they can be."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.wire.coap import Block, CoapError, Code, Option, Remedy, decode_uint, encode_uint, recognised
from oriole.wire.coap.content_formats import MEDIA_TYPES, content_format_of, media_type_of
from oriole.wire.coap.options import DEFINITIONS, is_critical, is_no_cache_key, is_unsafe

KNOWN = frozenset({Option.URI_PATH, Option.OBSERVE, Option.ETAG, Option.ACCEPT, Option.IF_NONE_MATCH})


def test_the_number_says_how_to_treat_an_option() -> None:
    """RFC 7252 table 4: the columns C, U and N."""
    critical = {number for number in range(1, 64) if number in DEFINITIONS and is_critical(number)}
    assert critical == {1, 3, 5, 7, 9, 11, 15, 17, 19, 21, 23, 27, 31, 35, 39}
    assert [number for number in (3, 7, 11, 14, 15, 35, 39, 6, 23, 27) if not is_unsafe(number)] == []
    assert [number for number in (1, 4, 5, 8, 12, 17, 20, 60) if is_unsafe(number)] == []
    assert [number for number in DEFINITIONS if is_no_cache_key(number)] == [28, 60, 252]


def test_every_named_option_has_a_definition() -> None:
    assert set(DEFINITIONS) == set(Option)


@pytest.mark.parametrize(("value", "encoded"), [(0, ""), (1, "01"), (255, "ff"), (256, "0100"), (0xFFFFFF, "ffffff")])
def test_numbers_are_as_short_as_they_can_be(value: int, encoded: str) -> None:
    assert encode_uint(value) == bytes.fromhex(encoded)
    assert decode_uint(bytes.fromhex(encoded)) == value
    assert decode_uint(b"\x00" + bytes.fromhex(encoded)) == value


def test_elective_options_that_nobody_knows_are_left_out() -> None:
    assert recognised([(2050, b"?"), (Option.URI_PATH, b"a"), (Option.MAX_AGE, b"")], KNOWN) == [(11, b"a")]


@pytest.mark.parametrize(
    ("options", "diagnostic"),
    [
        ([(9, b"")], "option Oscore is not understood here"),
        ([(2049, b"")], "option 2049 is not understood here"),
        ([(Option.URI_PATH, b"a" * 256)], "option Uri-Path cannot be 256 bytes long"),
        ([(Option.IF_NONE_MATCH, b"x")], "option If-None-Match cannot be 1 bytes long"),
        ([(Option.ACCEPT, b""), (Option.ACCEPT, b"2")], "option Accept may come only once"),
    ],
)
def test_a_critical_option_that_is_not_recognised_is_a_bad_option(
    options: list[tuple[int, bytes]], diagnostic: str
) -> None:
    with pytest.raises(CoapError) as caught:
        recognised(options, KNOWN)
    assert (caught.value.remedy, caught.value.code) == (Remedy.ANSWER, Code.BAD_OPTION)
    assert caught.value.diagnostic == diagnostic
    assert str(caught.value) == f"{diagnostic} (4.02)"


def test_an_elective_option_counts_once_and_only_with_a_length_it_can_have() -> None:
    options = [
        (Option.ETAG, b"1"),
        (Option.ETAG, b"2"),
        (Option.ETAG, b""),
        (Option.OBSERVE, b""),
        (Option.OBSERVE, b"1"),
    ]
    assert recognised(options, KNOWN) == [(4, b"1"), (4, b"2"), (6, b"")]


@pytest.mark.parametrize(
    ("encoded", "block"),
    [
        ("", Block(0, False, 0)),
        ("06", Block(0, False, 6)),
        ("0e", Block(0, True, 6)),
        ("1a", Block(1, True, 2)),
        ("fffffe", Block(0xFFFFF, True, 6)),
    ],
)
def test_blocks(encoded: str, block: Block) -> None:
    assert Block.decode(bytes.fromhex(encoded)) == block
    assert block.encode() == bytes.fromhex(encoded)
    assert block.offset == block.number * block.size


def test_block_size_seven_is_reserved() -> None:
    with pytest.raises(CoapError) as caught:
        Block.decode(b"\x07")
    assert (caught.value.remedy, caught.value.code) == (Remedy.ANSWER, Code.BAD_REQUEST)


@given(st.integers(0, 0xFFFFF), st.booleans(), st.integers(0, 6))
def test_block_round_trip(number: int, more: bool, exponent: int) -> None:
    assert Block.decode(Block(number, more, exponent).encode()) == Block(number, more, exponent)


@pytest.mark.parametrize("number", MEDIA_TYPES)
def test_content_formats_cross_both_ways(number: int) -> None:
    assert content_format_of(media_type_of(number) or "") == number


def test_media_types_are_compared_as_people_write_them() -> None:
    assert content_format_of("Application/JSON") == 50
    assert content_format_of("text/plain;charset=UTF-8") == 0
    assert content_format_of("text/plain") == 0
    assert content_format_of("application/x-nobody") is None
    assert media_type_of(65000) is None
