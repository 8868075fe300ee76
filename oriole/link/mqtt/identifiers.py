"""Packet identifiers: 1 to 65,535, each in one use at a time. [MQTT-2.2.1-3]"""

from typing import Final

_FEW: Final = 64


class PacketIdentifiers:
    """Gives out identifiers that are free, round and round, so that a stale acknowledgement rarely meets a new use."""

    __slots__ = ("_last", "_used")

    def __init__(self) -> None:
        self._last = 0
        # A byte for each that was ever given out: as cheap as a set, and cannot be iterated by mistake. It grows, for
        # most clients are one of thousands and say little.
        self._used = bytearray(_FEW)

    def take(self) -> int | None:
        """A free one; None when all are in use."""
        used, last = self._used, self._last
        if last + 1 == len(used) < 65_536:
            used.extend(bytes(len(used)))
        if last < 65_535 and not used[last + 1]:
            identifier = last + 1
        else:
            identifier = used.find(0, last + 1)
            if identifier < 0:
                identifier = used.find(0, 1)
                if identifier < 0:
                    return None
        used[identifier] = 1
        self._last = identifier
        return identifier

    def free(self, identifier: int) -> None:
        """May be given out again."""
        self._used[identifier] = 0
