"""QoS 1 and 2 messages on their way out (MQTT 5.0 §4.3, §4.4, §4.9): those waiting, those sent, those released.

Holds encoded packets, knows no connection: the client asks for what may be sent now.
"""

from collections import deque

DUP = 0x08


class QueueFull(Exception):  # noqa: N818 - a state, not a mistake
    """As much is held as the configuration allows: publish again when something is acknowledged or sent."""


class Outbox:
    """Messages in publishing order. A message waits -> is sent -> (QoS 2: is released) -> is gone."""

    __slots__ = ("_lifetimes", "_released", "_sent", "_waiting", "held_bytes", "max_held_bytes", "window")

    def __init__(self, max_held_bytes: int) -> None:
        self.max_held_bytes = max_held_bytes
        self.held_bytes = 0
        self.window = 0
        """Sent and released messages at most: the server's receive maximum, or less."""
        self._waiting: deque[tuple[int, bytes]] = deque()
        self._sent: dict[int, bytes] = {}
        self._lifetimes: dict[int, int] = {}
        self._released: dict[int, None] = {}  # PUBREC has come, PUBCOMP has not; in the order of the PUBRECs

    def __len__(self) -> int:
        return len(self._waiting) + len(self._sent) + len(self._released)

    def add(self, packet_identifier: int, packet: bytes, expires_at: int | None = None) -> None:
        """A new PUBLISH, worth nothing after `expires_at` milliseconds; the caller has asked `has_room`."""
        self.held_bytes += len(packet)
        if expires_at is not None:
            self._lifetimes[packet_identifier] = expires_at
        self._waiting.append((packet_identifier, packet))

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes may be held. One packet always may, or it could never be sent."""
        return self.held_bytes + size <= self.max_held_bytes or not self.held_bytes

    def next(self) -> tuple[int, bytes] | None:
        """The next PUBLISH that the window lets out, now sent; None when there is none."""
        if not self._waiting or len(self._sent) + len(self._released) >= self.window:
            return None
        identifier, packet = self._waiting.popleft()
        self._sent[identifier] = packet
        return identifier, packet

    def expires_at(self, packet_identifier: int) -> int | None:
        """When a message that waits or is sent is worth nothing any more; None for never."""
        return self._lifetimes.get(packet_identifier)

    def qos_of_sent(self, packet_identifier: int) -> int:
        """The QoS of a sent message that waits for PUBACK or PUBREC; 0 when there is none."""
        packet = self._sent.get(packet_identifier)
        return (packet[0] >> 1) & 3 if packet else 0

    def settle(self, packet_identifier: int) -> None:
        """A sent message is acknowledged or refused, and gone."""
        self.held_bytes -= len(self._sent.pop(packet_identifier))
        self._lifetimes.pop(packet_identifier, None)

    def release(self, packet_identifier: int) -> None:
        """The server has the QoS 2 message: only PUBREL is left of it. [MQTT-4.3.3-6]"""
        self.settle(packet_identifier)
        self._released[packet_identifier] = None

    def is_released(self, packet_identifier: int) -> bool:
        """Whether PUBCOMP is what this message waits for."""
        return packet_identifier in self._released

    def complete(self, packet_identifier: int) -> bool:
        """PUBCOMP has come; False when it was not waited for."""
        return self._released.pop(packet_identifier, self) is None

    def resume(self) -> list[int]:
        """The session lives on: sent messages wait again, first and marked DUP. Returns what to send PUBREL for again.

        [MQTT-4.4.0-1] [MQTT-4.6.0-1] [MQTT-4.6.0-4]
        """
        self._wait_again(DUP)
        return list(self._released)

    def restart(self) -> list[int]:
        """The server has lost the session: sent messages wait again, as new ones. Returns the released: complete."""
        self._wait_again(0)
        completed = list(self._released)
        self._released.clear()
        return completed

    def forget(self) -> list[int]:
        """All messages are gone; their packet identifiers."""
        identifiers = [*(identifier for identifier, _ in self._waiting), *self._sent, *self._released]
        for held in (self._waiting, self._sent, self._lifetimes, self._released):
            held.clear()
        self.held_bytes = 0
        return identifiers

    def _wait_again(self, dup: int) -> None:
        again = [
            (identifier, bytes((packet[0] & ~DUP | dup,)) + packet[1:]) for identifier, packet in self._sent.items()
        ]
        self._waiting.extendleft(reversed(again))
        self._sent.clear()
