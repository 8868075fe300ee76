"""What comes from the centre: what is wanted here, and which retained value is the newer one.

On the edge's router it is the interest that fetches what local sinks want, and the arbiter of retained values.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from broker.core.message import Message, Stored
from broker.core.records import Asked, Marked, Record, Ruled
from broker.core.settlement import Reason
from broker.mqtt.forms import read_header
from edge_node.uplink.arrival import Arrival, SnapshotEnd
from edge_node.uplink.convergence import Convergence, Ruling
from edge_node.uplink.enquiries import Enquiries
from edge_node.uplink.interests import Interests
from oriole.link.mqtt import Client, MessageReceived, Subscribed, Unsubscribed
from oriole.link.uplink import SNAPSHOT_END, Greeting, Mark, Stamp, StampError
from oriole.wire.mqtt import ReasonCode, Subscription

if TYPE_CHECKING:
    from broker.mqtt.recollection import Recollection
    from edge_node.uplink.uplink import Uplink

LINGER_MS: Final = 30_000
"""How long a filter that nobody wants any more stays subscribed: a client that reconnects costs no new snapshot."""
MOST_LEAVING: Final = 1_000
"""Such filters at most; the one that nobody wants for longest goes first."""
FILTERS_PER_SUBSCRIBE: Final = 200
DOWN: Final = ""
"""The class of the centre's messages, in marks: its order numbers them all."""


