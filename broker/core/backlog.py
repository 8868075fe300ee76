"""Messages that are taken over and not yet routed, because their record is still on its way into the journal.

They are promised to queues that they are not in yet. So no more of them are taken than a queue holds beyond its limit:
then whoever is acknowledged finds room, however many publishers were read in one turn.
"""

from __future__ import annotations

from broker.core.channel import Channel
from broker.core.message import Message
from broker.core.promises import Promises


class Backlog:
    """A router's unrouted messages, counted."""

    __slots__ = ("bytes", "max_bytes", "max_messages", "messages")

    def __init__(self) -> None:
        self.messages = 0
        self.bytes = 0
        self.max_messages = 1 << 30
        self.max_bytes = 1 << 60

    def limit(self, max_messages: int, max_bytes: int) -> None:
        """There are queues that hold so much; the smallest counts."""
        self.max_messages = min(max_messages, self.max_messages)
        self.max_bytes = min(max_bytes, self.max_bytes)

    @property
    def is_full(self) -> bool:
        """Whether no more is to be taken over before some is routed."""
        return self.messages >= self.max_messages or self.bytes >= self.max_bytes

    def add(self, message: Message) -> None:
        """Taken over."""
        message.promised = True
        self.messages += 1
        self.bytes += message.size

    def remove(self, message: Message) -> None:
        """Routed, or not kept after all."""
        self.messages -= 1
        self.bytes -= message.size

    def wait(self, channel: Channel, promises: Promises) -> None:
        """Hold `channel` until all that is promised so far is routed."""
        channel.hold()
        promises.made.append(Resumption(channel))


class Resumption:
    """Lets a channel that was held for the journal go on."""

    __slots__ = ("channel",)

    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def kept(self, now: int) -> None:
        """What was before it is routed."""
        self.channel.release()

    def broken(self, now: int) -> None:
        """What was before it is void."""
        self.channel.release()
