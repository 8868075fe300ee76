"""Observers as recipients of messages.

A QoS 0 message is a non-confirmable notification. A QoS 1 or 2 message is a confirmable one where the observer has
not just had one; in a burst the others are non-confirmable, and if they are state, a confirmable notification of the
newest follows soon after. So every burst ends with a value that is known to have arrived, and a lost datagram costs
that time, not the value (RFC 7641 §4.5). Observers are never full: state that is late is replaced by newer state.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import TYPE_CHECKING

from broker.coap.representation import NOTHING_YET, Representation
from broker.core.message import Message
from broker.core.settlement import Reason
from broker.core.sink import OneByOne
from oriole.link.coap import Failure, Observation, Peer
from oriole.wire.coap import Code, Option, Type, encode_tail, encode_uint

if TYPE_CHECKING:
    from broker.coap.port import Port

CONFIRM_INTERVAL_MS = 250
"""Least time between confirmable notifications to one observer: a burst costs it four acknowledgements a second."""
ROUND_MS = 3_600_000
"""Every hour each observer is asked for a sign of life, and one that is gone is found out: RFC 7641 allows a day."""
STEPS_PER_ROUND = 60


class Observer(Observation):
    """A client that observes one topic: a sink of core.

    Attributes:
        topic: what it observes.
        port: where it is reached.
        label: what accounts call it.
        active: it is on the list of observers.
        unsettled: the message in the confirmable notification that is on its way.
    """

    full: bool = False
    persistent: bool = False
    remote: bool = False

    __slots__ = ("_confirm_at", "_owed", "_shown", "active", "label", "port", "topic", "unsettled", "wake_at")

    def __init__(self, port: Port, peer: Peer, token: bytes, topic: bytes, label: str) -> None:
        super().__init__(peer, token)
        self.port = port
        self.topic = topic
        self.label = label
        self.active = True
        self.wake_at = 0
        self._confirm_at = 0
        self._owed = False
        self._shown: Message | None = None
        self.unsettled: Message | None = None

    def has_room_for(self, message: Message) -> bool:
        """See `Sink`: it is never full."""
        return True

    def confirm(self, message: Message, tail: bytes, now: int) -> bool:
        """Notify so that we learn of its arrival. False, and nothing sent, if it is too soon after the last time."""
        if now >= self._confirm_at and self._send(Code.CONTENT, tail, message, now):
            self.unsettled = message
            return True
        if message.retain and not self._owed:
            self.check()
        return False

    def check(self) -> None:
        """Show the current value and learn whether anybody is there, as soon as it may be asked."""
        self._owed = True
        self.port.engine.deadlines.schedule(self, self._confirm_at)

    def due(self, now: int) -> int | None:
        """Send the value that is owed."""
        if not (self.active and self._owed):
            return None
        if now < self._confirm_at:
            return self._confirm_at
        message = self.port.service.current(self.topic, now)
        if not self._send(Code.CONTENT, self._show(message, now), message, now):
            return now + CONFIRM_INTERVAL_MS
        self.port.stir()
        return None

    def dismiss(self, code: Code, now: int) -> None:
        """Say that there is nothing to observe any more, and end the observation (RFC 7641 §4.2)."""
        if not self._send(code, b"", None, now):
            self.port.endpoint.send(Type.NON_CONFIRMABLE, code, self.token, b"", self.peer.address)
        self.end(now)

    def end(self, now: int) -> None:
        """Take it from the list of observers."""
        if self.active:
            self.active = False
            self._lose(Reason.SESSION_ENDED, now)
            self.port.endpoint.forget(self)
            self.port.service.left(self, now)

    # What the endpoint says

    def acknowledged(self, now: int) -> None:
        """The client has what was sent."""
        message, self.unsettled = self.unsettled, None
        if message is not None:
            self.port.engine.settlement.acknowledge(message, self, now)

    def renewed(self, now: int) -> tuple[int, bytes] | None:
        """The newest state, where an older one is about to be sent again. An event stays what it is."""
        shown = self._shown
        if not self.active or (shown is not None and not shown.retain):
            return None
        message = self.port.service.current(self.topic, now)
        if message is shown or message is None:
            return None
        replaced, self.unsettled = self.unsettled, None
        if replaced is not None:
            self.port.engine.settlement.collapse(replaced, self, now)
        self._shown = message
        return Code.CONTENT, self._show(message, now)

    def failed(self, failure: Failure, now: int) -> None:
        """The client is gone, or said that it wants no more."""
        self._lose(Reason.REJECTED if failure is Failure.RESET else Reason.OFFLINE, now)
        self.end(now)

    def _send(self, code: Code, tail: bytes, message: Message | None, now: int) -> bool:
        if not self.port.endpoint.confirm(self, code, tail, now):
            return False
        self._confirm_at = now + CONFIRM_INTERVAL_MS
        self._owed = self._owed and message is not None and not message.retain  # an event does not show the state
        self._shown = message
        return True

    def _show(self, message: Message | None, now: int) -> bytes:
        number = self.port.numbers.following(now)
        if message is None:
            return encode_tail([(Option.OBSERVE, encode_uint(number)), *NOTHING_YET])
        return Representation(message).notification(number, now)

    def _lose(self, reason: Reason, now: int) -> None:
        message, self.unsettled = self.unsettled, None
        if message is not None:
            self.port.engine.settlement.drop(message, self, reason, now)


class Notification(OneByOne):
    """The form of all observers behind one port: a message is encoded once for them."""

    takes: int = 0

    __slots__ = ("_port",)

    def __init__(self, port: Port) -> None:
        self._port = port

    def merge(self, other: Notification) -> Notification:
        """An observer has one topic, so it matches once."""
        return self

    def deliver(self, message: Message, sinks: Sequence[Observer], now: int) -> None:
        """Notify each observer; tell them that it is over where the value was deleted."""
        port = self._port
        told = sinks
        if message.retain and not message.payload:
            for observer in sinks:
                observer.dismiss(Code.NOT_FOUND, now)
        else:
            tail = Representation(message).notification(port.numbers.following(now), now)
            if message.qos:
                told = [observer for observer in sinks if not observer.confirm(message, tail, now)]
            port.endpoint.notify(told, tail)
        port.engine.settlement.send(message, told, now)
        port.stir()

    def forward(self, packets: bytes, count: int, sinks: Sequence[Observer], now: int) -> None:
        """MQTT packets are nothing that an observer takes: `takes` is 0."""
        raise NotImplementedError


class Rounds:
    """Goes round all observers, a few at each step, and has each show that it is alive. Once an hour and hardly more
    often, for each question wakes a radio.
    """

    __slots__ = ("observers", "wake_at")

    def __init__(self) -> None:
        self.observers: dict[Observer, None] = {}
        self.wake_at = 0

    def __len__(self) -> int:
        return len(self.observers)

    @property
    def pause_ms(self) -> int:
        """From one step to the next, of which few observers need few."""
        count = max(1, len(self.observers))
        return ROUND_MS * -(-count // STEPS_PER_ROUND) // count

    def add(self, observer: Observer) -> None:
        """Its turn comes last."""
        self.observers[observer] = None

    def remove(self, observer: Observer) -> None:
        """It is gone."""
        self.observers.pop(observer, None)

    def due(self, now: int) -> int | None:
        """Check the next few."""
        observers = self.observers
        for observer in list(islice(observers, -(-len(observers) // STEPS_PER_ROUND))):
            observers[observer] = observers.pop(observer)
            observer.check()
        return now + self.pause_ms if observers else None
