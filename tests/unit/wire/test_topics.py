"""What is a topic name, what is a filter, what matches: the specification's own examples and the edges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from oriole.wire.topics import TooManyLevels, TopicError, check_topic_filter, check_topic_name, matches, split_share

MATCHING = [  # §4.7.1 to §4.7.3
    ("sport/tennis/player1/#", "sport/tennis/player1"),
    ("sport/tennis/player1/#", "sport/tennis/player1/ranking"),
    ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon"),
    ("sport/#", "sport"),
    ("#", "sport/tennis"),
    ("#", "/"),
    ("sport/tennis/+", "sport/tennis/player1"),
    ("sport/+", "sport/"),
    ("+/+", "/finance"),
    ("/+", "/finance"),
    ("$SYS/#", "$SYS/broker"),
    ("$SYS/monitor/+", "$SYS/monitor/Clients"),
    ("Accounts payable", "Accounts payable"),
    ("a//b", "a//b"),
    ("a/+/b", "a//b"),
    ("+", "a"),
]
NOT_MATCHING = [
    ("sport/tennis/+", "sport/tennis/player1/ranking"),
    ("sport/+", "sport"),
    ("+", "/finance"),
    ("#", "$SYS/broker"),
    ("+/monitor/Clients", "$SYS/monitor/Clients"),
    ("+/#", "$SYS"),
    ("ACCOUNTS", "Accounts"),
    ("a/b", "a"),
    ("a", "a/b"),
    ("a/#", "ab"),
    ("é", "e\u0301"),
]


@pytest.mark.parametrize(("filter", "topic"), MATCHING)
def test_matches(filter: str, topic: str) -> None:
    assert matches(filter, topic)


@pytest.mark.parametrize(("filter", "topic"), NOT_MATCHING)
def test_does_not_match(filter: str, topic: str) -> None:
    assert not matches(filter, topic)


@pytest.mark.parametrize("topic", ["a", "/", "//", " ", "$SYS/x", "a/b", "\ufeffa", "é/\U0001f4a1", "a" * 65_535])
def test_topic_name(topic: str) -> None:
    check_topic_name(topic)


@pytest.mark.parametrize("topic", ["", "a/+", "#", "a#b", "a\0b", "\ud800", "a" * 65_536, "é" * 32_768])
def test_no_topic_name(topic: str) -> None:
    with pytest.raises(TopicError):
        check_topic_name(topic)


@pytest.mark.parametrize(
    "filter", ["#", "+", "a/#", "+/+/#", "/+", "+/a", "$share/g/a/#", "$share/g//", "$share", "a b"]
)
def test_topic_filter(filter: str) -> None:
    check_topic_filter(filter)


@pytest.mark.parametrize(
    "filter",
    ["", "a#", "a/#/b", "#/", "a+", "+a/b", "a/b+", "##", "\0", "$share/g", "$share//a", "$share/g/", "$share/+/a",
     "$share/g#/a", "$share/g/a#"],
)  # fmt: skip
def test_no_topic_filter(filter: str) -> None:
    with pytest.raises(TopicError):
        check_topic_filter(filter)


def test_levels_are_limited() -> None:
    check_topic_name("/" * 127)
    check_topic_filter("/" * 127)
    for check in (check_topic_name, check_topic_filter):
        with pytest.raises(TooManyLevels):
            check("/" * 128)


def test_split_share() -> None:
    assert split_share("$share/lamps/house/#") == ("lamps", "house/#")
    assert split_share("$share/lamps//") == ("lamps", "/")
    assert split_share("house/#") == (None, "house/#")


@given(st.lists(st.text("ab$", max_size=2), min_size=1, max_size=5).map("/".join).filter(bool))
def test_a_topic_matches_itself_and_what_covers_it(topic: str) -> None:
    check_topic_name(topic)
    assert matches(topic, topic)
    assert matches("#", topic) == (not topic.startswith("$"))
    first, _, rest = topic.partition("/")
    assert matches(f"{first}/#", topic)
    assert not matches(f"{topic}/+", topic)
    if rest and not topic.startswith("$"):
        assert matches(f"+/{rest}", topic)
