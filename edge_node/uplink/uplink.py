"""What the uplink decides: who the centre is, what goes up and how, what comes down. Sans-I/O, like the engine.

On its router it is a sink subscribed to everything but `$`. Towards the centre it is an MQTT 5 client with a session,
and, if the centre is an Oriole node, a stream of batches over that connection (docs/uplink.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

from broker.core.channel import Channel
from broker.core.message import Message
from broker.core.pressure import HIGH_WATER_BYTES
from broker.core.records import Met, Record
from broker.core.router import Router
from broker.core.settlement import Reason
from broker.core.sink import Sink
from broker.mqtt.forms import message_properties
from edge_node.uplink.batches import Batches
from edge_node.uplink.classes import Classes
from edge_node.uplink.down import Downstream
from edge_node.uplink.form import UplinkForm
from edge_node.uplink.singles import Singles
from edge_node.uplink.spool import Spool, Stream
from oriole.link.mqtt import (
    Client,
    Connected,
    ConnectRefused,
    Disconnected,
    Event,
    Expired,
    MessageReceived,
    Published,
    PublishRefused,
    QueueFull,
    Subscribed,
    Unsubscribed,
)
from oriole.link.uplink import Greeting, Stamp, StampError
from oriole.sessions.row import SessionRow
from oriole.wire.mqtt import MAX_PACKET_BYTES, ReasonCode
from oriole.wire.uplink import ANSWER, BATCH, MOST_NODES

if TYPE_CHECKING:
    from broker.mqtt.recollection import Recollection

PATIENCE_MS: Final = 1_000
"""How long an answer may be overdue, or four round trips, before the way to the centre is doubted."""
BUSY: Final = frozenset(
    (
        ReasonCode.SERVER_UNAVAILABLE,
        ReasonCode.SERVER_BUSY,
        ReasonCode.SERVER_SHUTTING_DOWN,
        ReasonCode.USE_ANOTHER_SERVER,
        ReasonCode.QUOTA_EXCEEDED,
        ReasonCode.CONNECTION_RATE_EXCEEDED,
    )
)
"""Refusals that pass by themselves. The others want a person."""
TWICE: Final = "what waits goes up under new numbers, and may arrive twice"


class Uplink:
    """The edge's half of an uplink.

    Args:
        router: the edge's router; the uplink subscribes itself.
        client: an MQTT 5 client with manual acknowledgement, not connected.
        greeting: how this edge introduces itself: name, epoch of its numbers, and which life of it this is.
        classes: what goes up first, and last.
        max_bytes: bytes of messages that may wait for the centre, in each class.
        make_epoch: names a new numbering: 128 random bits in hex.
        report: takes what happened to the link, for people: what it was, and whether somebody must do something.

    Attributes:
        centre: how the centre introduced itself; None from a broker of another make, or before the first connection.
        connected: whether messages flow.
        unwelcome: the centre does not want this edge until a person has changed something.
        max_packet_bytes: the largest packet that the centre takes.
        left_at: when the last connection ended, or this edge was started.
    """

    label = "uplink"
    remote = True

    __slots__ = (
        "_batches", "_channel", "_down", "_has_met", "_is_early", "_is_renumbered", "_make_epoch", "_meets",
        "_opened_at", "_round_trip", "_settlement", "_singles", "_spool", "_tell", "_unsent_bytes", "_welcomed",
        "centre", "client", "connected", "full", "greeting", "left_at", "max_packet_bytes", "name", "persistent",
        "router", "unwelcome", "wake_at",
    )  # fmt: skip

    def __init__(
        self,
        router: Router,
        client: Client,
        greeting: Greeting,
        classes: Classes,
        max_bytes: int,
        make_epoch: Callable[[], str],
        report: Callable[[str, bool], None],
    ) -> None:
        self.router = router
        self.client = client
        self.greeting = greeting
        self.name = greeting.name
        self.full = False
        self.persistent = router.engine.promises.is_recording
        self.connected = False
        self.unwelcome = False
        self.centre: Greeting | None = None
        self.max_packet_bytes = MAX_PACKET_BYTES
        self.wake_at = 0
        self._tell = report
        self._make_epoch = make_epoch
        self._settlement = router.engine.settlement
        self._channel: Channel | None = None
        self._unsent_bytes: Callable[[], int] = int
        self._opened_at = 0
        self.left_at = 0
        self._round_trip = 0
        self._welcomed = False
        self._meets = False  # written down that the centre knows this life
        self._has_met = False  # and safe
        self._is_early = False
        self._is_renumbered = False
        self._down = Downstream(self, client)
        self._spool = Spool(router, self, classes, max_bytes, self._down.confirm)
        self._spool.on_safe = self._pump
        self._batches = Batches(self._spool, self)
        self._singles = Singles(self._spool, self, client)
        router.interest = self._down
        router.arbiter = self._down
        router.backlog.limit(router.backlog.max_messages, max_bytes)
        router.subscribe(b"#", self, UplinkForm(), 0)

    @property
    def waiting(self) -> int:
        """Messages accepted here and not yet with the centre."""
        return len(self._spool)

    @property
    def wanted(self) -> list[bytes]:
        """What the centre is asked for."""
        return list(self._down.interests.asked)

    def owed(self) -> Iterator[tuple[Message, Sink | None, bool]]:
        """What waits here: messages, to whom, and whether they were sent; to nobody what the centre may yet outdo."""
        for message, is_sent in self._spool:
            yield message, self, is_sent
        for message in self._down.contenders:
            yield message, None, False

    def rows(self, now: int) -> Iterator[SessionRow]:
        """The streams as what waits for a session is shown."""
        centre = self.centre.name if self.centre is not None else None
        for stream in self._spool.streams:
            is_sent = [number < stream.next for number, message in enumerate(stream.messages, stream.first) if message]
            yield SessionRow(
                client=f"uplink {stream.traffic_class}",
                node=centre,
                peer=(centre or "centre") if self.connected else None,
                away_s=None if self.connected else max(0, now - self.left_at) // 1000,
                ends_in_s=None,
                subscriptions=0,
                queued=is_sent.count(False),
                queued_bytes=stream.bytes,
                in_flight=is_sent.count(True),
                is_full=stream.full,
            )

    # ---- The byte stream

    def open(self, channel: Channel, now: int, unsent_bytes: Callable[[], int] = int) -> None:
        """There is a connection to the centre; `unsent_bytes` says how much the system was given and has not sent."""
        self._channel = channel
        self._unsent_bytes = unsent_bytes
        self._opened_at = now
        self.unwelcome = False
        self._introduce()
        self.client.connect(now)
        # Who has let us in before will do so again: what is urgent need not wait for it (3.1.4).
        self._is_early = self._has_met and self.centre is not None
        if self._is_early:
            self._batches.restart()
            self._pump(now)
        self.flush(now)

    def _introduce(self) -> None:
        properties = self.client.config.properties.copy()
        properties.user_property = self.greeting.pairs()
        self.client.introduce(properties)

    def receive(self, data: bytes, now: int) -> None:
        """Bytes from the centre."""
        events = self.client.receive(data, now)
        if self.client.closing:  # behind these events there was one that ends the connection
            self.connected = False
        for event in events:
            self._handle(event, now)
        pressure = self.router.engine.pressure
        if pressure.met and self._channel is not None:
            pressure.hold(self._channel, now)
        self.flush(now)

    def resume(self, now: int) -> None:
        """The channel is no longer held; nothing was left over."""

    def closed(self, now: int) -> None:
        """The connection is gone. What is on the way waits for the next one."""
        self._down.closed()
        for event in self.client.closed(now):
            self._handle(event, now)
        if self._channel is not None:
            self.router.engine.pressure.drained(self._channel)
        self._channel = None
        self._unsent_bytes = int
        self.left_at = now
        self.connected = self._is_early = False

    def close(self) -> None:
        """Have the connection ended, so that there is another one."""
        if self._channel is not None:
            self._channel.close()

    def leave(self, now: int) -> None:
        """Say goodbye: this edge stops. Its session at the centre goes on."""
        if self.waiting:
            then = "they go up after the next start" if self.persistent else "they are lost, for there is no `data`"
            self.report(f"{self.waiting} messages did not reach the centre: {then}", not self.persistent)
        self.connected = False
        self.client.disconnect(now)
        self.flush(now)

    def silent(self, now: int) -> bool:
        """Whether the centre owes an answer for so long that the way there may be gone."""
        asked_at = self.client.ping_sent_at
        return asked_at is not None and now - asked_at > max(PATIENCE_MS, 4 * self._round_trip)

    @property
    def is_waiting(self) -> bool:
        """Whether the centre owes an answer, be it overdue or not."""
        return self.client.ping_sent_at is not None

    def probe(self, now: int) -> None:
        """Ask the centre for a sign of life."""
        self.client.probe(now)
        self.flush(now)

    def due(self, now: int) -> int | None:
        """Pings and their time-outs, filters that nobody came back for, a retry."""
        for event in self.client.tick(now):
            self._handle(event, now)
        if self._spool.is_unsafe and not self.router.is_refusing:
            self._spool.is_unsafe = False
            self._spool.secure()
        times = [self._down.due(now)]
        if self._channel is not None:
            times.append(self._carrier.due(now) if self.connected else None)
        self.flush(now)
        times.append(self.client.deadline())
        return min((at for at in times if at is not None), default=None)

    def flush(self, now: int) -> None:
        """Write what the client has to say."""
        channel = self._channel
        if channel is None:
            self.client.outgoing()
            return
        data = self.client.outgoing()
        if data:
            channel.send(data)
        if self.client.closing:
            channel.close()
        deadline = self.client.deadline()
        if deadline is not None:
            self.router.engine.deadlines.schedule(self, deadline)

    def look_again(self, at: int) -> None:
        """There may be something to do then."""
        self.router.engine.deadlines.schedule(self, at)

    # ---- Up

    def send(self, message: Message, now: int) -> None:
        """A local message is for the centre: at once, or when its turn comes."""
        if message.retain:
            self._down.published(message)
        if message.qos or message.retain:
            self.send_all((message,), now)
        elif self._goes_in_circles(message):
            self._settlement.drop(message, self, Reason.LOOP, now)
        else:
            self._send_now(message, now)

    def send_all(self, messages: Sequence[Message], now: int) -> None:
        """The same for messages with QoS > 0, or one to be retained, on one topic that came together."""
        first = messages[0]
        if not first.promised and self._spool.overflows(first.topic):
            for message in messages:
                self._lose(message, Reason.QUEUE_FULL, now)
            return
        stream, number = self._spool.add(messages)
        for number, message in enumerate(messages, number):  # noqa: B020 - the first of them
            if self._goes_in_circles(message):
                self.settle(stream, number, Reason.LOOP, now)

    def has_room_for(self, message: Message) -> bool:
        """Whether a message is of a class that there is room in."""
        return not self._spool.stream_of(message.topic).full

    def _send_now(self, message: Message, now: int) -> None:
        """QoS 0 does not wait for a link."""
        if not self.connected or self._channel is None:
            self._settlement.drop(message, self, Reason.LINK_DOWN, now)
        elif self._channel.size > HIGH_WATER_BYTES:
            self._settlement.drop(message, self, Reason.SLOW_READER, now)
        else:
            try:
                self.publish(message, 0, now)
            except (PublishRefused, QueueFull):
                self._settlement.drop(message, self, Reason.REJECTED, now)
            else:
                self._settlement.send(message, (self,), now)
                self.flush(now)

    def _lose(self, message: Message, reason: Reason, now: int) -> None:
        """A message ends before it waited."""
        self._settlement.drop(message, self, reason, now)
        if message.retain:
            self._down.confirm(message, 0, now)

    @property
    def _carrier(self) -> Batches | Singles:
        return self._singles if self.centre is None else self._batches

    def _pump(self, now: int) -> None:
        """Send what may be sent."""
        if self._channel is not None and (self.connected or self._is_early) and self._has_met:
            self._carrier.pump(now)
            self.flush(now)

    # ---- What carriers need

    def unsent_bytes(self) -> int:
        """What has been handed over for the centre and is still on this machine."""
        return self._unsent_bytes() + (self._channel.size if self._channel is not None else 0)

    def publish(self, message: Message, qos: int, now: int) -> int:
        """Publish a message as it is; its packet identifier, 0 with QoS 0. Raises PublishRefused and QueueFull."""
        stamp = Stamp(qos=message.qos, path=self._path(message))
        properties = message_properties(message, (), now, stamp.pairs())
        return self.client.publish(message.topic, message.payload, qos, message.retain, properties, now=now) or 0

    def send_batch(self, batch: bytes, now: int) -> bool:
        """Publish a batch. False where the client takes none at the moment."""
        try:
            self.client.publish(BATCH.encode(), batch, 0, now=now)
        except (PublishRefused, QueueFull) as error:
            self.report(f"a batch of {len(batch)} bytes cannot be sent: {error}", True)
            self.close()
            return False
        self.flush(now)
        return True

    def give_up(self, stream: Stream, number: int, is_late: bool, now: int) -> None:
        """A message that waited will not go up: its time is over, or the centre takes none of its size."""
        if is_late and stream.first <= number < stream.end:
            message = stream.messages[number - stream.first]
            if message is not None:
                self._settlement.expire(message, self, now)
            self._spool.strike(stream, number, now)
        elif not is_late:
            self.settle(stream, number, Reason.TOO_LARGE, now)

    def settle(self, stream: Stream, number: int, reason: Reason | None, now: int) -> None:
        """A message has arrived, or, for a reason, never will."""
        message = stream.messages[number - stream.first] if stream.first <= number < stream.end else None
        if message is None:
            return
        if reason is None:
            self._settlement.acknowledge(message, self, now)
        else:
            self._settlement.drop(message, self, reason, now)
        self._spool.strike(stream, number, now)

    def report(self, text: str, serious: bool = False) -> None:
        """Tell people."""
        self._tell(text, serious)

    def _goes_in_circles(self, message: Message) -> bool:
        return message.header is not None and len(message.header.node_path) >= MOST_NODES

    def _path(self, message: Message) -> tuple[str, ...]:
        return (*(message.header.node_path if message.header is not None else ()), self.name)

    # ---- Events of the client

    def _handle(self, event: Event, now: int) -> None:
        if isinstance(event, MessageReceived):
            if event.topic == ANSWER:
                if self.greeting.lives:  # who has the newest message has one of this life
                    self.greeting = Greeting(self.name, self.greeting.epoch, life=self.greeting.life)
                if not self._batches.receive(event.payload, now):
                    self.report("the centre's answer makes no sense: connecting again", True)
                    self.close()
            else:
                self._down.receive(event, now)
        elif isinstance(event, Published):
            self._singles.published(event, now)
        elif isinstance(event, Expired):
            self._singles.expired(event, now)
        elif isinstance(event, Subscribed):
            self._down.subscribed(event)
        elif isinstance(event, Unsubscribed):
            self._down.unsubscribed(event)
        elif isinstance(event, Connected):
            self._welcome(event, now)
        elif isinstance(event, ConnectRefused):
            self._refused(event, now)
        elif isinstance(event, Disconnected):
            self.connected = False
            self.unwelcome = event.reason_code == ReasonCode.SESSION_TAKEN_OVER
            namesake = f"another edge is called {self.name}: give one of them another name"
            self.report(namesake if self.unwelcome else event.text, self.unwelcome)

    def _refused(self, event: ConnectRefused, now: int) -> None:
        reason = event.reason_code
        words = event.properties.reason_string or reason.name.lower().replace("_", " ")
        if (
            reason == ReasonCode.CLIENT_IDENTIFIER_NOT_VALID
            and _greeting_of(event.properties.user_property) is not None
        ):
            self.report(f"{words}: this data folder is a copy, or was restored; {TWICE}", True)
            self._begin_anew()
            return
        self.unwelcome = reason not in BUSY
        is_for_people = self.unwelcome or event.properties.reason_string is not None
        self.report(f"the centre refuses this edge: {words}", is_for_people)

    def _welcome(self, event: Connected, now: int) -> None:
        try:
            centre = Greeting.read(event.properties.user_property)
        except StampError as error:
            self.unwelcome = True
            self.report(f"the centre's greeting makes no sense: {error}", True)
            self.client.disconnect(now)
            return
        if centre is not None and self.client.unsettled:  # these were for a broker of another make
            self.client.forget_messages()
            self._singles.forget()
            self.close()
            return
        if centre is not None and centre.name == self.name:
            self.unwelcome = True
            self.report(f"the centre is called {self.name} like this edge, or is this edge: nothing flows", True)
            self.client.disconnect(now)
            return
        before, self.centre = self.centre, centre
        is_other_order = centre is None or before is None or centre.epoch != before.epoch
        self._down.welcome(is_other_order, self._welcomed, event.session_present, centre is not None)
        self._welcomed = True
        self.max_packet_bytes = event.properties.maximum_packet_size or MAX_PACKET_BYTES
        self.connected = not self.client.closing
        self._round_trip = now - self._opened_at
        self.report(f"connected to {centre.name if centre is not None else 'a broker of another make'}")
        if centre is None:
            self._has_met = True
            if before is not None:
                self._spool.rewind()
        else:
            if not self._meets and not self._catches_up(centre):
                self.report(f"{centre.name} has messages that this edge knows nothing of; {TWICE}", True)
                self._begin_anew()
                self.close()
                return
            if not self._is_early:
                self._batches.restart()
            if is_other_order or not self._has_met:
                self._meet(centre)
        self._is_early = False
        self._down.ask(now)
        self._pump(now)

    # ---- Past and future

    def _catches_up(self, centre: Greeting) -> bool:
        """Whether what the centre has of this epoch was sent by us, be it forgotten or not."""
        streams = [(self._spool.named(traffic_class), number) for traffic_class, number in centre.has]
        return all(stream is None or self._spool.jump(stream, number + 1) for stream, number in streams)

    def _meet(self, centre: Greeting) -> None:
        """Write down that the centre knows us in this life, before it gets a message of it: it would know a copy."""
        promises = self.router.engine.promises
        self._has_met = False
        self._meets = True
        if promises.is_recording:
            promises.records.append(Met(centre.name, centre.epoch, self.greeting.epoch, self.greeting.life))
        promises.made.append(Meeting(self))

    def met(self, now: int) -> None:
        """It is written down."""
        self._has_met = True
        self._is_renumbered = False
        self._pump(now)

    def _begin_anew(self) -> None:
        """Renumber for a centre that does not know us; without haste where that was of no use before."""
        self.unwelcome = self._is_renumbered
        self._is_renumbered = True
        self.renumber()

    def renumber(self) -> None:
        """Begin a new epoch: nobody knows any more which message has which number."""
        self.greeting = Greeting(self.name, self._make_epoch(), life=self.greeting.life)
        self._meets = self._has_met = False
        records = self._spool.renumber()
        if self.router.engine.promises.is_recording:
            centre = self.centre
            met = Met(centre.name if centre else "", centre.epoch if centre else "", self.greeting.epoch, "")
            self.router.engine.promises.records += [met, *records]

    def records(self) -> Iterator[Record]:
        """What must be known after a restart."""
        centre, greeting = self.centre, self.greeting
        for life in ("", *greeting.lives, *((greeting.life,) if self._meets else ())):
            yield Met(centre.name if centre else "", centre.epoch if centre else "", greeting.epoch, life)
        yield from self._spool.records()
        yield from self._down.records()

    def recall(self, recollection: Recollection) -> None:
        """Be what was remembered, before the sessions are."""
        met = recollection.met
        if met is not None:
            lives = tuple(recollection.lives)
            self.greeting = Greeting(self.name, met.epoch, life=self.greeting.life, lives=lives)
            if met.centre:
                self.centre = Greeting(met.name, met.centre)
                self._welcomed = True
        self._spool.restore(recollection.streams)
        self._down.recall(recollection, self.centre)
        for message, _ in self._spool:
            if message.retain:
                self._down.published(message)
        if any(stream.is_shifted for stream in recollection.streams.values()):
            self.report(f"messages are missing; {TWICE}", True)
            self.renumber()

    def go_on(self, recollection: Recollection, now: int) -> None:
        """The sessions are here again."""
        self._down.go_on(recollection, self.centre, now)


class Meeting:
    """Lets messages go to a centre that is new to this life."""

    __slots__ = ("_uplink",)

    def __init__(self, uplink: Uplink) -> None:
        self._uplink = uplink

    def kept(self, now: int) -> None:
        """The journal knows it."""
        self._uplink.met(now)

    def broken(self, now: int) -> None:
        """It does not: try again with the next connection."""
        self._uplink.close()


def _greeting_of(pairs: Sequence[tuple[str, str]]) -> Greeting | None:
    try:
        return Greeting.read(pairs)
    except StampError:
        return None
