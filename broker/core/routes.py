"""Topic to recipients, remembered.

A route is what the trie answered for one topic, grouped by form. The cache is bounded and forgets exactly the routes
that a changed filter matches, so that a client which comes and goes costs nobody else anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

from broker.core.filters import FilterTrie, is_wild
from broker.core.message import Message
from broker.core.sink import Form, Sink
from broker.core.topics import TopicTree

ANY_FORMAT = -1
"""`takes` of a route that nobody listens to: any bytes will do, since they go nowhere."""

NO_FORMAT = 0

MOST_FORMS = 1024
"""Forms remembered to be shared. They differ by what clients choose, such as subscription identifiers."""


class Group:
    """The recipients of one topic that share a form."""

    __slots__ = ("form", "sinks")

    def __init__(self, form: Form, sinks: Sequence[Sink]) -> None:
        self.form = form
        self.sinks = sinks


class Route:
    """Everyone who gets a message on one topic.

    Attributes:
        groups: recipients by form.
        takes: the packet formats that every group takes unchanged, as in `Form.takes`. None on a reserved topic, one
            that begins with `$`: what clients send to it is looked at, not passed on.
        persistent: somebody here must find the message after a restart, so it is recorded.
    """

    __slots__ = ("groups", "persistent", "takes")

    def __init__(self, groups: tuple[Group, ...], reserved: bool = False) -> None:
        self.groups = groups
        takes = NO_FORMAT if reserved else ANY_FORMAT
        for group in groups:
            takes &= group.form.takes
        self.takes = takes
        self.persistent = any(sink.persistent for group in groups for sink in group.sinks)

    @property
    def sinks(self) -> list[Sink]:
        """All recipients, in the order of delivery."""
        return [sink for group in self.groups for sink in group.sinks]

    def recipients(self, message: Message) -> list[Sink]:
        """Those of them that `message` is for."""
        return [sink for group in self.groups for sink in group.form.recipients(message, group.sinks)]


class Routes:
    """The subscriptions of a router and the cache of what they come to.

    Args:
        capacity: most routes remembered. A route is about 0.5 KiB, so the default may grow to 8 MiB.
    """

    __slots__ = ("_cache", "_capacity", "_filters", "_forms", "cached")

    def __init__(self, capacity: int = 16_384) -> None:
        self._filters = FilterTrie()
        self._cache: TopicTree[Route] = TopicTree()
        self._capacity = capacity
        self._forms: dict[Form, Form] = {}  # equal forms are one object: less memory, and nearer to the processor
        self.cached: dict[bytes, Route] = self._cache.values
        """Topic to route, for the hot path: a miss is answered by `resolve`. A key here is a valid topic name."""

    @property
    def subscription_count(self) -> int:
        """Pairs of filter and sink."""
        return self._filters.count

    def resolve(self, topic: bytes) -> Route:
        """The route of a valid topic name, from the cache or by walking the trie."""
        route = self.cached.get(topic)
        if route is None:
            route = self._build(topic)
            if len(self.cached) >= self._capacity:
                self._forget_oldest()
            self._cache.set(topic, route)
        return route

    def subscribe(self, filter: bytes, sink: Sink, form: Form) -> bool:
        """Subscribe `sink` to a valid filter, or change the form of its subscription. True if it is new."""
        form = self._forms.setdefault(form, form)
        if len(self._forms) > MOST_FORMS:
            self._forms.clear()
        new = self._filters.add(filter, sink, form)
        self._forget(filter)
        return new

    def unsubscribe(self, filter: bytes, sink: Sink) -> bool:
        """End a subscription. False if there was none."""
        removed = self._filters.remove(filter, sink)
        if removed:
            self._forget(filter)
        return removed

    def subscribers(self, filter: bytes) -> dict[Sink, Form]:
        """Who is subscribed to exactly this filter."""
        return self._filters.entries(filter)

    def _forget_oldest(self) -> None:
        """Make room for many: a dictionary takes long to find its oldest key where older ones have been removed."""
        for topic in list(islice(self.cached, -(-self._capacity // 8))):
            self._cache.pop(topic)

    def _forget(self, filter: bytes) -> None:
        if not is_wild(filter):
            self._cache.pop(filter)
            return
        for topic in list(self._cache.matching(filter)):
            self._cache.pop(topic)

    def _build(self, topic: bytes) -> Route:
        forms: dict[Sink, Form] = {}
        for entries in self._filters.matching(topic):
            for sink, form in entries.items():
                known = forms.get(sink)
                forms[sink] = form if known is None else known.merge(form)
        groups: dict[Form, list[Sink]] = {}
        for sink, form in forms.items():
            groups.setdefault(form, []).append(sink)
        return Route(
            tuple(Group(form, tuple(sinks)) for form, sinks in groups.items()), reserved=topic.startswith(b"$")
        )
