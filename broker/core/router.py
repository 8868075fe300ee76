"""Where messages meet subscriptions: one order, one set of routes, one store of retained values.

A session holds its router; tenants, later, are more routers. The router knows sinks and forms, never a protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Protocol

from broker.core.backlog import Backlog
from broker.core.engine import Engine
from broker.core.message import Message, Stored
from broker.core.records import Accepted, Routed, Taken, Unkept
from broker.core.retained import Retained
from broker.core.routes import Route, Routes
from broker.core.settlement import Reason
from broker.core.sink import Form, Sink
from oriole.link.uplink import Mark


class Interest(Protocol):
    """Somebody who fetches from elsewhere what this node's own sinks want: the edge's uplink."""

    def wanted(self, filter: bytes, now: int) -> None:
        """The first local subscription to `filter` was made."""

    def unwanted(self, filter: bytes, now: int) -> None:
        """The last local subscription to `filter` ended."""


class Memory(Protocol):
    """Something beside the retained store that answers a new subscription: the edge's cache of held pushes."""

    def matching(self, filter: bytes, now: int) -> Iterator[Message]:
        """What late comers get."""


class Arbiter(Protocol):
    """Who decides which of two retained values of a topic is the newer one: on an edge, the centre's order."""

    def retain(self, message: Message, now: int) -> None:
        """`message` is being published here as the topic's retained value and will be kept."""


