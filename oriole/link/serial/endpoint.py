"""One end of a serial line: what device and gateway have in common once they may talk.

Bytes and the clock's reading go in; events, bytes and the next deadline come out. The line keeps order, so a missing
number is a lost frame: the receiver says so at once (NAK), and a time-out is needed only when the last frame of a burst
was lost. Sending is go-back-n within the peer's credits. How the two find each other is the subclasses' part.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import ClassVar

from oriole.link.serial.events import Acknowledged, Connected, Disconnected, Event, Received, Skipped
from oriole.link.serial.inbox import Arrival
from oriole.link.serial.session import Session
from oriole.wire.serial import (
    Ack,
    Bye,
    Damage,
    Decoder,
    Frame,
    FrameError,
    Hello,
    Malformed,
    Nak,
    Noise,
    NumberedFrame,
    Ping,
    Reason,
    Skip,
    Welcome,
    encode,
)
from oriole.wire.serial.frames import DEFAULT_FRAME_BYTES


class TooLargeError(ValueError):
    """The peer does not take frames of this length."""


class State(Enum):
    """How far an endpoint has come on its line."""

    CLOSED = "closed"  # no line
    GREETING = "greeting"  # a line, but no session on it
    UP = "up"


@dataclass(frozen=True, slots=True)
class Config:
    """What one end may be told; the defaults suit a USB adapter at 115200 baud."""

    window: int = 16
    """Numbered frames that the peer may send before the first of them is acknowledged."""

    max_frame_bytes: int = DEFAULT_FRAME_BYTES
    """The longest frame taken from the peer, between two delimiters."""

    max_queue_bytes: int = 64 * 1024
    """What may wait for the peer: numbered frames in flight or queued, and as much again without a number."""

    bytes_per_s: int = 11_520
    """What the line carries: a burst is given the time it needs before it is missed."""

    retransmit_ms: int = 500
    """Without an acknowledgement for this long, what the peer has not received goes again; doubled each time."""

    max_retransmit_ms: int = 8_000
    """Where the doubling ends, and the longest pause between two HELLOs."""

    keep_alive_ms: int = 10_000
    """Silence after which the peer is asked for an ACK, and asked again."""

    silence_ms: int = 30_000
    """Silence after which the session is down."""


class Endpoint:
    """One end of one line; `DeviceEndpoint` and `GatewayEndpoint` are the two kinds.

    After every call, write `outgoing()` to the line and call `tick` at `deadline()`. `now` is in milliseconds and never
    goes back; `outgoing` counts time from the last `now` that was given.
    """

    __slots__ = (
        "_answer",
        "_control",
        "_decoder",
        "_heard_at",
        "_nak_behind",
        "_now",
        "_peer_max_frame_bytes",
        "_ping_at",
        "_retransmit_at",
        "_retries",
        "_unnumbered",
        "_unnumbered_bytes",
        "config",
        "counters",
        "session",
        "state",
    )

    _TAKES: ClassVar[tuple[type[NumberedFrame], ...]] = ()
    """The numbered frames that are meant for this kind of endpoint."""

    def __init__(self, config: Config, session: Session | None) -> None:
        self.config = config
        self.session = session
        self.state = State.CLOSED
        self.counters = {"repeated": 0, "retransmitted": 0, "gaps": 0, "unsent": 0, "skipped": 0}
        self._decoder = Decoder(config.max_frame_bytes)
        self._control: list[Frame] = []  # greeting, BYE, PING: at most one of each
        self._answer: type[Ack] | None = None  # the acknowledgement that is due
        self._unnumbered: deque[bytes] = deque()
        self._unnumbered_bytes = 0
        self._peer_max_frame_bytes = DEFAULT_FRAME_BYTES
        self._nak_behind = -1  # one NAK for each gap: the number it was sent behind
        self._now = 0
        self._heard_at = 0
        self._ping_at = 0
        self._retransmit_at: int | None = None
        self._retries = 0

    @property
    def line_counters(self) -> dict[str, int]:
        """What the decoder counted on this line: frames, malformed, text, cut, bad_crc, over_long."""
        return self._decoder.counters

    # ---- in

    def opened(self, now: int) -> None:
        """There is a line, and nothing is known of who is on it."""
        self._now = now
        self._decoder.reset()
        self._begin()

    def closed(self, now: int) -> list[Event]:
        """The line is gone. The session stays, and can be resumed on another."""
        self._now = now
        events = self._down(Reason.UNAVAILABLE, "the line is closed")
        self.state = State.CLOSED
        self._control.clear()
        return events

    def receive(self, data: bytes, now: int) -> list[Event]:
        """What came over the line means these events, in order. Never raises for anything that a peer can send."""
        self._now = now
        events: list[Event] = []
        for item in self._decoder.receive(data):
            if isinstance(item, Noise):
                events.append(item)
                if item.damage is not Damage.TEXT:
                    self._missed()
                continue
            self._heard_at = now
            self._ping_at = now + self.config.keep_alive_ms
            if isinstance(item, Malformed):
                events += self._numbered(item.error)
            elif isinstance(item, (Hello, Welcome)):
                events += self._greeting(item)
            elif isinstance(item, Bye):
                events += self._bye(item)
            elif self.session is None or self.state is not State.UP:
                self._stranger()
            elif isinstance(item, Ack):
                events += self._acknowledgement(self.session, item)
            elif isinstance(item, Ping):
                self._answer = self._answer or Ack
            else:
                events += self._numbered(item)
        return events

    def acknowledge(self, received: Received, now: int) -> None:
        """What the event brought is settled, and everything before it. Without effect when its epoch is over."""
        self._now = now
        inbox = self.session.inbox if self.session else None
        if inbox and received.epoch == inbox.epoch and inbox.acknowledge(received.sequence):
            self._answer = self._answer or Ack

    def pause(self, paused: bool, now: int) -> None:
        """Gives the peer no credits beyond those it has, or gives them again: the way to slow it down."""
        self._now = now
        if self.session and self.session.inbox.pause(paused):
            self._answer = self._answer or Ack

    def tick(self, now: int) -> list[Event]:
        """Does what is due at `now`; calling it early does nothing."""
        self._now = now
        if self.state is not State.UP:
            return []
        if now >= self._heard_at + self.config.silence_ms:
            events = self._down(Reason.UNAVAILABLE, f"nothing heard for {self.config.silence_ms} ms")
            self._begin()
            return events
        if now >= self._ping_at:
            self._ping_at = now + self.config.keep_alive_ms
            self._ping()
        if self._retransmit_at is not None and now >= self._retransmit_at:
            self._retries += 1
            self._retransmit_at = None
            self._repeat()
            self._ping()
            self._arm(0)
        return []

    # ---- out

    def outgoing(self) -> bytes:
        """What to write now. Call it again when that is written, or the bytes pile up on your side."""
        pieces = [encode(frame) for frame in self._control]
        self._control.clear()
        if self.state is State.UP and self.session:
            if self._answer:
                inbox = self.session.inbox
                pieces.append(encode(self._answer(inbox.received, inbox.acknowledged, inbox.credits)))
                self._answer = None
            pieces += self._unnumbered
            self._unnumbered.clear()
            self._unnumbered_bytes = 0
            numbered = self.session.outbox.take()
            pieces += numbered
            self._arm(sum(map(len, pieces)))
        if not pieces:
            return b""
        return b"\0" + b"".join(pieces)  # ends whatever was on the line before: noise, half a frame, a log

    def deadline(self) -> int | None:
        """When to call `tick`, None for never."""
        if self.state is not State.UP:
            return None
        due = min(self._ping_at, self._heard_at + self.config.silence_ms)
        return due if self._retransmit_at is None else min(due, self._retransmit_at)

    # ---- for the subclasses

    def _begin(self) -> None:
        """Looks for a session on the line."""
        raise NotImplementedError

    def _stranger(self) -> None:
        """A frame of a session came, and there is none."""
        raise NotImplementedError

    def _greeting(self, greeting: Hello | Welcome) -> list[Event]:
        raise NotImplementedError

    def _bye(self, bye: Bye) -> list[Event]:
        """The peer has no session with this side."""
        events = self._down(bye.reason, bye.text)
        self._begin()
        return events

    def _up(self, session: Session, greeting: Hello | Welcome) -> list[Event]:
        """The session is up, by this greeting of the peer."""
        resumed, settled = session.greet(greeting)
        self.session = session
        self.state = State.UP
        self._peer_max_frame_bytes = greeting.max_frame_bytes
        skipped = session.outbox.replace_longer(greeting.max_frame_bytes, lambda sequence: encode(Skip(sequence)))
        self.counters["skipped"] += len(skipped)
        self._heard_at = self._now
        self._ping_at = self._now + self.config.keep_alive_ms
        self._nak_behind = -1
        self._retries = 0
        self._retransmit_at = None
        events: list[Event] = [Connected(greeting.name, resumed)]
        if settled:
            events.append(Acknowledged(session.outbox.oldest - 1))
        return events + [Skipped(sequence) for sequence in skipped]

    def _down(self, reason: int, text: str) -> list[Event]:
        was_up = self.state is State.UP
        self.state = State.GREETING
        self._answer = None
        self._retransmit_at = None
        self.counters["unsent"] += len(self._unnumbered)
        self._unnumbered.clear()
        self._unnumbered_bytes = 0
        return [Disconnected(reason, text)] if was_up else []

    def _say(self, frame: Frame) -> None:
        """Queues a frame that the session does not carry, in place of one of its kind that is still waiting."""
        self._control = [other for other in self._control if type(other) is not type(frame)] + [frame]

    def _send(self, session: Session, frame: NumberedFrame) -> int:
        """Queues a frame that has the outbox's next number; returns that. Raises TooLargeError, QueueFull."""
        return session.outbox.put(self._encoded(frame))

    def _send_once(self, frame: NumberedFrame) -> bool:
        """Queues a frame without a number; False when it is dropped instead. Raises TooLargeError."""
        encoded = self._encoded(frame)
        if self.state is not State.UP or self._unnumbered_bytes + len(encoded) > self.config.max_queue_bytes:
            self.counters["unsent"] += 1
            return False
        self._unnumbered.append(encoded)
        self._unnumbered_bytes += len(encoded)
        return True

    def _encoded(self, frame: NumberedFrame) -> bytes:
        encoded = encode(frame)
        if len(encoded) > self._peer_max_frame_bytes + 1:
            raise TooLargeError(f"a frame of {len(encoded) - 1} bytes, the peer takes {self._peer_max_frame_bytes}")
        return encoded

    # ---- the exchange

    def _numbered(self, frame: NumberedFrame | FrameError) -> list[Event]:
        if self.session is None or self.state is not State.UP:
            self._stranger()
            return []
        inbox = self.session.inbox
        if not isinstance(frame, (*self._TAKES, FrameError)):
            frame = FrameError(Reason.UNKNOWN_FRAME, "this frame is not for this side", frame.sequence)
        if not frame.sequence:
            return [Received(frame, inbox.epoch)]
        arrival = inbox.arrive(frame.sequence)
        if arrival is Arrival.GAP:
            self.counters["gaps"] += 1
            self._missed()
            return []
        self._answer = self._answer or Ack
        if arrival is Arrival.REPEAT:
            self.counters["repeated"] += 1
            return []
        return [Received(frame, inbox.epoch)]

    def _missed(self) -> None:
        """Something of the peer's was lost: ask for it, once, until the next frame gets through."""
        if self.session and self.state is State.UP and self._nak_behind != self.session.inbox.received:
            self._nak_behind = self.session.inbox.received
            self._answer = Nak

    def _acknowledgement(self, session: Session, ack: Ack) -> list[Event]:
        outbox = session.outbox
        before = outbox.received
        try:
            settled = outbox.settle(ack.received, ack.acknowledged, ack.credits)
        except ValueError as error:
            bye = Bye(Reason.MALFORMED, str(error))
            events = self._bye(bye)
            self._say(bye)
            return events
        if settled or outbox.received > before:
            self._retries = 0
            self._retransmit_at = None
        if isinstance(ack, Nak):
            self._repeat()
        self._arm(0)
        return [Acknowledged(ack.acknowledged)] if settled else []

    def _repeat(self) -> None:
        if self.session and self.session.outbox.rewind():
            self.counters["retransmitted"] += 1

    def _ping(self) -> None:
        self._say(Ping())

    def _arm(self, burst_bytes: int) -> None:
        """Something unsettled wants a deadline; a burst is given the time that the line needs for it."""
        if not self.session or not len(self.session.outbox):
            self._retransmit_at = None
        elif self._retransmit_at is None or burst_bytes:
            wait_ms = min(self.config.retransmit_ms << min(self._retries, 16), self.config.max_retransmit_ms)
            self._retransmit_at = self._now + wait_ms + burst_bytes * 1000 // self.config.bytes_per_s
