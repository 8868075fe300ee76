"""A serial device as the node knows it, whether its cable is plugged in or not.

It is a sink: QoS 1 messages for it wait here, in order and within limits, until its line has credits, and stay until
it has acknowledged them. And it is a publisher: what it sends is checked, routed, and acknowledged when the journal
has it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from broker.core.message import Message
from broker.core.pushes import open_push
from broker.core.records import Marked
from broker.core.router import Router
from broker.core.settlement import Reason as Loss
from edge_node.devices.form import SerialForm
from oriole.link.serial import QueueFull, Received, Session, TooLargeError
from oriole.link.uplink import Mark
from oriole.wire.serial import FrameError, Publish, Reason, Subscribe, Unsubscribe
from oriole.wire.topics import SHARE_PREFIX, TopicError, check_topic_filter, check_topic_name

if TYPE_CHECKING:
    from edge_node.devices.line import Line
    from edge_node.devices.registry import Devices


MARK_PREFIX: Final = "serial:"
"""Before a device's name: the class of its frames, in marks."""


@dataclass(frozen=True, slots=True)
class _Delivery:
    """A message that is owed with QoS 1, and whether it goes as a retained value."""

    message: Message
    retain: bool


class SerialDevice:
    """One device, by its own name.

    Attributes:
        name: the identity that it greets with.
        session: its numbers and unacknowledged frames, which outlive a line.
        line: where it is plugged in; None while it is away.
        subscriptions: filter to QoS. They outlive a line too, and a reboot, for `absence_ms`.
        expires_at: when it is forgotten, while it is away; 0 otherwise.
    """

    __slots__ = (
        "_devices",
        "_inflight",
        "_queue",
        "_queue_bytes",
        "_settlement",
        "expires_at",
        "full",
        "line",
        "name",
        "persistent",
        "remote",
        "router",
        "session",
        "subscriptions",
        "wake_at",
    )

    def __init__(self, name: str, session: Session, devices: Devices) -> None:
        self.name = name
        self.session = session
        self._devices = devices
        self.router: Router = devices.router
        self._settlement = devices.router.engine.settlement
        self.line: Line | None = None
        self.subscriptions: dict[bytes, int] = {}
        self._queue: deque[_Delivery] = deque()
        self._queue_bytes = 0
        self._inflight: deque[tuple[int, Message]] = deque()  # number of the DELIVER, and what is in it
        self.full = False
        self.persistent = False
        self.remote = False
        self.expires_at = 0
        self.wake_at = 0

    @property
    def label(self) -> str:
        """What accounts call it."""
        return f"serial:{self.name}"

    # ---- down: what the node owes it

    def has_room_for(self, message: Message) -> bool:
        """See `Sink`: a queue that is full is full for all."""
        return False

    def offer(self, message: Message, qos: int, retain: bool, now: int) -> None:
        """Take a message for the device; it is settled now or later."""
        settlement = self._settlement
        limits = self._devices.limits
        if qos:
            most, most_bytes = 2 * limits.max_queue_messages, 2 * limits.max_queue_bytes
            if not message.promised and (len(self._queue) >= most or self._queue_bytes >= most_bytes):
                settlement.drop(message, self, Loss.QUEUE_FULL, now)  # others' publishers were refused before
                return
            self._queue.append(_Delivery(message, retain))
            self._queue_bytes += message.size
            if len(self._queue) >= limits.max_queue_messages or self._queue_bytes >= limits.max_queue_bytes:
                self.router.set_full(self, True)
            self.pump(now)
        elif self.line is None:
            settlement.drop(message, self, Loss.OFFLINE, now)
        else:
            try:
                if self.line.deliver(message, 0, retain, now) is None:
                    settlement.drop(message, self, Loss.SLOW_READER, now)
                    return
            except TooLargeError:
                settlement.drop(message, self, Loss.TOO_LARGE, now)
                return
            settlement.send(message, (self,), now)

    def pump(self, now: int) -> None:
        """Put on the line what waits, a window's worth at most: a frame there has its number and cannot expire."""
        line = self.line
        queue = self._queue
        while line is not None and queue and len(self.session.outbox) < self._devices.config.window:
            delivery = queue[0]
            message = delivery.message
            if message.expires_at and message.expires_at <= now:
                self._settlement.expire(message, self, now)
            else:
                try:
                    number = line.deliver(message, 1, delivery.retain, now)
                except QueueFull:
                    break
                except TooLargeError:
                    self._settlement.drop(message, self, Loss.TOO_LARGE, now)
                else:
                    assert number is not None
                    self._inflight.append((number, message))
            queue.popleft()
            self._queue_bytes -= message.size
        self._make_room()

    def acknowledged(self, sequence: int, now: int) -> None:
        """The device has settled everything up to this number."""
        while self._inflight and self._inflight[0][0] <= sequence:
            self._settlement.acknowledge(self._inflight.popleft()[1], self, now)
        self.pump(now)

    def skipped(self, sequence: int, now: int) -> None:
        """The device takes no frame as long as the one with this number any more."""
        for entry in self._inflight:
            if entry[0] == sequence:
                self._inflight.remove(entry)
                self._settlement.drop(entry[1], self, Loss.TOO_LARGE, now)
                return

    def owed(self) -> Iterator[tuple[Message, bool]]:
        """What it has not acknowledged: messages, and whether they have their place on the line."""
        for _, message in self._inflight:
            yield message, True
        for waiting in self._queue:
            yield waiting.message, False

    def _make_room(self) -> None:
        """Half empty is room again, so that publishers are not held and released for every message."""
        if self.full:
            limits = self._devices.limits
            few = len(self._queue) * 2 <= limits.max_queue_messages and self._queue_bytes * 2 <= limits.max_queue_bytes
            self.router.set_full(self, not few)

    # ---- up: what it says

    def mark(self, sequence: int) -> Mark:
        """That its frames were taken up to this number: our next life knows them when they come again."""
        return Mark(self.session.inbox.peer_boot_id.hex(), f"{MARK_PREFIX}{self.name}", sequence)

    def take(self, line: Line, received: Received, now: int) -> bool:
        """Obey a frame, or refuse it. False: not now, ask again when the line is released or has acknowledged.

        What it returns True for is to be acknowledged once this turn is committed.
        """
        frame = received.frame
        try:
            if isinstance(frame, Publish):
                return self._publish(line, frame, now)
            if isinstance(frame, Subscribe):
                self._subscribe(line, frame, now)
            elif isinstance(frame, Unsubscribe):
                if self.subscriptions.pop(filter := frame.filter.encode(), None) is not None:
                    self.router.unsubscribe(filter, self, now)
            elif isinstance(frame, FrameError):
                line.refuse(frame.sequence, frame.reason, str(frame), now)
        except QueueFull:
            return False  # the refusal found no room
        return True

    def turn_away(self, frame: Publish, reason: Loss, now: int) -> None:
        """What it publishes is not taken."""
        self._settlement.refuse(self._message(frame, now), reason, now)

    def _message(self, frame: Publish, now: int) -> Message:
        qos = 1 if frame.sequence else 0
        message = Message(frame.topic.encode(), frame.payload, qos, frame.retain, origin=self)
        open_push(message, now)
        return message

    def _publish(self, line: Line, frame: Publish, now: int) -> bool:
        try:
            check_topic_name(frame.topic)
        except TopicError as error:
            line.refuse(frame.sequence, Reason.TOPIC_INVALID, str(error), now)
            return True
        router = self.router
        if frame.topic.startswith("$"):
            line.refuse(frame.sequence, Reason.NOT_AUTHORIZED, "topics that begin with $ are the node's own", now)
            self.turn_away(frame, Loss.NOT_PERMITTED, now)
            return True
        message = self._message(frame, now)
        route = router.routes.resolve(message.topic)
        obstacle = router.obstacle(message, route) if message.qos else None
        if obstacle is not None:
            waits = not isinstance(obstacle, Loss) and obstacle is not self
            if waits and router.engine.pressure.hold_for(obstacle, line.channel):
                return False
            line.refuse(frame.sequence, Reason.QUOTA_EXCEEDED, "no room for the message", now)  # nor would there be
            self.turn_away(frame, Loss.QUEUE_FULL, now)
            return True
        router.deliver(message, route, now)
        if frame.sequence and router.engine.promises.is_recording:
            router.engine.promises.records.append(Marked(self.mark(frame.sequence)))
        return True

    def _subscribe(self, line: Line, frame: Subscribe, now: int) -> None:
        try:
            check_topic_filter(frame.filter)
            if frame.filter.startswith(SHARE_PREFIX):
                raise TopicError("shared subscriptions are not supported")
        except TopicError as error:
            line.refuse(frame.sequence, Reason.TOPIC_INVALID, str(error), now)
            return
        filter = frame.filter.encode()
        if filter not in self.subscriptions and len(self.subscriptions) >= self._devices.limits.max_subscriptions:
            line.refuse(frame.sequence, Reason.QUOTA_EXCEEDED, "too many subscriptions", now)
            return
        self.subscriptions[filter] = frame.qos
        self.router.subscribe(filter, self, SerialForm(frame.qos), now)
        for message in self.router.late(filter, now):
            if self.full:
                self._settlement.drop(message, self, Loss.QUEUE_FULL, now)
            else:
                self.offer(message, min(message.qos, frame.qos), True, now)

    # ---- coming and going

    def arrived(self, line: Line) -> None:
        """The device is on this line."""
        self.line = line
        self.expires_at = 0

    def left(self, now: int) -> None:
        """Its line is gone; what it is owed waits for a bounded time."""
        self.line = None
        self.expires_at = now + self._devices.limits.absence_ms
        self.router.engine.deadlines.schedule(self, self.expires_at)

    def due(self, now: int) -> int | None:
        """It may have been away for long enough to be forgotten."""
        if self.line is None and now >= self.expires_at:
            self._devices.forget(self, now)
            return None
        return self.expires_at or None

    def discard(self, now: int) -> None:
        """Settle everything it is still owed, and let go of its subscriptions."""
        for filter in list(self.subscriptions):
            self.router.unsubscribe(filter, self, now)
        self.subscriptions.clear()
        for message, _ in self.owed():
            self._settlement.drop(message, self, Loss.SESSION_ENDED, now)
        self._inflight.clear()
        self._queue.clear()
        self._queue_bytes = 0
        self.router.set_full(self, False)
