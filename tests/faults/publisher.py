"""A client that publishes, and notes what it was promised. QoS 2 messages count as acknowledged at PUBREC."""

from __future__ import annotations

import asyncio
import random

from faults import schedule
from faults.checker import EVERYBODYS, Sent, padded
from faults.clients import Clock, Connection, Peer, session
from faults.roads import Road
from oriole.link.mqtt import Connected, Expired, Published
from oriole.link.mqtt.events import Event
from oriole.wire.mqtt import V5, PacketType, Properties, PubRec, ReasonCode, Splitter, decode

MOST_UNSETTLED = 300
"""Messages that a publisher has on the way before it waits."""
LIFETIMES_S = (1, 3600, 3600)
EVERYBODY = f"{EVERYBODYS}0"


class Publisher(Peer):
    """Publishes, and notes what was acknowledged.

    Attributes:
        sent: all of it.
        marks: the last of `sent`, one for each topic and QoS: what was sent before them came before them.
    """

    def __init__(self, plan: schedule.Publisher, road: Road, clock: Clock, chance: random.Random) -> None:
        super().__init__(session(plan), road, clock, chance)
        self._plan = plan
        self.sent: list[Sent] = []
        self.marks: list[Sent] = []
        self._own = [f"r/{plan.name}/{number}" for number in range(2)]
        self._common = [f"t/{number}" for number in range(schedule.CROWD_TOPICS)]
        self._splitter = Splitter()
        self._on_the_way: dict[int, Sent] = {}

    @property
    def unanswered(self) -> list[Sent]:
        """What it has published and knows nothing of."""
        return list(self._on_the_way.values())

    @property
    def topics(self) -> list[str]:
        """Where others can get something of it."""
        return self._common + self._own

    # ---- What it says

    def greet(self) -> None:
        """One message for each topic, so that everybody can see whether the way is open."""
        for topic in self.topics:
            self._publish(topic, 1)
        self.flush()

    async def speak(self) -> None:
        """Publish until cancelled."""
        while True:
            await asyncio.sleep(self.chance.uniform(0, 2 * self._plan.interval_ms) / 1000)
            for _ in range(self.chance.choice((1, 1, 1, 4))):
                if self.client.unsettled < MOST_UNSETTLED:
                    self._publish_something()
            self.flush()

    def take_leave(self) -> None:
        """The last messages, behind all others."""
        self.marks = [self._publish(topic, qos) for topic in self._common for qos in (1, 2)]
        self.marks += [self._publish(topic, self._plan.retained_qos) for topic in self._own]
        self.marks.append(self._publish(EVERYBODY, 1))
        self.flush()

    def _publish_something(self) -> None:
        chance, plan = self.chance, self._plan
        padding_bytes = chance.randint(0, plan.most_padding_bytes)
        if chance.random() < 0.3:
            topic, qos = chance.choice([(topic, plan.retained_qos) for topic in self._own] + [(EVERYBODY, 1)])
            self._publish(topic, qos, padding_bytes, retain=True, deletes=chance.random() < plan.deletes)
            return
        lives_on = self._plan.version != V5 or chance.random() >= plan.lifetimes
        lifetime_s = None if lives_on else chance.choice(LIFETIMES_S)
        self._publish(chance.choice(self._common), chance.choice((1, 2)), padding_bytes, lifetime_s=lifetime_s)

    def _publish(
        self,
        topic: str,
        qos: int,
        padding_bytes: int = 0,
        *,
        retain: bool = False,
        deletes: bool = False,
        lifetime_s: int | None = None,
    ) -> Sent:
        number = len(self.sent)
        payload = b"" if deletes else padded(self.name, number, padding_bytes)
        message = Sent(
            self.name, number, topic, qos, retain, payload, self.clock(), self._plan.node, lifetime_s=lifetime_s
        )
        properties = Properties(message_expiry_interval=lifetime_s)
        identifier = self.client.publish(topic, payload, qos, retain, properties, now=self.now)
        assert identifier is not None
        self.sent.append(message)
        self._on_the_way[identifier] = message
        return message

    def cut_mid_packet(self, strength: float) -> None:
        """Within a PUBLISH."""
        self._publish_something()
        super().cut_mid_packet(strength)

    # ---- What it is told

    def hear(self, data: bytes) -> None:
        """Notes each PUBREC, of which its client says nothing."""
        for first, body in self._splitter.split(data):
            if first >> 4 == PacketType.PUBREC:
                packet = decode(first, body, self._plan.version)
                assert isinstance(packet, PubRec)
                message = self._on_the_way.get(packet.packet_identifier)
                if message is not None and message.qos == 2:
                    self._answered(message, packet.reason_code)
        super().hear(data)

    def on(self, event: Event) -> None:
        """Acknowledgements, and the end of what was not sent in time."""
        if isinstance(event, Connected):
            for message in self._on_the_way.values():
                message.repeats += message.qos == 1
        elif isinstance(event, Published):
            self._answered(self._on_the_way.pop(event.packet_identifier), event.reason_code)
        elif isinstance(event, Expired):
            del self._on_the_way[event.packet_identifier]

    def _answered(self, message: Sent, reason_code: ReasonCode) -> None:
        if reason_code < ReasonCode.UNSPECIFIED_ERROR and message.acknowledged_s is None:
            message.acknowledged_s = self.clock()
            self.is_known = True

    def begin(self, connection: Connection) -> None:
        """The first byte of a connection begins a packet."""
        self._splitter = Splitter()
        super().begin(connection)