class Router:
    """Routes, retained state and the node's order of messages.

    Attributes:
        engine: the turn that this router's output belongs to.
        interest: told which filters local sinks want, where set.
        memories: asked after the retained store for each new subscription.
        arbiter: told of each retained publish, where set.
        order: number of the last message routed with QoS > 0 or as retained state.
        backlog: messages taken over and not yet routed.
        full_sinks: how many sinks have `full` set: while it is 0, no publish looks for one.
        is_refusing: no QoS 1 or 2 message is taken for the time being, for it could not be recorded.
        last_taken: number of the last message that was recorded before it is routed.
        unrouted: those of them that are not routed yet, by number, each with the mark that it came with.
    """

    __slots__ = (
        "arbiter", "backlog", "engine", "full_sinks", "interest", "is_refusing", "last_taken", "memories", "order",
        "retained", "routes", "unrouted",
    )  # fmt: skip

    def __init__(self, engine: Engine, retained: Retained | None = None) -> None:
        self.engine = engine
        self.routes = Routes()
        self.retained = retained if retained is not None else Retained()
        self.interest: Interest | None = None
        self.arbiter: Arbiter | None = None
        self.memories: list[Memory] = []
        self.order = 0
        self.full_sinks = 0
        self.is_refusing = False
        self.last_taken = 0
        self.unrouted: dict[int, tuple[Message, Mark | None]] = {}
        self.backlog = Backlog()

    def subscribe(self, filter: bytes, sink: Sink, form: Form, now: int) -> bool:
        """Subscribe `sink` to a valid filter or change its form. True if it is new."""
        interest = self.interest
        first = interest is not None and not sink.remote and not self._wanted(filter)
        new = self.routes.subscribe(filter, sink, form)
        if first and interest is not None:
            interest.wanted(filter, now)
        return new

    def unsubscribe(self, filter: bytes, sink: Sink, now: int) -> bool:
        """End a subscription. False if there was none."""
        removed = self.routes.unsubscribe(filter, sink)
        if removed and self.interest is not None and not sink.remote and not self._wanted(filter):
            self.interest.unwanted(filter, now)
        return removed

    def _wanted(self, filter: bytes) -> bool:
        return any(not sink.remote for sink in self.routes.subscribers(filter))

    def set_full(self, sink: Sink, full: bool) -> None:
        """Note that `sink` has no room, or has room again; whoever was held for it goes on."""
        if sink.full != full:
            sink.full = full
            self.full_sinks += 1 if full else -1
            if not full:
                self.engine.pressure.room_in(sink)

    def obstacle(self, message: Message, route: Route) -> Sink | Reason | None:
        """What stands in the way of accepting a QoS 1 or 2 message: a sink without room, a full store, or nothing."""
        if self.is_refusing:
            return Reason.QUEUE_FULL
        if self.full_sinks:
            for sink in route.sinks:
                if sink.full and not sink.has_room_for(message):
                    return sink
        if message.retain and not self.retained.room_for(message):
            return Reason.QUEUE_FULL
        return None

    def publish(self, message: Message, now: int) -> Route:
        """Route a message on a valid topic; its route."""
        route = self.routes.resolve(message.topic)
        self.deliver(message, route, now)
        return route

    def deliver(self, message: Message, route: Route, now: int) -> None:
        """Keep `message` if it is retained, and hand it to everyone on its route.

        The caller has asked `obstacle` for a message that it will acknowledge. One whose lifetime is over takes its
        place, as any other, and is worth nothing.
        """
        settlement = self.engine.settlement
        settlement.accept(message, route, now)
        if message.retain or message.qos:
            self.order += 1
            message.order = self.order
            is_kept = message.retain and self._retain(message, now)
            if self.engine.promises.is_recording and (route.persistent or message.taken or is_kept):
                self._record((message,), is_kept)
        if message.expires_at and message.expires_at <= now:
            for sink in route.recipients(message):
                settlement.expire(message, sink, now)
        else:
            for group in route.groups:
                group.form.deliver(message, group.sinks, now)
        message.record = None

    def publish_all(self, messages: Sequence[Message], now: int) -> None:
        """Route messages with QoS > 0 or as retained state, in order; those in a row that are alike together."""
        for (topic, retain, qos), group in groupby(messages, _likeness):
            alike = list(group)
            if retain or not qos or any(message.expires_at for message in alike):
                for message in alike:
                    self.publish(message, now)
            else:
                self.deliver_all(alike, self.routes.resolve(topic), now)

    def deliver_all(self, messages: Sequence[Message], route: Route, now: int) -> None:
        """`deliver` for messages with QoS > 0 on one topic that came together, none of them retained."""
        order = self.order
        for message in messages:
            order += 1
            message.order = order
        self.order = order
        recorded = self.engine.promises.is_recording and (route.persistent or messages[0].taken > 0)
        if recorded:
            self._record(messages, False)
        settlement = self.engine.settlement
        if settlement.book is not None:
            for message in messages:
                settlement.accept(message, route, now)
        for group in route.groups:
            group.form.deliver_all(messages, group.sinks, now)
        if recorded:
            for message in messages:
                message.record = None

    def take_over(
        self,
        messages: Sequence[Message],
        session: int = 0,
        packet_identifiers: Sequence[int] = (),
        mark: Mark | None = None,
    ) -> None:
        """Record messages that are to be routed when that is safe; the rest as in `Taken`.

        What nobody has to find after a restart is not recorded: neither kept, nor for a persistent recipient, nor from
        one who may send it again.
        """
        promises = self.engine.promises
        if not promises.is_recording:
            return
        resolve = self.routes.resolve
        if session or mark or any(message.retain or resolve(message.topic).persistent for message in messages):
            promises.records.append(Taken(self.last_taken + 1, messages, session, packet_identifiers, mark))
            for message in messages:
                self.last_taken += 1
                message.taken = self.last_taken
                self.unrouted[message.taken] = message, mark

    def let_go(self, message: Message) -> None:
        """A message that was taken over is not to be routed after all."""
        if self.unrouted.pop(message.taken, None) is not None:
            self.engine.promises.records.append(Routed([message.taken]))

    def _record(self, messages: Sequence[Message], is_kept: bool) -> None:
        """Write down messages that are being routed; a form that owes them to a session names it in the record."""
        record: Accepted | Routed
        if messages[0].taken:
            numbers = [message.taken for message in messages]
            record = Routed(numbers, messages, is_kept, order=messages[0].order)
            for number in record.numbers:
                self.unrouted.pop(number, None)
        else:
            record = Accepted(messages, is_kept)
        self.engine.promises.records.append(record)
        for message in messages:
            message.record = record

    def forget(self, topic: bytes) -> None:
        """Let go of a retained value here; nobody has deleted it."""
        self.retained.remove(topic)
        if self.engine.promises.is_recording:
            self.engine.promises.records.append(Unkept(topic))

    def late(self, filter: bytes, now: int) -> Iterator[Message]:
        """What a new subscription to `filter` gets of what was published before: retained state and held pushes."""
        keeping_book = self.engine.settlement.book is not None
        for memory in (self.retained, *self.memories):
            for message in memory.matching(filter, now):
                yield Stored.copy_of(message) if keeping_book else message

    def _retain(self, message: Message, now: int) -> bool:
        """Keep a retained message, where there is room; whether a journal has to know."""
        if not (message.promised or self.retained.room_for(message)):
            self.engine.settlement.drop(message, None, Reason.QUEUE_FULL, now)
            return False
        if self.arbiter is not None:
            self.arbiter.retain(message, now)
        self.retained.put(message)
        return not message.topic.startswith(b"$")  # what a node says of itself it says anew


def _likeness(message: Message) -> tuple[bytes, bool, int]:
    return message.topic, message.retain, message.qos