class Downstream:
    """The way down of one uplink.

    Args:
        uplink: whom messages come from, as far as the router is concerned.
        client: the connection to the centre.

    Attributes:
        interests: what is wanted here.
    """

    __slots__ = (
        "_arrived", "_client", "_convergence", "_enquiries", "_leaving", "_recovering", "_seen", "_settlement",
        "_tracked", "_uplink", "interests", "router",
    )  # fmt: skip

    def __init__(self, uplink: Uplink, client: Client) -> None:
        self.router = uplink.router
        self.interests = Interests()
        self._uplink = uplink
        self._client = client
        self._settlement = uplink.router.engine.settlement
        self._convergence = Convergence()
        self._enquiries = Enquiries()
        self._seen = 0
        self._recovering = False
        self._tracked: dict[bytes, None] = {}
        self._leaving: dict[bytes, int] = {}
        self._arrived: list[tuple[int, Message, Mark]] = []  # in an earlier life, and not routed

    @property
    def contenders(self) -> Iterator[Message]:
        """Values from the centre that wait for the place of one that was set here."""
        return self._convergence.contenders

    # ---- The connection

    def welcome(self, is_other_order: bool, has_lost: bool, session_present: bool, keeps_state: bool) -> None:
        """The centre has let us in.

        Args:
            is_other_order: its order is not the one that we know places of.
            has_lost: it knew values that were set here, and may know them no more.
            session_present: it remembers what we asked for.
            keeps_state: it sends what we missed; one of another make keeps no QoS 0 state for us.
        """
        if is_other_order:
            self._convergence.restart()
            self._seen = 0
            self._recovering = has_lost
        if not session_present:
            self._enquiries.restart()
        if is_other_order or not session_present or not keeps_state:
            self.interests.restart()

    def closed(self) -> None:
        """The connection is gone."""
        self.interests.repeat(self._enquiries.lost())

    def due(self, now: int) -> int | None:
        """Filters that nobody came back for; when there will be the next."""
        for filter, until in list(self._leaving.items()):
            if until <= now:
                del self._leaving[filter]
                self._unwant(filter)
        self.ask(now)
        return min(self._leaving.values(), default=None)

    def give_up(self, order: int) -> None:
        """What has the place `order` could not be taken: have the connection closed, so that it comes again."""
        if order:
            self._seen = min(self._seen, order - 1)
        self._uplink.close()

    # ---- Messages

    def receive(self, event: MessageReceived, now: int) -> None:
        """A message from the centre."""
        stamp = _stamp_of(event.properties.user_property)
        promises = self.router.engine.promises
        if event.topic == SNAPSHOT_END:  # behind the values that it ends, which wait for the journal
            promises.made.append(SnapshotEnd(self, event, stamp.order))
            return
        replayed = event.retain and self._enquiries.awaiting_snapshot
        properties = event.properties
        lifetime = properties.message_expiry_interval
        message = Message(
            event.topic.encode(),
            event.payload,
            stamp.qos or event.qos,
            event.retain,
            read_header(properties, stamp.path),
            self._uplink,
            0 if lifetime is None else now + lifetime * 1000,
        )
        message.replayed = replayed
        if event.qos and not event.retain and 0 < stamp.order <= self._seen:
            self._settlement.refuse(message, Reason.REPEAT, now)
            promises.made.append(Arrival(self, event, None, stamp.order))
            return
        if (self._uplink.name in stamp.path and not replayed) or event.topic.startswith("$"):
            self._settlement.refuse(message, Reason.LOOP, now)  # but a snapshot has our values, too
            self.acknowledge(event, now)
            return
        if not event.qos:
            self.take(message, stamp.order, now)
            return
        if stamp.order and not event.retain:
            self._seen = stamp.order
        centre = self._uplink.centre
        mark = Mark(centre.epoch, DOWN, stamp.order) if centre is not None and stamp.order else None
        self.router.take_over([message], mark=mark)
        promises.made.append(Arrival(self, event, message, stamp.order))

    def take(self, message: Message, order: int, now: int) -> None:
        """Route a message from the centre, whose place there is `order`, to whoever wants it here."""
        if message.retain:
            ruling = self._convergence.arrived(message, order)
            self._settle_outdone(now)
            if ruling is Ruling.KNOWN:
                self._settlement.refuse(message, Reason.SUPERSEDED, now)
                self.router.let_go(message)
            if ruling is not Ruling.KEEP:
                return
            self._rule(message.topic, order)
            if not message.payload:
                self._untrack(message.topic, now)
            elif message.header is not None and self._uplink.name in message.header.node_path:
                self._track(message.topic, now)  # ours, before we lost our memory
        self.router.publish(message, now)

    def acknowledge(self, event: MessageReceived, now: int) -> None:
        """Tell the centre that a message is ours now."""
        if event.qos:
            self._client.acknowledge(event, now=now)
            self._uplink.flush(now)

    def end_snapshot(self, life: str, filters: list[bytes], order: int, now: int) -> None:
        """What the centre did not mention, it does not have; unless it told an earlier life of us."""
        if life != self._uplink.greeting.life:
            return
        for filter in filters:
            since = self._enquiries.ended(filter)
            if since is None:
                continue
            for message in list(self.router.retained.matching(filter, now)):
                if not self._convergence.missing(message.topic, since, order):
                    continue
                if self._recovering and message.topic in self._tracked:
                    self._uplink.send(_anew(message), now)  # the centre has lost what was set here: it gets it again
                else:
                    self.router.publish(Message(message.topic, b"", retain=True, origin=self._uplink), now)
                    self._untrack(message.topic, now)
        self._recovering = self._recovering and self._enquiries.awaiting_snapshot

    # ---- Retained values that were set here

    def retain(self, message: Message, now: int) -> None:
        """A retained value is being set on this edge (by its own clients, if not by us)."""
        topic = message.topic
        if message.origin is self._uplink or topic.startswith(b"$"):
            return
        if message.payload:
            self._track(topic, now)

    def published(self, message: Message) -> None:
        """A retained value was set here, and is on its way to the centre."""
        self._convergence.published(message.topic)

    def confirm(self, message: Message, order: int, now: int) -> None:
        """It has ended, one way or another: the centre gave it its place, or (0) none."""
        topic = message.topic
        contender = self._convergence.confirmed(topic, order)
        self._settle_outdone(now)
        if order:
            self._rule(topic, self._convergence.order_of(topic))
        if contender is not None:
            self.router.publish(contender, now)
        if not self.router.retained.get(topic, now):
            self._untrack(topic, now)

    def _rule(self, topic: bytes, order: int) -> None:
        promises = self.router.engine.promises
        if promises.is_recording and order:
            promises.records.append(Ruled(topic, order))

    def _settle_outdone(self, now: int) -> None:
        outdone, self._convergence.outdone = self._convergence.outdone, []
        for message in outdone:
            self._settlement.refuse(message, Reason.SUPERSEDED, now)
            self.router.let_go(message)

    def _track(self, topic: bytes, now: int) -> None:
        """The topic's value was set here: keep it current."""
        if topic not in self._tracked:
            self._tracked[topic] = None
            self.interests.add(topic)
            self.ask(now)

    def _untrack(self, topic: bytes, now: int) -> None:
        """The topic has no value here any more: no reason to keep it current."""
        if topic in self._tracked:
            del self._tracked[topic]
            self.interests.remove(topic)
            self.ask(now)
        self._convergence.forget(topic)

    # ---- What is wanted here

    def wanted(self, filter: bytes, now: int) -> None:
        """A local subscription: fetch what it matches."""
        if filter.startswith(b"$"):
            return
        if self._leaving.pop(filter, None) is None:
            self.interests.add(filter)
            self.ask(now)

    def unwanted(self, filter: bytes, now: int) -> None:
        """The last local subscription ended; it may come back soon."""
        if not filter.startswith(b"$"):
            self._linger(filter, now)

    def _linger(self, filter: bytes, now: int) -> None:
        if len(self._leaving) >= MOST_LEAVING:
            oldest = next(iter(self._leaving))
            del self._leaving[oldest]
            self._unwant(oldest)
            self.ask(now)
        self._leaving[filter] = now + LINGER_MS
        self._uplink.look_again(now + LINGER_MS)

    def _unwant(self, filter: bytes) -> None:
        """Stop fetching, and forget the centre's values that nobody keeps current any more."""
        self.interests.remove(filter)
        for topic in [message.topic for message in self.router.retained.matching(filter, 0)]:
            if topic not in self._tracked and not self.interests.wants(topic):
                self.router.forget(topic)
                self._convergence.let_go(topic)

    def ask(self, now: int) -> None:
        """Carry out changed interests at the centre."""
        changes = self.interests.changes
        if not changes or not self._uplink.connected:
            return
        self.interests.changes = {}
        promises = self.router.engine.promises
        if promises.is_recording:
            promises.records += [Asked(filter, is_wanted) for filter, is_wanted in changes.items()]
        new = [filter for filter, subscribe in changes.items() if subscribe]
        old = [filter for filter, subscribe in changes.items() if not subscribe]
        qos = 2 if self._uplink.centre is None else 1
        for start in range(0, len(new), FILTERS_PER_SUBSCRIBE):
            part = new[start : start + FILTERS_PER_SUBSCRIBE]
            wanted = [Subscription(filter.decode(), qos, True, True) for filter in part]
            self._enquiries.subscribe(self._client.subscribe(wanted, now=now), part, self._convergence.event())
        for start in range(0, len(old), FILTERS_PER_SUBSCRIBE):
            part = old[start : start + FILTERS_PER_SUBSCRIBE]
            self._enquiries.unsubscribe(self._client.unsubscribe([f.decode() for f in part], now=now), part)
        self._uplink.flush(now)

    def subscribed(self, event: Subscribed) -> None:
        """The centre's answer to filters."""
        filters = self._enquiries.answered(event.packet_identifier)
        for filter, code in zip(filters, event.reason_codes, strict=False):
            if code >= ReasonCode.UNSPECIFIED_ERROR:
                self._enquiries.ended(filter)
                self._uplink.report(f"the centre refuses us {filter.decode()}: {code.name.lower().replace('_', ' ')}")

    def unsubscribed(self, event: Unsubscribed) -> None:
        """The centre sends no more for filters."""
        for filter in self._enquiries.answered(event.packet_identifier):
            if filter not in self.interests.asked:
                self._enquiries.ended(filter)

    # ---- Past and future

    def records(self) -> Iterator[Record]:
        """What must be known after a restart."""
        centre = self._uplink.centre
        if centre is not None and self._seen:
            yield Marked(Mark(centre.epoch, DOWN, self._seen))
        for topic, order in self._convergence.places():
            yield Ruled(topic, order)
        for filter in self.interests.asked:
            yield Asked(filter, True)

    def recall(self, recollection: Recollection, centre: Greeting | None) -> None:
        """Know again which values the centre has given which place, and what it was given last."""
        self._convergence.recall(recollection.places)
        if centre is not None:
            mark = recollection.marks.pop((centre.epoch, DOWN), None)
            self._seen = 0 if mark is None else mark.sequence
        for number, (message, mark) in list(recollection.unrouted.items()):
            if mark is not None and mark.traffic_class == DOWN:
                del recollection.unrouted[number]
                self._arrived.append((number, message, mark))

    def go_on(self, recollection: Recollection, centre: Greeting | None, now: int) -> None:
        """Sessions and retained values are here again: keep current what was set here, let go what was asked for and
        is wanted no more, and take what came down and was not routed.
        """
        for message in self.router.retained:
            path = message.header.node_path if message.header is not None else ()
            came_down = centre is not None and path[-1:] == (centre.name,)
            if not message.topic.startswith(b"$") and (not came_down or self._uplink.name in path):
                self._track(message.topic, now)
        for filter in recollection.asked:
            if filter not in self.interests.asked and not self.interests.wants(filter):
                self.interests.add(filter)
                self._linger(filter, now)
        for number, message, mark in self._arrived:
            message.origin = self._uplink
            message.taken = number
            self.router.unrouted[number] = message, mark
            self.take(message, mark.sequence, now)
        self._arrived.clear()


def _stamp_of(pairs: Sequence[tuple[str, str]]) -> Stamp:
    """A stamp from above; what makes no sense is taken as no stamp: the centre is trusted not to harm itself."""
    try:
        return Stamp.read(pairs)
    except StampError:
        return Stamp()


def _anew(message: Message) -> Message:
    """A retained value as if it were set here now."""
    header = replace(message.header, node_path=()) if message.header is not None else None
    return Stored(message.topic, message.payload, message.qos, True, header, None, message.expires_at)
