"""A way to a peer, as the engine sees it: a list of pieces to write and a few flags.

A channel is not a connection: it has a peer whose address is a value, and whatever the engine answers goes back on the
channel that asked. Listeners subclass it and add the socket.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from broker.core.engine import Engine


class Channel:
    """One byte stream (or datagram socket) to write to.

    Attributes:
        engine: whose turn writes it out.
        peer: the other side's address, an opaque value for people and for admission.
        out: pieces to write, in order; emptied by the listener once per turn, in one write.
        size: bytes in `out` and in the listener's own unsent rest: the engine adds, the listener sets it after a write.
        holds: reasons for not reading from the peer now; the listener reads only while it is 0.
        closing: write what is in `out`, then close.
        stalled: the peer has not read for too long: what may be dropped for it is dropped.
    """

    __slots__ = ("closing", "engine", "holds", "out", "peer", "size", "stalled")

    def __init__(self, engine: Engine, peer: object) -> None:
        self.engine = engine
        self.peer = peer
        self.out: list[bytes] = []
        self.size = 0
        self.holds = 0
        self.closing = False
        self.stalled = False

    def send(self, piece: bytes) -> None:
        """Append bytes to what this turn writes."""
        out = self.out
        if not out:
            self.engine.dirty.append(self)
        out.append(piece)
        self.size += len(piece)

    def close(self) -> None:
        """Have the listener write what waits, then close."""
        if not self.closing:
            self.closing = True
            self.engine.dirty.append(self)

    def hold(self) -> None:
        """Stop reading from the peer until `release` was called as often."""
        self.holds += 1

    def release(self) -> None:
        """Take back one `hold`; the listener resumes when none is left."""
        self.holds -= 1
        if self.holds == 0:
            self.engine.released.append(self)

    def flush(self) -> None:
        """Write `out` (called once per turn, by `Engine` through the shell). Listeners implement it."""
        raise NotImplementedError

    def broken(self, error: Exception) -> None:
        """Handling it raised `error`, ours or the system's: an end of it. Nobody else is to suffer from it."""
        raise error

    def resume(self) -> None:
        """Read again, beginning with what was left over when it was held. Listeners implement it."""
        raise NotImplementedError


def address_of(peer: object) -> str:
    """A peer's address as people write it."""
    if not isinstance(peer, tuple):
        return str(peer)
    host, port = peer[:2]
    return f"[{host}]:{port}" if ":" in str(host) else f"{host}:{port}"
