"""Answers to plain GETs, ready-made: what makes reading a value cost little more than the two system calls.

An entry is true as long as its message is the topic's retained one, which the reader checks. So nothing has to be told
when a value changes.
"""

from __future__ import annotations

from broker.core.message import Message

OVERHEAD_BYTES = 300
"""What CPython spends on an entry beside key and answer."""

Entry = tuple[bytes, Message, bytes]
"""The topic, the message that the answer shows, and everything after the token of the answer."""


class ReadyAnswers:
    """Everything after the token of a request, to its answer. Oldest out first.

    Args:
        max_bytes: most bytes held, bookkeeping and messages included.
    """

    __slots__ = ("_max_bytes", "bytes", "entries")

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.entries: dict[bytes, Entry] = {}
        """For the hot path: read it directly."""
        self.bytes = 0

    def put(self, request: bytes, topic: bytes, message: Message, answer: bytes) -> None:
        """Keep the answer to `request` for as long as `message` is the value of `topic`."""
        self._drop(request)
        self.entries[request] = topic, message, answer
        self.bytes += _size(request, self.entries[request])
        while self.bytes > self._max_bytes:
            self._drop(next(iter(self.entries)))

    def _drop(self, request: bytes) -> None:
        entry = self.entries.pop(request, None)
        if entry is not None:
            self.bytes -= _size(request, entry)


def _size(request: bytes, entry: Entry) -> int:
    return len(request) + entry[1].size + len(entry[2]) + OVERHEAD_BYTES
