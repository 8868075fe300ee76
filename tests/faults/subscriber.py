"""A client that subscribes, and notes what it sees."""

from __future__ import annotations

import asyncio
import random

from faults import schedule
from faults.checker import Notes, Seen
from faults.clients import Clock, Peer, session
from faults.roads import Road
from oriole.link.mqtt import Connected, MessageReceived, Subscribed
from oriole.link.mqtt.events import Event
from oriole.wire.mqtt import V5, Subscription


class Subscriber(Peer):
    """Takes messages in its own time.

    Attributes:
        notes: what it saw.
    """

    def __init__(self, plan: schedule.Subscriber, road: Road, clock: Clock, chance: random.Random) -> None:
        receive_maximum = plan.receive_maximum if plan.version == V5 else 65_535
        config = session(plan, receive_maximum=receive_maximum, manual_acknowledgement=True)
        super().__init__(config, road, clock, chance)
        self._plan = plan
        self.notes = Notes(plan.name, plan.node)
        self._held: list[MessageReceived] | None = None

    def on(self, event: Event) -> None:
        """Messages, and the answer to what it asked for."""
        if isinstance(event, MessageReceived):
            what = event.topic, event.payload, event.qos, event.dup, event.retain, event.packet_identifier
            self.notes.add(Seen(self.clock(), *what))
            if self._held is None:
                self.client.acknowledge(event, now=self.now)
            else:
                self._held.append(event)
        elif isinstance(event, Connected) and not (event.session_present and self.notes.granted):
            wanted = [Subscription(filter, qos) for filter, qos in self._plan.filters]
            self.client.subscribe(wanted, now=self.now)
        elif isinstance(event, Subscribed):
            self.is_known = True
            for (filter, _), code in zip(self._plan.filters, event.reason_codes, strict=True):
                self.notes.granted.setdefault(filter, (code, self.clock()))

    async def pause(self, for_s: float) -> None:
        """Leave, and come back."""
        began_s, connections = self.clock(), self.connections
        await super().pause(for_s)
        if self.connections == connections:
            self.notes.absences.append((began_s, self.clock()))

    async def hold_acknowledgements(self, for_s: float) -> None:
        """Take messages, and say nothing for a while."""
        if self._held is not None:
            return
        self._held = []
        try:
            await asyncio.sleep(for_s)
        finally:
            held, self._held = self._held, None
            for message in held:
                self.client.acknowledge(message, now=self.now)
            self.flush()
