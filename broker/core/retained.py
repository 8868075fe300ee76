"""The last retained message of each topic, within limits."""

from __future__ import annotations

from collections.abc import Iterator

from broker.core.message import Message
from broker.core.topics import TopicTree


class RetainedFullError(Exception):
    """The store holds as many messages or bytes as it may: the publish is refused."""


class Retained:
    """Topic to retained message.

    Args:
        max_count: most topics with a retained message.
        max_bytes: most bytes of `Message.size` in all.
    """

    __slots__ = ("_messages", "bytes", "max_bytes", "max_count")

    def __init__(self, max_count: int = 1_000_000, max_bytes: int = 1 << 30) -> None:
        self._messages: TopicTree[Message] = TopicTree()
        self.max_count = max_count
        self.max_bytes = max_bytes
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._messages)

    def __iter__(self) -> Iterator[Message]:
        """All of them, expired or not."""
        return iter(self._messages.values.values())

    def get(self, topic: bytes, now: int) -> Message | None:
        """The topic's message, unless it has expired."""
        message = self._messages.values.get(topic)
        if message is not None and message.expires_at and message.expires_at <= now:
            self.remove(topic)
            return None
        return message

    def room_for(self, message: Message) -> bool:
        """Whether `put` would succeed."""
        if not message.payload:
            return True
        known = self._messages.values.get(message.topic)
        count = len(self._messages) + (known is None)
        size = self.bytes + message.size - (known.size if known is not None else 0)
        return count <= self.max_count and size <= self.max_bytes

    def put(self, message: Message) -> None:
        """Keep `message` as its topic's value; an empty payload removes the value [MQTT-3.3.1-6].

        Raises:
            RetainedFullError: a limit would be passed; nothing changed.
        """
        if not message.payload:
            self.remove(message.topic)
            return
        if not (message.promised or self.room_for(message)):
            raise RetainedFullError
        known = self._messages.values.get(message.topic)
        self.bytes += message.size - (known.size if known is not None else 0)
        self._messages.set(message.topic, message)

    def remove(self, topic: bytes) -> Message | None:
        """Forget the topic's value; the message that was held."""
        message = self._messages.pop(topic)
        if message is not None:
            self.bytes -= message.size
        return message

    def matching(self, filter: bytes, now: int) -> Iterator[Message]:
        """The messages whose topics match `filter` at this moment, without the expired ones."""
        for topic in list(self._messages.matching(filter)):
            message = self.get(topic, now)
            if message is not None:
                yield message
