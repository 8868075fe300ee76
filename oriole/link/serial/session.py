"""What outlives a cable: the numbers of both directions, and the frames that are not settled."""

from __future__ import annotations

from dataclasses import dataclass

from oriole.link.serial.inbox import Inbox
from oriole.link.serial.outbox import Outbox
from oriole.wire.serial import Hello, Welcome


@dataclass(slots=True)
class Session:
    """One side's memory of one peer. It knows no line: whoever finds the peer again carries it over."""

    outbox: Outbox
    inbox: Inbox

    def greet(self, greeting: Hello | Welcome) -> tuple[bool, int]:
        """The peer greets: whether its numbers go on where they stopped, and how many frames of ours it settled."""
        if not greeting.peer_boot_id and self.inbox.received >= greeting.oldest:
            self.inbox.forget()  # it has lost its memory and kept its boot id, as firmware with a fixed one does
        resumed = self.inbox.greet(greeting.boot_id, greeting.oldest)
        remembers = greeting.peer_boot_id == self.outbox.boot_id
        if not remembers or greeting.acknowledged >= self.outbox.next_sequence:
            self.outbox.restart(greeting.credits)
            return resumed, 0
        return resumed, self.outbox.resume(greeting.acknowledged, greeting.credits)
