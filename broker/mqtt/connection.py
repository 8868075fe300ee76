"""One client's byte stream: bytes in, packets handled in order, answers on the same channel.

The loop in `receive` is the hottest code of the broker. It knows three things by heart: a run of plain QoS 0 packets
on one topic is handed on as the very bytes that came, a QoS 1 or 2 PUBLISH is parsed in place, and a four-byte
acknowledgement is taken without building a packet. Everything else goes through `oriole.wire.mqtt`.

Handling can stop at a packet (a question is out, somebody's queue is full). The rest of the bytes then stay here, the
channel is held, and `resume` begins with the packet again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

from broker.core.channel import Channel
from broker.core.message import Message
from broker.core.pressure import MOST_BYTES
from broker.core.questions import Action
from broker.core.routes import Route
from broker.core.settlement import Reason
from broker.core.sink import Sink
from broker.mqtt import batches, subscribing
from broker.mqtt.acknowledgements import Acknowledgements
from broker.mqtt.bursts import end_of_pings, take_acknowledgements, take_publishes
from broker.mqtt.pieces import PACKET_IDENTIFIERS, PINGRESP, PUBACK, PUBCOMP, PUBREC, PUBREL
from broker.mqtt.publishing import read_publish
from oriole.wire.mqtt import (
    V5,
    V311,
    Connect,
    Disconnect,
    MalformedPacket,
    MqttError,
    PacketType,
    PingReq,
    ProtocolError,
    PubAck,
    PubComp,
    PubRec,
    PubRel,
    ReasonCode,
    Subscribe,
    Unsubscribe,
    UnsupportedVersion,
    decode,
    encode,
)
from oriole.wire.mqtt import read_header as read_fixed_header
from oriole.wire.uplink import BATCH

if TYPE_CHECKING:
    from broker.mqtt.service import MqttService
    from broker.mqtt.session import Session

FOUR_BYTE_PACKETS = frozenset((0x40, 0x50, 0x62, 0x70))
"""First bytes of the acknowledgements whose shortest form is a packet identifier and nothing else."""
DOLLAR = ord("$")
BATCH_TOPIC = BATCH.encode()
MOST_UNKEPT = 4096
"""Acknowledgements that may wait for the journal before the client is no longer read: a few commits' worth."""
MOST_AT_ONCE = 512
"""Packets out of the ordinary that are taken from one read before others have their turn: a few milliseconds. A read
may hold 30,000 of them."""
MOST_CHUNKS = 1024
"""Pieces of an unfinished packet before they are joined: each costs 40 bytes beside what is in it."""


NO_ROUTES: dict[bytes, Route] = {}
"""Of a client whose every topic needs a verdict."""


class _StoppedError(Exception):
    """Handling cannot go past this packet now; the channel has been held by whoever raises it."""


