"""Subscriptions by topic filter: a trie with one node per level.

It answers one question, "whose filters match this topic?", and is walked only when the route cache misses.
Filters and topics are UTF-8 bytes that somebody has checked before.
"""

from __future__ import annotations

from broker.core.sink import Form, Sink


class _Node:
    __slots__ = ("below", "children", "here")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node] = {}
        self.here: dict[Sink, Form] | None = None
        """Subscriptions to the filter that ends at this node."""
        self.below: dict[Sink, Form] | None = None
        """Subscriptions to this node's filter followed by `#`, which also matches the node itself [MQTT-4.7.1.2]."""

    @property
    def empty(self) -> bool:
        return not (self.children or self.here or self.below)


def is_wild(filter: bytes) -> bool:
    """Whether a valid topic filter holds a wildcard."""
    return b"+" in filter or filter.endswith(b"#")


class FilterTrie:
    """Filters and the sinks subscribed to them, each sink once per filter."""

    __slots__ = ("_root", "count")

    def __init__(self) -> None:
        self._root = _Node()
        self.count = 0
        """Subscriptions held: pairs of filter and sink."""

    def add(self, filter: bytes, sink: Sink, form: Form) -> bool:
        """Subscribe `sink`, or replace its form. True if the pair is new."""
        node, below = self._descend(filter)
        if below:
            entries = node.below = node.below if node.below is not None else {}
        else:
            entries = node.here = node.here if node.here is not None else {}
        new = sink not in entries
        entries[sink] = form
        self.count += new
        return new

    def remove(self, filter: bytes, sink: Sink) -> bool:
        """Unsubscribe `sink` and prune what is left empty. False if it was not subscribed."""
        levels = filter.split(b"/")
        below = levels[-1] == b"#"
        if below:
            levels.pop()
        path = [self._root]
        for level in levels:
            child = path[-1].children.get(level)
            if child is None:
                return False
            path.append(child)
        node = path[-1]
        entries = node.below if below else node.here
        if entries is None or sink not in entries:
            return False
        del entries[sink]
        self.count -= 1
        if not entries:
            if below:
                node.below = None
            else:
                node.here = None
        for depth in range(len(levels) - 1, -1, -1):
            if not path[depth + 1].empty:
                break
            del path[depth].children[levels[depth]]
        return True

    def entries(self, filter: bytes) -> dict[Sink, Form]:
        """The sinks subscribed to exactly this filter (not those whose wider filter covers it)."""
        levels = filter.split(b"/")
        below = levels[-1] == b"#"
        if below:
            levels.pop()
        node: _Node | None = self._root
        for level in levels:
            node = node.children.get(level) if node is not None else None
        if node is None:
            return {}
        return (node.below if below else node.here) or {}

    def matching(self, topic: bytes) -> list[dict[Sink, Form]]:
        """The subscriptions of every filter that matches `topic`, in an order that depends on the input alone.

        A wildcard at the first level does not match a topic that begins with `$` [MQTT-4.7.2-1].
        """
        found: list[dict[Sink, Form]] = []
        nodes = [self._root]
        wild = not topic.startswith(b"$")
        for level in topic.split(b"/"):
            following: list[_Node] = []
            for node in nodes:
                if wild and node.below:
                    found.append(node.below)
                child = node.children.get(level)
                if child is not None:
                    following.append(child)
                if wild:
                    child = node.children.get(b"+")
                    if child is not None:
                        following.append(child)
            wild = True
            nodes = following
            if not nodes:
                return found
        for node in nodes:
            if node.below:
                found.append(node.below)
            if node.here:
                found.append(node.here)
        return found

    def _descend(self, filter: bytes) -> tuple[_Node, bool]:
        levels = filter.split(b"/")
        below = levels[-1] == b"#"
        if below:
            levels.pop()
        node = self._root
        for level in levels:
            child = node.children.get(level)
            if child is None:
                child = node.children[level] = _Node()
            node = child
        return node, below
