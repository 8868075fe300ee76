"""The workload of a run: what its words mean, and which are refused."""

import pytest

from firmware_sim.load import Workload, WorkloadError
from oriole.wire.topics import matches


def test_words_are_the_fields() -> None:
    workload = Workload.parse(["topics=wild", "pubs=3", "qos=2", "rate=1.5", "persistent=1", "v=5"])
    assert workload == Workload(topics="wild", pubs=3, qos=2, rate=1.5, persistent=True, v=5)


@pytest.mark.parametrize(
    ("word", "complaint"),
    [
        ("pubs", "not key=value"),
        ("publishers=2", "publishers"),
        ("pubs=0", ">= 1"),
        ("pubs=two", "int"),
        ("qos=3", "qos"),
        ("size=7", ">= 8"),
        ("v=3", "v"),
        ("topics=all", "topics"),
        ("window=65536", "65535"),
    ],
)
def test_refuses_what_cannot_be(word: str, complaint: str) -> None:
    with pytest.raises(WorkloadError, match=complaint):
        Workload.parse([word])


def test_pairs_leave_no_publisher_without_a_reader() -> None:
    with pytest.raises(WorkloadError, match="multiple"):
        Workload.parse(["pubs=2", "subs=3"])


@pytest.mark.parametrize("topics", ["pair", "one", "wild"])
@pytest.mark.parametrize(("pubs", "subs"), [(1, 1), (3, 3), (2, 6)])
def test_who_hears_whom_follows_from_topics_and_filters(topics: str, pubs: int, subs: int) -> None:
    workload = Workload.parse([f"topics={topics}", f"pubs={pubs}", f"subs={subs}", f"count={pubs * 5}"])
    heard = 0
    for subscriber in range(subs):
        filter = workload.filter(subscriber)
        by_filter = [publisher for publisher in range(pubs) if matches(filter, workload.topic(publisher))]
        assert list(workload.heard_by(subscriber)) == by_filter
        heard += len(by_filter)
    assert workload.deliveries == heard * 5


def test_unrelated_filters_match_nothing_and_half_have_a_wildcard() -> None:
    workload = Workload.parse(["filters=100", "pubs=50", "subs=50"])
    filters = workload.unrelated_filters()
    assert len(set(filters)) == 100
    assert sum("+" in filter or "#" in filter for filter in filters) == 50
    assert not any(matches(filter, workload.topic(publisher)) for filter in filters for publisher in range(50))
