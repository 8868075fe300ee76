"""Values by topic name, findable by topic filter: the dual of the subscription trie.

Retained messages and cached routes live in it. An exact look-up is one dictionary access; a filter walks only the
branches that it can match.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

V = TypeVar("V")


class _Node(Generic[V]):
    __slots__ = ("children", "topic")

    def __init__(self) -> None:
        self.children: dict[bytes, _Node[V]] | None = None
        self.topic: bytes | None = None
        """The topic that ends here, where one is held."""


class TopicTree(Generic[V]):
    """A mapping of topic names (UTF-8 bytes) to values, in insertion order."""

    __slots__ = ("_root", "values")

    def __init__(self) -> None:
        self._root: _Node[V] = _Node()
        self.values: dict[bytes, V] = {}
        """Exact look-up: read it directly, change it through the tree only."""

    def __len__(self) -> int:
        return len(self.values)

    def set(self, topic: bytes, value: V) -> None:
        """Hold `value` for `topic`, replacing what was there."""
        if topic not in self.values:
            node = self._root
            for level in topic.split(b"/"):
                if node.children is None:
                    node.children = {}
                child = node.children.get(level)
                if child is None:
                    child = node.children[level] = _Node()
                node = child
            node.topic = topic
        self.values[topic] = value

    def pop(self, topic: bytes) -> V | None:
        """Forget `topic`; the value it had, or None."""
        value = self.values.pop(topic, None)
        if value is None:
            return None
        levels = topic.split(b"/")
        path = [self._root]
        for level in levels:
            children = path[-1].children
            if children is None:
                return value
            path.append(children[level])
        path[-1].topic = None
        for depth in range(len(levels) - 1, -1, -1):
            node, parent = path[depth + 1], path[depth].children
            if node.topic is not None or node.children or parent is None:
                break
            del parent[levels[depth]]
        return value

    def matching(self, filter: bytes) -> Iterator[bytes]:
        """The held topics that match `filter`. The tree must not change while this runs.

        A wildcard at the first level does not match a topic that begins with `$` [MQTT-4.7.2-1].
        """
        levels = filter.split(b"/")
        below = levels[-1] == b"#"
        if below:
            levels.pop()
        nodes = [self._root]
        for depth, level in enumerate(levels):
            following: list[_Node[V]] = []
            for node in nodes:
                if node.children is None:
                    continue
                if level == b"+":
                    following += [c for name, c in node.children.items() if depth or not name.startswith(b"$")]
                elif (child := node.children.get(level)) is not None:
                    following.append(child)
            nodes = following
        if not below:
            for node in nodes:
                if node.topic is not None:
                    yield node.topic
            return
        hidden = not levels
        while nodes:
            node = nodes.pop()
            if node.topic is not None:
                yield node.topic
            if node.children:
                nodes += [c for name, c in node.children.items() if not (hidden and name.startswith(b"$"))]
            hidden = False
