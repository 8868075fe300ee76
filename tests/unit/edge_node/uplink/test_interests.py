"""What an edge asks its centre for, against the naive matcher."""

from __future__ import annotations

from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from edge_node.uplink.interests import Interests, covers
from oriole.wire.topics import matches

LEVELS = ("a", "b", "", "$x")
TOPICS = [
    topic
    for depth in (1, 2, 3, 4)
    for topic in map("/".join, product(LEVELS if depth < 4 else ("a", "b"), repeat=depth))
    if topic
]
FILTERS = [
    filter
    for depth in (1, 2, 3)
    for filter in map("/".join, product(("a", "b", "+", "$x", "#"), repeat=depth))
    if "#" not in filter.removesuffix("#")
]
MATCHED = {filter: frozenset(topic for topic in TOPICS if matches(filter, topic)) for filter in FILTERS}

filters = st.sampled_from(FILTERS)


def test_covers_is_what_the_matcher_says() -> None:
    for wide, narrow in product(FILTERS, repeat=2):
        assert covers(wide.encode(), narrow.encode()) == (MATCHED[narrow] <= MATCHED[wide]), (wide, narrow)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.booleans(), filters, st.booleans()), max_size=25))
def test_the_same_topics_no_filter_too_many_and_changes_that_lead_there(steps: list[tuple[bool, str, bool]]) -> None:
    interests = Interests()
    wanted: list[str] = []
    centre: set[bytes] = set()
    for add, filter, carry_out in steps:
        if add:
            interests.add(filter.encode())
            wanted.append(filter)
        else:
            gone = interests.remove(filter.encode())
            if filter in wanted:
                wanted.remove(filter)
                assert gone == (filter not in wanted)
        if carry_out:
            take_over(interests, centre)
        asked = [filter.decode() for filter in interests.asked]
        assert union(asked) == union(wanted)
        for one, other in product(asked, repeat=2):
            assert one == other or not covers(one.encode(), other.encode())
    take_over(interests, centre)
    assert centre == set(interests.asked)


def take_over(interests: Interests, centre: set[bytes]) -> None:
    for filter, subscribe in interests.changes.items():
        assert (filter in centre) != subscribe
        (centre.add if subscribe else centre.remove)(filter)
    interests.changes = {}


def union(filters: list[str]) -> set[str]:
    return set().union(*(MATCHED[filter] for filter in filters))


def test_a_centre_that_forgot_is_asked_for_everything() -> None:
    interests = Interests()
    interests.add(b"a/#")
    interests.add(b"b")
    interests.changes = {}
    interests.restart()
    assert interests.changes == {b"a/#": True, b"b": True}


def test_changes_that_may_not_have_been_heard_are_repeated_as_they_stand_now() -> None:
    interests = Interests()
    interests.add(b"a")
    interests.changes = {}
    interests.repeat([b"a", b"gone"])
    assert interests.changes == {b"a": True, b"gone": False}
