"""What is refused is said in a user's words, with the nearest of what could have been written."""

from typing import Annotated, Any, Literal

import msgspec
import pytest
from msgspec import Meta

from oriole.mistakes import did_you_mean, in_words, split, there_are

Key = Annotated[str, Meta(pattern="^a$", extra={"words": "an a"})]
Fast = Literal["fast", "slow"]


class Part(msgspec.Struct, forbid_unknown_fields=True):
    pace: Fast | None = None


class Whole(msgspec.Struct, forbid_unknown_fields=True):
    need: int
    count: Annotated[int, Meta(ge=1, le=9)] = 1
    share: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    either: int | float | str | None = None
    names: Annotated[list[str], Meta(min_length=1, max_length=2)] = []
    pair: tuple[int, int] = (1, 1)
    word: Annotated[str, Meta(max_length=3)] = ""
    keys: dict[Key, int] = {}
    pattern: Annotated[str, Meta(pattern="^b$")] = "b"
    parts: dict[str, list[Part | None]] = {}


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ({}, "`need` is missing"),
        ({"need": None}, "expected a whole number, got nothing - at `$.need`"),
        ({"need": True}, "expected a whole number, got true or false - at `$.need`"),
        ({"count": 0}, "expected a whole number of at least 1 - at `$.count`"),
        ({"count": 10}, "expected a whole number of at most 9 - at `$.count`"),
        ({"share": 0}, "expected a number above 0 - at `$.share`"),
        ({"share": 1.5}, "expected a number below 1 - at `$.share`"),
        ({"either": []}, "expected a number or a text or nothing, got a list - at `$.either`"),
        ({"names": []}, "expected a list of at least 1 entries - at `$.names`"),
        ({"pair": [1]}, "expected a list of 2 entries, got 1 - at `$.pair`"),
        ({"word": "long"}, "expected a text of at most 3 characters - at `$.word`"),
        ({"keys": {"b": 1}}, "expected an a - at `key` in `$.keys`"),
        ({"keys": {1: 1}}, "expected a text as a key, got a whole number - at `key` in `$.keys`"),
        ({"pattern": "a"}, "Expected `str` matching regex '^b$' - at `$.pattern`"),
        (
            {"parts": {"x": [None, {"pace": "fasst"}]}},
            "`fasst` is no choice; there are fast, slow; did you mean `fast`? - at `$.parts[...][1].pace`",
        ),
        ({"parts": {"x": [{"pac": "fast"}]}}, "unknown key `pac`; did you mean `pace`? - at `$.parts[...][0]`"),
    ],
)
def test_says_what_could_stand_there(value: dict[str, Any], words: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refusal:
        msgspec.convert({"need": 1} | value if value else {}, Whole)
    assert in_words(str(refusal.value), Whole) == words
    assert in_words(words, Whole) == words, "a structure inside another may have said it already"


def test_takes_a_message_apart() -> None:
    assert split("no - at `$.b` - at `$.a[...]`") == ("no", " - at `$.a[...]` - at `$.b`")
    assert split("no") == ("no", "")


def test_suggests_what_is_near() -> None:
    assert did_you_mean("Delay", ["delay_ms", "loss"]) == "; did you mean `delay_ms`?"
    assert did_you_mean("colour", ["delay_ms", "loss"]) == ""
    assert there_are(["", "mqtt", "coap"], "mqt") == "there are mqtt, coap; did you mean `mqtt`?"
