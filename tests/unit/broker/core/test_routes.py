"""Filters, topics and the cache between them against the naive matcher: the cache never lies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.filters import FilterTrie
from broker.core.message import Message
from broker.core.routes import ANY_FORMAT, Routes
from broker.core.sink import OneByOne
from broker.core.topics import TopicTree
from oriole.wire.topics import matches

LEVELS = st.sampled_from(["a", "b", "", "$a", "é"])
TOPICS = st.lists(LEVELS, min_size=1, max_size=4).map("/".join).filter(bool)
FILTERS = (
    st.tuples(st.lists(LEVELS | st.just("+"), max_size=4), st.booleans())
    .map(lambda parts: "/".join([*parts[0], "#"] if parts[1] else parts[0]))
    .filter(bool)
)


class Recipient:
    """A sink with a name."""

    full = persistent = remote = False

    def __init__(self, name: int) -> None:
        self.name = name


class Plain(OneByOne):
    """A form with a QoS, for V311 and V5 unchanged where it is 0."""

    def __init__(self, qos: int = 0) -> None:
        self.qos = qos
        self.takes = 0 if qos else 0b110000

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Plain) and other.qos == self.qos

    def __hash__(self) -> int:
        return self.qos

    def merge(self, other: Plain) -> Plain:
        return Plain(max(self.qos, other.qos))

    def deliver(self, message: Message, sinks: Sequence[Any], now: int) -> None: ...

    def forward(self, packets: bytes, count: int, sinks: Sequence[Any], now: int) -> None: ...


RECIPIENTS = [Recipient(number) for number in range(4)]
STEPS = st.lists(
    st.tuples(st.sampled_from(["subscribe", "unsubscribe"]), FILTERS, st.sampled_from(RECIPIENTS), st.integers(0, 2))
    | st.tuples(st.just("publish"), TOPICS),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(STEPS, st.integers(1, 20))
def test_routes_are_what_the_naive_matcher_says(steps: list[tuple[Any, ...]], capacity: int) -> None:
    routes = Routes(capacity)
    model: dict[tuple[str, Recipient], int] = {}
    for step in steps:
        if step[0] == "publish":
            topic = step[1]
            wanted: dict[int, int] = {}
            for (filter, sink), qos in model.items():
                if matches(filter, topic):
                    wanted[sink.name] = max(qos, wanted.get(sink.name, 0))
            route = routes.resolve(topic.encode())
            assert routes.cached[topic.encode()] is route
            assert {sink.name: group.form.qos for group in route.groups for sink in group.sinks} == wanted  # type: ignore[attr-defined]
            assert len(route.sinks) == len(wanted), "each once"
            plain = topic[0] != "$" and not any(wanted.values())
            assert route.takes == ((0b110000 if wanted else ANY_FORMAT) if plain else 0)
        elif step[0] == "subscribe":
            _, filter, sink, qos = step
            assert routes.subscribe(filter.encode(), sink, Plain(qos)) == ((filter, sink) not in model)
            model[filter, sink] = qos
        else:
            _, filter, sink, _ = step
            assert routes.unsubscribe(filter.encode(), sink) == ((filter, sink) in model)
            model.pop((filter, sink), None)
        assert routes.subscription_count == len(model)
        assert len(routes.cached) <= capacity
    for filter, sink in model:
        assert routes.subscribers(filter.encode())[sink].qos == model[filter, sink]  # type: ignore[attr-defined]
        routes.unsubscribe(filter.encode(), sink)
    assert routes._filters._root.empty, "the trie prunes what is left empty"


def test_a_full_cache_forgets_its_oldest_eighth_at_once() -> None:
    routes = Routes(capacity=16)
    topics = [b"t/%d" % number for number in range(17)]
    for topic in topics:
        routes.resolve(topic)
    assert list(routes.cached) == topics[2:]


def test_a_change_forgets_only_what_it_concerns() -> None:
    routes = Routes()
    known = {topic: routes.resolve(topic) for topic in (b"a/b", b"a/c", b"x", b"$SYS/y")}

    def forgotten() -> set[bytes]:
        return {topic for topic, route in known.items() if routes.cached.get(topic) is not route}

    sink = RECIPIENTS[0]
    routes.subscribe(b"nowhere/+", sink, Plain())
    assert forgotten() == set()
    routes.subscribe(b"x", sink, Plain())
    assert forgotten() == {b"x"}
    routes.subscribe(b"+/b", sink, Plain())
    assert forgotten() == {b"x", b"a/b"}
    routes.subscribe(b"#", sink, Plain())
    assert forgotten() == {b"x", b"a/b", b"a/c"}


@settings(max_examples=300, deadline=None)
@given(st.lists(TOPICS, max_size=20), st.lists(TOPICS, max_size=10), FILTERS)
def test_topics_held_are_found_by_filter(held: list[str], given_up: list[str], filter: str) -> None:
    tree: TopicTree[str] = TopicTree()
    for topic in held:
        tree.set(topic.encode(), topic)
    for topic in given_up:
        assert tree.pop(topic.encode()) == (topic if topic in held else None)
        held = [other for other in held if other != topic]
    found = [topic.decode() for topic in tree.matching(filter.encode())]
    assert sorted(found) == sorted({topic for topic in held if matches(filter, topic)})
    assert len(tree) == len(set(held))
    for topic in held:
        tree.pop(topic.encode())
    assert not tree._root.children, "no branch outlives its topics"


def test_a_deep_topic_is_walked_without_recursion() -> None:
    trie = FilterTrie()
    trie.add(b"/".join([b"+"] * 128), RECIPIENTS[0], Plain())
    trie.add(b"/".join([b"a"] * 127) + b"/#", RECIPIENTS[1], Plain())
    assert len(trie.matching(b"/".join([b"a"] * 128))) == 2
    assert trie.matching(b"/".join([b"a"] * 129)) != []
