"""A client with a will, another one for each connection; in the end it dies, and the last one has to be carried out.

A will is promised, and that those before it are void, once something is acknowledged that came after it: here, a
subscription.
"""

from __future__ import annotations

import math
import random
from dataclasses import replace

from faults import schedule
from faults.checker import Sent, padded
from faults.clients import Clock, Connection, Peer, session
from faults.roads import Road
from oriole.link.mqtt import Connected, Subscribed
from oriole.link.mqtt.events import Event
from oriole.wire.mqtt import Properties, Subscription, Will

MOST_REPEATS = 99
"""A will with QoS 1 may have reached somebody before a kill, and is carried out again after it."""


class Testator(Peer):
    """Makes wills.

    Attributes:
        wills: all of them. The last counts as sent, and acknowledged, when its client has died.
    """

    def __init__(self, plan: schedule.Testator, road: Road, clock: Clock, chance: random.Random) -> None:
        super().__init__(session(plan), road, clock, chance)
        self._plan = plan
        self.wills: list[Sent] = []
        self._ends_s: list[float] = []
        """When the connections of all wills but the last were ended from here; before all time where it was the node
        who ended one, or may have: then nobody here knows when.
        """
        self._outlived: list[Sent] = []
        self._is_promised = False
        self._is_dead = False

    def begin(self, connection: Connection) -> None:
        """Make another will for a new connection."""
        if self._is_dead:
            assert connection.transport is not None
            connection.transport.abort()
            return
        if self.connection is not None:
            self._end(self.clock())
        plan, number = self._plan, len(self.wills)
        payload, topic = padded(plan.name, number, 0), f"w/{plan.name}"
        repeats = MOST_REPEATS if plan.qos == 1 else 0
        will = Sent(plan.name, number, topic, plan.qos, False, payload, self.clock(), plan.node, repeats=repeats)
        self.wills.append(will)
        self._is_promised = False
        properties = Properties(will_delay_interval=plan.delay_s or None)
        self.client.config = replace(
            self.client.config, will=Will(topic.encode(), payload, plan.qos, properties=properties)
        )
        super().begin(connection)

    def on(self, event: Event) -> None:
        """It is in again: for which wills was that in time? That, and its new one, is promised a little later."""
        if isinstance(event, Connected):
            ends = zip(self.wills, self._ends_s, strict=False)
            self._outlived = [will for will, end_s in ends if self.clock() - end_s < self._plan.delay_s]
            self.client.subscribe([Subscription(f"testament/{self.name}", 1)], now=self.now)
        elif isinstance(event, Subscribed):
            self.is_known = self._is_promised = True
            for will in self._outlived:
                will.is_withdrawn = True

    def cut(self) -> None:
        """From now on its will is due, some time."""
        if self.connection is not None:
            self._end(self.clock())
        super().cut()

    def lose(self) -> None:
        """So it is, and perhaps it was before."""
        self._end(-math.inf)
        super().lose()

    def _end(self, at_s: float) -> None:
        if len(self._ends_s) < len(self.wills):
            self._ends_s.append(-math.inf if self._plan.link else at_s)

    def die(self) -> None:
        """Never come back."""
        self._is_dead = True
        self.cut()
        if self._is_promised:
            self.wills[-1].sent_s = self.wills[-1].acknowledged_s = self.clock()
