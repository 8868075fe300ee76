"""The centre's side of the stream that an edge sends up: batches of numbered messages, and their answers.

Within an epoch and class the numbers have no gap, and the centre takes them in order: what it has is one number. What
finds no room is not taken, nor is anything behind it, until the edge begins with it again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.core.message import Message, Stored
from broker.core.parcels import header_of, message_of
from broker.core.questions import Action
from broker.core.records import Marked
from broker.core.settlement import Reason
from broker.mqtt.forms import message_properties
from oriole.link.uplink import Mark
from oriole.link.uplink.stamps import MOST_CLASSES
from oriole.wire.mqtt import (
    V5,
    MqttError,
    PacketType,
    ProtocolError,
    Publish,
    ReasonCode,
    check_topic,
    decode_properties,
    encode,
    encode_properties,
)
from oriole.wire.topics import MAX_TOPIC_BYTES
from oriole.wire.uplink import ANSWER, MOST_NODES, Answer, Batch, Parcel, UplinkError, decode_batch
from oriole.wire.uplink import encode as encode_answer

if TYPE_CHECKING:
    from broker.mqtt.connection import Connection
    from broker.mqtt.session import Session


def read_batch(payload: bytes) -> Batch:
    """The batch in a PUBLISH. Raises ProtocolError."""
    try:
        return decode_batch(payload)
    except UplinkError as error:
        raise ProtocolError(str(error)) from None


def unknown_topics(session: Session, batch: Batch) -> list[bytes]:
    """Topics of which it is not known whether this node may publish to them."""
    if not session.restricted:
        return []
    topics = dict.fromkeys(parcel.topic for parcel in batch.parcels if isinstance(parcel, Parcel))
    return [topic for topic in topics if (Action.PUBLISH, topic) not in session.permissions and _fault(topic) is None]


class Delivered:
    """A batch that was taken: routed and answered, with the places of retained values, once it is recorded.

    Attributes:
        messages: number and message of those that are news.
        repeats: retained values among those that are not.
        upto: all up to this number are taken, or will never be.
    """

    __slots__ = ("batch", "before", "connection", "is_busy", "messages", "refusals", "repeats", "session", "upto")

    def __init__(self, connection: Connection, session: Session, batch: Batch, before: int) -> None:
        self.connection = connection
        self.session = session
        self.batch = batch
        self.before = before
        self.upto = before
        self.messages: list[tuple[int, Message]] = []
        self.repeats: list[tuple[int, Message]] = []
        self.refusals: list[tuple[int, int]] = []
        self.is_busy = False

    def take(self, now: int) -> None:
        """Look at each parcel: news, a repeat, refused for good, or one too many."""
        session = self.session
        sequence = self.batch.first - 1
        for parcel in self.batch.parcels:
            if not isinstance(parcel, Parcel):
                sequence += parcel
                self.upto = max(self.upto, sequence)
                continue
            sequence += 1
            message = _message(session, parcel, now)
            if sequence <= self.upto:
                session.settlement.refuse(message, Reason.REPEAT, now)
                if message.retain:
                    self.repeats.append((sequence, message))
                continue
            if not self._admit(sequence, message, now):
                self.is_busy = True
                break
            self.upto = sequence

    def _admit(self, sequence: int, message: Message, now: int) -> bool:
        """Whether a message that is news is settled, taken or refused for good; else there is no room for it."""
        session = self.session
        router = session.router
        topic = message.topic
        fault = _fault(topic) or _fault_of(message, now)
        assert message.header is not None
        if fault is not None or (session.restricted and not session.permissions.get((Action.PUBLISH, topic))):
            self.refusals.append((sequence, fault or ReasonCode.NOT_AUTHORIZED))
            session.settlement.refuse(message, Reason.NOT_PERMITTED, now)
        elif _goes_in_circles(session, message):  # taken, so that nobody sends it again, and goes no further
            session.settlement.refuse(message, Reason.LOOP, now)
        elif router.obstacle(message, router.routes.resolve(topic)) is not None:
            return False
        else:
            router.backlog.add(message)
            self.messages.append((sequence, message))
        return True

    def kept(self, now: int) -> None:
        """Recorded: route what is news, and say so."""
        router = self.session.router
        messages = [message for _, message in self.messages]
        for message in messages:
            router.backlog.remove(message)
        router.publish_all(messages, now)
        if self.connection.session is not self.session:
            return
        places = [(sequence, message.order) for sequence, message in self.messages if message.retain]
        places += [(sequence, self._own_order(message, now)) for sequence, message in self.repeats]
        answer = Answer(self.batch.traffic_class, self.upto, places, self.refusals, self.is_busy)
        self.connection.channel.send(encode(Publish(ANSWER.encode(), encode_answer(answer)), V5))
        outdone = (message.topic for _, message in self.repeats if not self._own_order(message, now))
        for topic in dict.fromkeys(outdone):
            self._tell(topic, now)

    def _own_order(self, message: Message, now: int) -> int:
        """The place of a retained value that is a repeat: that of what the node set last, if it is still there, else 0:
        nobody remembers."""
        peer = self.session.node
        kept = self.session.router.retained.get(message.topic, now)
        if kept is None or kept.header is None or peer is None or kept.header.node_path[-1:] != (peer.name,):
            return 0
        return kept.order

    def _tell(self, topic: bytes, now: int) -> None:
        """What is so now: the node cannot find out by itself, for it does not know when what it set was outdone."""
        session = self.session
        kept = session.router.retained.get(topic, now)
        state = Stored(topic, b"", 1, True) if kept is None else Stored.copy_of(kept)
        if kept is None:
            state.order = session.router.order
        session.encoding.granting(1, no_local=False, retain_as_published=True).deliver(state, (session,), now)

    def broken(self, now: int) -> None:
        """It was not recorded: the repeat is news."""
        session = self.session
        for _, message in self.messages:
            session.router.backlog.remove(message)
            session.router.let_go(message)
        if session.node is not None:
            session.service.marks.withdraw(_mark(session, self.batch, self.before))
        if self.connection.session is session:
            self.connection.end(now)


def receive(connection: Connection, session: Session, batch: Batch, now: int) -> Delivered:
    """Take a batch of a node, as much of it as there is room for: the promise to answer it. Raises ProtocolError."""
    service, peer = session.service, session.node
    assert peer is not None
    traffic_class = batch.traffic_class
    classes = [mark.traffic_class for mark in service.marks.of(peer.epoch)]
    if traffic_class not in classes and len(classes) >= MOST_CLASSES:
        raise ProtocolError(f"more than {MOST_CLASSES} classes")
    taken = service.marks.highest(peer.epoch, traffic_class)
    expected = peer.expected.get(traffic_class)
    if expected is None and batch.first > taken + 1:  # this node has forgotten what it had, or was never given it
        taken = batch.first - 1
    delivered = Delivered(connection, session, batch, taken)
    if expected is not None and batch.first > expected:  # what is before it found no room
        delivered.is_busy = True
        return delivered
    delivered.take(now)
    peer.expected[traffic_class] = delivered.upto + 1
    if delivered.upto > delivered.before or service.marks.life_of(peer.epoch) != peer.life:
        mark = _mark(session, batch, delivered.upto)
        service.marks.take(mark)
        if delivered.messages:
            session.router.take_over([message for _, message in delivered.messages], mark=mark)
        elif service.engine.promises.is_recording:
            service.engine.promises.records.append(Marked(mark))
    return delivered


def _goes_in_circles(session: Session, message: Message) -> bool:
    path = message.header.node_path if message.header is not None else ()
    return session.service.name in path or len(path) >= MOST_NODES


def _mark(session: Session, batch: Batch, sequence: int) -> Mark:
    peer = session.node
    assert peer is not None
    return Mark(peer.epoch, batch.traffic_class, sequence, peer.life)


def _message(session: Session, parcel: Parcel, now: int) -> Message:
    assert session.node is not None
    return message_of(parcel, session.node.name, session, now)


def _fault(topic: bytes) -> ReasonCode | None:
    """What is wrong with a topic to publish to, if anything is."""
    if topic.startswith(b"$"):
        return ReasonCode.NOT_AUTHORIZED
    if len(topic) > MAX_TOPIC_BYTES:
        return ReasonCode.TOPIC_NAME_INVALID
    try:
        check_topic(topic)
    except MqttError:
        return ReasonCode.TOPIC_NAME_INVALID
    return None


def _fault_of(message: Message, now: int) -> ReasonCode | None:
    """What is wrong with what a message says beside topic and payload: MQTT must be able to say it, too (3.3.2.3)."""
    header = message.header
    if header is None or header is header_of(header.node_path):
        return None
    try:
        decode_properties(encode_properties(message_properties(message, (), now, ())), 0, PacketType.PUBLISH)
    except (MqttError, ValueError):
        return ReasonCode.PAYLOAD_FORMAT_INVALID
    return None