class Connection:
    """A channel that speaks MQTT.

    Attributes:
        session: None until the client is admitted, and again after it has left.
        last_heard: when bytes last came, in milliseconds.
        keep_alive_ms: most silence allowed, one and a half keep-alives [MQTT-3.1.2-22]; 0 for any.
        routes: topics that may be published to without a question, and who gets what is; looked up, never walked.
        plain: the packet format whose QoS 0 packets may pass as bytes, as in `Form.takes`; 0 where a book is kept.
    """

    __slots__ = (
        "_acknowledgements", "_chunks", "_missing", "_tickets", "_unanswered", "_unkept", "_unkept_held", "channel",
        "connect", "keep_alive_ms", "last_heard", "max_packet_bytes", "plain", "routes", "service", "session",
        "version", "wake_at",
    )  # fmt: skip

    def __init__(self, service: MqttService, channel: Channel, now: int) -> None:
        self.service = service
        self.channel = channel
        self.session: Session | None = None
        self.connect: Connect | None = None
        self.version = V311
        self.routes: dict[bytes, Route] = NO_ROUTES
        self.plain = 0
        self.max_packet_bytes = service.limits.max_packet_bytes
        self.last_heard = now
        self.keep_alive_ms = 0
        self.wake_at = 0
        self._chunks: list[bytes] | None = None
        self._missing = 0
        self._tickets: Sequence[int] = ()
        self._unanswered = 0
        self._unkept = 0
        self._unkept_held = False
        self._acknowledgements: Acknowledgements | None = None
        service.engine.deadlines.schedule(self, now + service.limits.connect_timeout_s * 1000)

    # Bytes in

    def receive(self, data: bytes, now: int) -> None:
        """Handle bytes from the peer. What is wrong with them ends the connection, with the specification's reason."""
        self.last_heard = now
        if self._chunks is not None:
            data = self._join(self._chunks, data)
            if not data:
                return
        channel = self.channel
        if channel.closing:
            return
        try:
            rest = self._packets(data, now) if self.session is not None else self._first_packet(data, now)
        except MqttError as error:
            self.service.engine.pressure.met.clear()
            self.fail(error, now)
            return
        if self._acknowledgements is not None:
            self._hand_over_promises()
        if rest:
            self._chunks = [rest]
        pressure = self.service.engine.pressure
        if pressure.met:
            pressure.hold(channel, now)
        if channel.size > MOST_BYTES:
            pressure.hold_until_read(channel)

    def _join(self, chunks: list[bytes], data: bytes) -> bytes:
        """The packet that was not finished, and what follows it; nothing while it is not whole yet."""
        chunks.append(data)
        self._missing -= len(data)
        if self._missing <= 0:
            self._chunks = None
            return b"".join(chunks)
        if len(chunks) > MOST_CHUNKS:
            chunks[:] = [b"".join(chunks)]
        return b""

    def resume(self, now: int) -> None:
        """The channel is no longer held: go on with the packet that handling stopped at."""
        self.last_heard = now  # nobody listened meanwhile
        self._missing = 0
        if self._chunks:
            self.receive(b"", now)

    def _packets(self, data: bytes, now: int) -> bytes:
        """Handle the packets in `data`; what is left of it."""
        session = self.session
        assert session is not None
        cached = self.routes
        plain = self.plain
        properties = self.version == V5
        end = len(data)
        position = 0
        pings = 0
        patience = MOST_AT_ONCE
        self._missing = 0
        while end - position >= 2:
            first = data[position]
            length = data[position + 1]
            body = position + 2
            if length > 127:
                header = read_fixed_header(data, position)
                if header is None:
                    break
                _, body, stop = header
                if stop - position > self.max_packet_bytes:
                    raise ProtocolError("packet too large", ReasonCode.PACKET_TOO_LARGE)
                if not data[body - 1]:  # a length with more bytes than it needs: not to be passed on as it came
                    if properties:
                        raise MalformedPacket("the remaining length is longer than needed")  # [MQTT-1.5.5-1]
                    length = 0
            else:
                stop = body + length
            if stop > end:
                self._missing = stop - end
                break
            if first == 0x30 and length > 2:
                after = body + 2 + (data[body] << 8) + data[body + 1]
                route = cached.get(data[body + 2 : after])
                if (
                    route is not None
                    and route.takes & plain
                    and (after < stop and not data[after] if properties else after <= stop)
                ):
                    # A run: packets that begin alike are alike in topic, length and flags.
                    start = data[position : after + properties]
                    size = stop - position
                    count = 1
                    while stop + size <= end and data.startswith(start, stop):
                        stop += size
                        count += 1
                    packets = data[position:stop]
                    for group in route.groups:
                        group.form.forward(packets, count, group.sinks, now)
                    position = stop
                    continue
            elif (first == 0x32 or first == 0x34) and length > 4:
                after = body + 2 + (data[body] << 8) + data[body + 1]
                topic = data[body + 2 : after]
                route = cached.get(topic)
                if (
                    route is not None
                    and data[body + 2] != DOLLAR
                    and (after + 2 < stop and not data[after + 2] if properties else after + 2 <= stop)
                ):
                    taken = take_publishes(
                        session, self._promise(session), data, position, topic, after, stop, route, now
                    )
                    if taken != position:
                        position = taken
                        continue
            kind = first >> 4
            try:
                if not patience:
                    self._let_others_go_first()
                patience -= 1
                if kind == 3:
                    self._publish(session, first, data, body, stop, now)
                elif length == 2 and first in FOUR_BYTE_PACKETS:
                    if data.startswith(data[position:body], stop):
                        taken = take_acknowledgements(session, self._promise(session), data, position)
                        if taken != position:
                            position = taken
                            continue
                    self._progress(session, first, data[body] << 8 | data[body + 1], 0, now)
                elif first == 0xC0 and stop == position + 2:
                    stop = end_of_pings(data, stop)
                    pings += (stop - position) // 2
                else:
                    self._packet(session, first, data[body:stop], now)
            except _StoppedError:
                self._missing = 0
                break
            position = stop
            if self.session is not session:
                return b""
        if pings:  # in one piece: each piece costs more than it holds
            self.channel.send(PINGRESP * pings)
        return data[position:] if position else data

    # PUBLISH

    def _publish(self, session: Session, first: int, data: bytes, body: int, stop: int, now: int) -> None:
        """Take one PUBLISH (3.3), `data[body:stop]` after its fixed header."""
        message, identifier, stamp = read_publish(session, first, data, body, stop, now)
        qos, topic = message.qos, message.topic
        reserved = topic.startswith(b"$")
        if reserved and session.node is not None and topic == BATCH_TOPIC and not qos:
            self._batch(session, message.payload, now)
            return
        if reserved or (session.restricted and not self._permitted(session, Action.PUBLISH, topic)):
            self._refuse(session, message, identifier, ReasonCode.NOT_AUTHORIZED, Reason.NOT_PERMITTED, now)
        elif self.service.name in stamp.path:  # it was here: taken, so that nobody sends it again, and goes no further
            self._refuse(session, message, identifier, ReasonCode.SUCCESS, Reason.LOOP, now)
        elif qos == 0:
            session.router.publish(message, now)
        else:
            self._accept(session, message, identifier, now)

    def _accept(self, session: Session, message: Message, identifier: int, now: int) -> None:
        """Take over a QoS 1 or 2 message, if there is room for it."""
        promise = self._promise(session)
        received = session.received_identifiers() if message.qos == 2 else None
        if received is not None:
            if identifier in received:
                promise.answer(PUBREC + PACKET_IDENTIFIERS[identifier])
                return
            if len(received) >= session.limits.receive_maximum and self.version == V5:
                raise ProtocolError("more than Receive Maximum", ReasonCode.RECEIVE_MAXIMUM_EXCEEDED)
        router = session.router
        if received is not None:
            self._await_backlog(session)
        route = router.routes.resolve(message.topic)
        obstacle = router.obstacle(message, route)
        if obstacle is not None:
            self._obstructed(session, message, identifier, obstacle, now)
        elif received is not None:
            received[identifier] = None
            promise.receive([message], [PACKET_IDENTIFIERS[identifier]])
        else:
            router.deliver(message, route, now)
            promise.answer(PUBACK + PACKET_IDENTIFIERS[identifier])

    def _batch(self, session: Session, payload: bytes, now: int) -> None:
        """Numbered messages of another node."""
        self._await_backlog(session)
        batch = batches.read_batch(payload)
        if unknown := batches.unknown_topics(session, batch):
            self._ask(session, Action.PUBLISH, unknown)
        self._hand_over_promises()
        session.router.engine.promises.made.append(batches.receive(self, session, batch, now))

    def _let_others_go_first(self) -> NoReturn:
        self.channel.hold()
        self.service.engine.later.append(self.channel)
        raise _StoppedError

    def _await_backlog(self, session: Session) -> None:
        """Stop here until there is less to be routed, if it is as much as a queue holds beyond its limit."""
        backlog = session.router.backlog
        if backlog.is_full:
            self._hand_over_promises()
            backlog.wait(self.channel, self.service.engine.promises)
            raise _StoppedError

    def _hand_over_promises(self) -> None:
        """What this read promised now waits for the end of the turn, even if the read ended in an error."""
        promise = self._acknowledgements
        if promise is None or not promise.count:
            return
        self._acknowledgements = None
        promises = self.service.engine.promises
        promises.made.append(promise)
        if promises.is_behind:
            self.service.router.backlog.wait(self.channel, promises)
        self._unkept += promise.count
        if self._unkept > MOST_UNKEPT and not self._unkept_held:
            self._unkept_held = True
            self.channel.hold()

    def _promise(self, session: Session) -> Acknowledgements:
        if self._acknowledgements is None:
            self._acknowledgements = Acknowledgements(self, session)
        return self._acknowledgements

    def settle_unkept(self, count: int) -> None:
        """`count` acknowledgements have left."""
        self._unkept -= count
        if self._unkept_held and self._unkept <= MOST_UNKEPT:
            self._unkept_held = False
            self.channel.release()

    def _refuse(
        self, session: Session, message: Message, identifier: int, code: ReasonCode, reason: Reason, now: int
    ) -> None:
        """Turn a publish away. MQTT 3.1.1 has no word for it: the packet is acknowledged and goes nowhere (3.3.5)."""
        session.settlement.refuse(message, reason, now)
        if message.qos:
            answer = (PUBACK if message.qos == 1 else PUBREC) + PACKET_IDENTIFIERS[identifier]
            if self.version == V5:
                answer = bytes((answer[0], 3)) + PACKET_IDENTIFIERS[identifier] + bytes((code,))
            self._promise(session).answer(answer)

    def _obstructed(
        self, session: Session, message: Message, identifier: int, obstacle: Sink | Reason, now: int
    ) -> None:
        """No room for a QoS 1 or 2 message: MQTT 5 is told, 3.1.1 is slowed until there is room."""
        if self.version == V5:
            self._refuse(session, message, identifier, ReasonCode.QUOTA_EXCEEDED, Reason.QUEUE_FULL, now)
        elif not isinstance(obstacle, Reason) and session.router.engine.pressure.hold_for(obstacle, self.channel):
            raise _StoppedError
        else:
            session.settlement.refuse(message, Reason.QUEUE_FULL, now)
            raise ProtocolError("no room for the message, and waiting would not make any", ReasonCode.QUOTA_EXCEEDED)

    # Everything else

    def _packet(self, session: Session, first: int, body: bytes, now: int) -> None:
        packet = decode(first, body, self.version)
        if isinstance(packet, (PubAck, PubRec, PubRel, PubComp)):
            self._progress(session, first, packet.packet_identifier, packet.reason_code, now)
        elif isinstance(packet, PingReq):
            self.channel.send(PINGRESP)
        elif isinstance(packet, Subscribe):
            self._permit_filters(session, packet)
            promise = self._promise(session)
            answer, late = subscribing.subscribe(session, packet, now)
            promise.answer(answer)
            promise.late += late
        elif isinstance(packet, Unsubscribe):
            self._promise(session).answer(subscribing.unsubscribe(session, packet, now))
        elif isinstance(packet, Disconnect):
            self.service.left(self, packet, now)
        elif isinstance(packet, Connect):
            raise ProtocolError("a second CONNECT")
        else:
            raise ProtocolError(f"{PacketType(first >> 4).name} is not for a server, or not now")

    def _progress(self, session: Session, first: int, identifier: int, reason_code: int, now: int) -> None:
        """PUBACK, PUBREC, PUBREL or PUBCOMP: the next step of an exchange, or an acknowledgement of nothing.

        After a lost session such a one is no fault: PUBREC is answered by PUBREL, PUBREL by PUBCOMP, so that the
        exchange ends on both sides (4.3.3); the others are ignored.
        """
        if first == 0x62:
            known = session.received is not None and session.received.pop(identifier, -1) is None
            if known and session.recorded:
                session.record_progress(first, identifier)
            answer = PUBCOMP
        else:
            known = session.acknowledge(first, identifier, reason_code, now)
            if first != 0x50 or reason_code >= 0x80:
                return
            answer = PUBREL
        if not identifier:
            raise ProtocolError("packet identifier 0")  # [MQTT-2.2.1-3]
        if known or self.version == V311:
            self._promise(session).answer(answer + PACKET_IDENTIFIERS[identifier])
        else:
            code = bytes((ReasonCode.PACKET_IDENTIFIER_NOT_FOUND,))
            self._promise(session).answer(bytes((answer[0], 3)) + PACKET_IDENTIFIERS[identifier] + code)

    # Questions

    def _permitted(self, session: Session, action: Action, topic: bytes) -> bool:
        """The verdict for a topic; asks for it and stops where there is none yet."""
        known = session.permissions.get((action, topic))
        if known is None:
            self._ask(session, action, [topic])
        return known

    def _permit_filters(self, session: Session, packet: Subscribe) -> None:
        """Go on only with a verdict for each filter; what is not known is asked in one go."""
        if not session.restricted:
            return
        filters = dict.fromkeys(subscription.topic_filter.encode() for subscription in packet.subscriptions)
        unknown = [filter for filter in filters if (Action.SUBSCRIBE, filter) not in session.permissions]
        if unknown:
            self._ask(session, Action.SUBSCRIBE, unknown)

    def _ask(self, session: Session, action: Action, topics: list[bytes]) -> NoReturn:
        self._await([self.service.ask_permission(self, session, action, topic) for topic in topics])
        raise _StoppedError

    def _await(self, tickets: list[int]) -> None:
        self._tickets = tickets
        self._unanswered = len(tickets)
        self.channel.hold()

    def answered(self) -> None:
        """A verdict that handling stopped for is there: go on after the last."""
        self._unanswered -= 1
        if not self._unanswered:
            self._tickets = ()
            self.channel.release()

    def _first_packet(self, data: bytes, now: int) -> bytes:
        """The packet before admission: a CONNECT, whole, or nothing [MQTT-3.1.0-1]."""
        if self.connect is not None:
            return data
        header = read_fixed_header(data, 0)
        if data and data[0] != 0x10:
            raise ProtocolError("the first packet is not CONNECT")
        if header is None:
            return data
        first, body, stop = header
        if stop > self.max_packet_bytes:
            raise ProtocolError("packet too large", ReasonCode.PACKET_TOO_LARGE)
        if stop > len(data):
            self._missing = stop - len(data)
            return data
        self.version = V5 if data[body : body + 7] == b"\0\4MQTT\5" else V311
        packet = decode(first, data[body:stop], self.version)
        assert isinstance(packet, Connect)
        self.connect = packet
        self._await([self.service.ask_admission(self, packet)])
        return data[stop:]

    # The end

    def fail(self, error: MqttError, now: int) -> None:
        """End the connection for what the peer did; the reason goes on the wire where the version has one."""
        self.service.report(self, str(error))
        if self.session is None:
            version = error.answer_version if isinstance(error, UnsupportedVersion) else self.version
            if version == V5 or isinstance(error, UnsupportedVersion):
                self.service.refuse(self, error.reason_code, version)
        elif self.version == V5:
            self.channel.send(encode(Disconnect(error.reason_code), V5))
        self.end(now)

    def end(self, now: int) -> None:
        """Write what waits and close; the session learns that its client is gone without having said so."""
        self.channel.close()
        self.closed(now)

    def closed(self, now: int) -> None:
        """The byte stream is gone. May be called twice."""
        self._hand_over_promises()
        self.channel.closing = True
        for ticket in self._tickets:
            self.service.engine.withdraw(ticket)
        self._tickets = ()
        self._chunks = None
        self.service.engine.deadlines.withdraw(self)
        self.service.gone(self, now)

    def due(self, now: int) -> int | None:
        """Keep-alive, and the time allowed for CONNECT."""
        if self.session is None:
            if self.connect is not None:
                return now + 1000
            self.service.report(self, "no CONNECT in time")
            self.end(now)
            return None
        if not self.keep_alive_ms:
            return None
        if self.channel.holds:
            return now + self.keep_alive_ms
        if now - self.last_heard >= self.keep_alive_ms:
            self.fail(ProtocolError("keep alive timeout", ReasonCode.KEEP_ALIVE_TIMEOUT), now)
            return None
        return self.last_heard + self.keep_alive_ms
