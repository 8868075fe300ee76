"""The MQTT side of a router: who is connected, whose session waits, and how a client comes in and leaves.

Nothing of a session changes before its CONNECT is admitted: an impostor with a wrong password kicks nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from broker.core.channel import Channel
from broker.core.message import Message
from broker.core.pushes import open_push
from broker.core.questions import Action, Admission, Permission, Verdict
from broker.core.queue import Archive
from broker.core.records import Ended, Left, Resumed, WillSent
from broker.core.router import Router
from broker.core.settlement import Reason
from broker.mqtt.connection import Connection
from broker.mqtt.departures import Return, Welcome
from broker.mqtt.forms import encoding_of, read_header
from broker.mqtt.nodes import NodeForm, Peer
from broker.mqtt.session import MOST_PERMISSIONS, NEVER, Session, nowhere
from broker.mqtt.snapshots import session_records, testament
from oriole.link.uplink import MOST_STAMP_BYTES, Greeting, Marks, StampError
from oriole.wire.mqtt import V5, V311, ConnAck, Connect, Disconnect, Properties, ProtocolError, ReasonCode, Will, encode

if TYPE_CHECKING:
    from oriole.config import Limits

RECEIVE_MAXIMUM_OF_3_1_1 = 256
"""Unacknowledged deliveries to a client that could not tell us its Receive Maximum: some tens of KiB, which
even a small device's network stack takes in its stride, and more than what usual publishers have unacknowledged."""


class MqttService:
    """Sessions by client identifier, on one router.

    Args:
        router: where sessions subscribe and publish.
        limits: what clients may use.
        make_client_id: names a client that gave no name; must not repeat itself.
        name, epoch: how this node introduces itself to other nodes: a name that no other has, and the identity of its
            order of messages.
        log: takes what happened to a connection, for people: (event, client identifier, peer).
    """

    __slots__ = (
        "_log", "_make_client_id", "connected", "engine", "epoch", "last_number", "limits", "marks", "name", "nodes",
        "nowhere", "router", "sessions",
    )  # fmt: skip

    def __init__(
        self,
        router: Router,
        limits: Limits,
        make_client_id: Callable[[], str],
        log: Callable[[str, str, object], None],
        name: str = "oriole",
        epoch: str = "",
    ) -> None:
        self.router = router
        self.engine = router.engine
        self.limits = limits
        self.sessions: dict[str, Session] = {}
        self.connected = 0
        self.last_number = 0
        self.name = name
        self.epoch = epoch
        self.marks = Marks()
        self.nodes: dict[str, Session] = {}
        self._make_client_id = make_client_id
        self._log = log
        self.nowhere = nowhere(router.engine)
        router.backlog.limit(limits.max_queue_messages, limits.max_queue_bytes)

    @property
    def archive(self) -> Archive | None:
        """Where sessions leave what they are owed; nowhere where a book is kept, which asks for all that is owed."""
        return self.engine.promises.archive if self.engine.settlement.book is None else None

    def open(self, channel: Channel, now: int) -> Connection:
        """A byte stream that is expected to speak MQTT."""
        return Connection(self, channel, now)

    def report(self, connection: Connection, event: str) -> None:
        """Tell people what happened to a connection."""
        session = connection.session
        name = session.client_id if session is not None else ""
        if session is None and connection.connect is not None:
            name = connection.connect.client_identifier
        self._log(event, name, connection.channel.peer)

    # Questions

    def ask_admission(self, connection: Connection, connect: Connect) -> int:
        """Ask whether a client may come in; the ticket."""
        ticket = self.engine.ticket(lambda verdict, now: self._admission(connection, verdict, now))
        self.engine.questions.append(
            Admission(
                ticket, connect.client_identifier, connect.username, connect.password, connection.channel.peer, "mqtt"
            )
        )
        return ticket

    def ask_permission(self, connection: Connection, session: Session, action: Action, topic: bytes) -> int:
        """Ask whether a session may use a topic or filter; the ticket."""

        def answer(verdict: Verdict, now: int) -> None:
            if len(session.permissions) >= MOST_PERMISSIONS:
                del session.permissions[next(iter(session.permissions))]
            session.permissions[action, topic] = verdict.allowed
            connection.answered()

        ticket = self.engine.ticket(answer)
        question = Permission(ticket, session.client_id, session.username, action, topic.decode())
        self.engine.questions.append(question)
        return ticket

    def forget_permissions(self, client_id: str) -> None:
        """Verdicts about a session have changed: ask again before it publishes or subscribes next."""
        session = self.sessions.get(client_id)
        if session is not None:
            session.permissions.clear()

    # Coming in

    def _admission(self, connection: Connection, verdict: Verdict, now: int) -> None:
        connect = connection.connect
        if connect is None or connection.channel.closing:
            return
        code, reason = self._refusal(connection, connect, verdict)
        if code is not None:
            self.report(connection, f"CONNECT refused: {reason or code.name.lower().replace('_', ' ')}")
            self.refuse(connection, code, connection.version, reason)
            connection.end(now)
            return
        self._admit(connection, connect, verdict, now)
        connection.answered()

    def _refusal(self, connection: Connection, connect: Connect, verdict: Verdict) -> tuple[ReasonCode | None, str]:
        """Why a client is not let in, and in words where a person should know more; None: it is."""
        if not verdict.allowed:
            return ReasonCode(verdict.reason_code), ""
        if connect.properties.authentication_method is not None:
            return ReasonCode.BAD_AUTHENTICATION_METHOD, ""
        if not connect.client_identifier and connection.version == V311 and not connect.clean_start:
            return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, ""
        known = self.sessions.get(connect.client_identifier)
        if self.connected >= self.limits.max_connections and (known is None or known.connection is None):
            return ReasonCode.SERVER_BUSY, ""
        if known is None and len(self.sessions) >= self.limits.max_sessions:
            return ReasonCode.QUOTA_EXCEEDED, ""
        greeting = _greeting(connect.properties)
        return (None, "") if greeting is None else self._refusal_of_node(greeting, known)

    def _refusal_of_node(self, greeting: Greeting, known: Session | None) -> tuple[ReasonCode | None, str]:
        """Two nodes must not go by one name, nor number their messages by one epoch: a disk was copied, or a backup
        restored. One that comes back is in the same life, or its last connection is gone."""
        for other in (known, self.nodes.get(greeting.epoch)):
            if other is not None and other.connection is not None and other.node is not None:
                peer = other.node
                if peer.life != greeting.life:
                    what = "name" if peer.name == greeting.name else "data"
                    return ReasonCode.SERVER_BUSY, f"another edge with this {what} is connected"
        if self.marks.is_held_by_another(greeting.epoch, (greeting.life, *greeting.lives)):
            return ReasonCode.CLIENT_IDENTIFIER_NOT_VALID, "another edge went on from the same data"
        return None, ""

    def refuse(self, connection: Connection, code: ReasonCode, version: int, reason: str = "") -> None:
        """Say no to a CONNECT, in the words of its version; `reason` is for another node."""
        properties = Properties()
        if reason:
            properties = Properties(reason_string=reason, user_property=Greeting(self.name, self.epoch).pairs())
        connection.channel.send(encode(ConnAck(False, code, properties), version))

    def _admit(self, connection: Connection, connect: Connect, verdict: Verdict, now: int) -> None:
        answer = Properties()
        client_id = connect.client_identifier
        if not client_id:
            client_id = self._make_client_id()
            answer.assigned_client_identifier = client_id
        session = self.sessions.get(client_id)
        if session is not None and session.connection is not None:
            self._take_over(session.connection, now)
            session = self.sessions.get(client_id)
        is_anew = session is not None and session.recorded and connect.clean_start
        if session is not None and connect.clean_start:
            self._discard(session, now)
            session = None
        session_present = session is not None
        if session is None:
            session = self.sessions[client_id] = Session(client_id, self)
        self._settle_in(session, connection, connect, verdict, answer)
        if connection.version == V5:
            answer.receive_maximum = self.limits.receive_maximum
            answer.maximum_packet_size = connection.max_packet_bytes
            answer.shared_subscription_available = 0
        connack = encode(ConnAck(session_present, ReasonCode.SUCCESS, answer), connection.version)
        if is_anew:
            self.engine.promises.made.append(Welcome(connection, connack))
        else:
            connection.channel.send(connack)
        if self.engine.promises.is_recording:
            self._record_arrival(session, now)
        if session_present:
            self._renew_forms(session, now)
            if session.recorded and (session.inflight or session.safe is not None):
                self.engine.promises.made.append(Return(session, connection))
            else:
                session.repeat(now)

    def _settle_in(
        self, session: Session, connection: Connection, connect: Connect, verdict: Verdict, answer: Properties
    ) -> None:
        """Join a session and its connection, with what the CONNECT asks for."""
        asked = connect.properties
        limits = self.limits
        session.connection = connection
        session.channel = connection.channel
        session.username = connect.username
        session.restricted = verdict.restricted
        if not verdict.restricted:
            connection.routes = self.router.routes.cached
        if self.engine.settlement.book is None:
            connection.plain = 1 << connection.version
        session.permissions.clear()
        session.left_at = session.expires_at = 0
        session.will = connect.will
        session.will_is_bare = connection.version != V5
        session.will_at = 0
        keep_alive = connect.keep_alive
        if connection.version == V5:
            session.expiry_interval = min(asked.session_expiry_interval or 0, limits.max_session_expiry_s)
            if session.expiry_interval != (asked.session_expiry_interval or 0):
                answer.session_expiry_interval = session.expiry_interval
            session.window = min(asked.receive_maximum or 0xFFFF, limits.receive_maximum)
            session.max_packet_bytes = asked.maximum_packet_size or 0
            if limits.max_keep_alive_s and not 0 < keep_alive <= limits.max_keep_alive_s:
                answer.server_keep_alive = keep_alive = limits.max_keep_alive_s
        else:
            session.expiry_interval = 0 if connect.clean_start else limits.max_session_expiry_s
            session.window = min(RECEIVE_MAXIMUM_OF_3_1_1, limits.receive_maximum)
            session.max_packet_bytes = 0
        session.encoding = encoding_of(connection.version, session.max_packet_bytes)
        earlier, session.node = session.node, self._greet(asked, answer) if connection.version == V5 else None
        if session.node is not None:
            self._notice(connection, session, earlier)
            self.nodes[session.node.epoch] = session
            connection.max_packet_bytes = limits.max_packet_bytes + MOST_STAMP_BYTES
            session.encoding = NodeForm(self.name, max_packet_bytes=session.max_packet_bytes)
        if session.expiry_interval:  # else as it was: what the journal knows of, it is told the end of
            session.persistent = True
        if session.queue is not None:
            session.queue.is_awaited = True
        connection.session = session
        connection.keep_alive_ms = keep_alive * 1500
        if keep_alive:
            self.engine.deadlines.schedule(connection, connection.last_heard + connection.keep_alive_ms)
        self.connected += 1

    def _record_arrival(self, session: Session, now: int) -> None:
        """Tell the journal of a client that came in, if its session or its will has to survive."""
        records = self.engine.promises.records
        if session.recorded or (session.number and not session.persistent):
            node = session.node.name if session.node is not None else ""
            will = testament(session)
            records.append(
                Resumed(session.number, session.username, session.expiry_interval, session.window, will, node)
            )
        elif session.persistent or session.will is not None:
            if not session.number:
                self.last_number += 1
                session.number = self.last_number
            session.recorded = session.persistent
            session.renumber()
            records += session_records(session, now)

    def _notice(self, connection: Connection, session: Session, earlier: Peer | None) -> None:
        """Say so where a node comes with another memory than it had: what waits was for the other one."""
        waiting = len(session.queue or ())
        if (
            waiting
            and earlier is not None
            and session.node is not None
            and earlier.epoch not in ("", session.node.epoch)
        ):
            self.report(connection, f"another data folder than before: {waiting} messages that wait for it go there")

    def _greet(self, asked: Properties, answer: Properties) -> Peer | None:
        """Whether the client is another node; if it is, tell it who we are, and what we have of it."""
        greeting = _greeting(asked)
        if greeting is None:
            return None
        has = tuple((mark.traffic_class, mark.sequence) for mark in self.marks.of(greeting.epoch))
        answer.user_property = Greeting(self.name, self.epoch, self.router.order, has=has).pairs()
        return Peer(greeting)

    def _renew_forms(self, session: Session, now: int) -> None:
        """The client may have come back with another version or packet limit: encode for that."""
        for filter, subscription in session.subscriptions.items():
            self.router.subscribe(filter, session, session.form(subscription), now)

    def _take_over(self, connection: Connection, now: int) -> None:
        """The same client identifier again: the older connection goes [MQTT-3.1.4-3]."""
        self.report(connection, "session taken over")
        if connection.version == V5:
            connection.channel.send(encode(Disconnect(ReasonCode.SESSION_TAKEN_OVER), V5))
        connection.end(now)

    # Leaving

    def left(self, connection: Connection, packet: Disconnect, now: int) -> None:
        """The client said DISCONNECT (3.14). Raises ProtocolError."""
        session = connection.session
        assert session is not None
        asked = packet.properties.session_expiry_interval
        if asked is not None:
            if asked and not session.expiry_interval:  # 3.14.2.2.2
                raise ProtocolError("DISCONNECT makes a session outlive its connection that did not")
            session.expiry_interval = min(asked, self.limits.max_session_expiry_s)
        if packet.reason_code != ReasonCode.DISCONNECT_WITH_WILL_MESSAGE:
            session.will = None
        connection.end(now)

    def gone(self, connection: Connection, now: int) -> None:
        """A connection has ended, however it did: will, expiry, or the end of the session."""
        session, connection.session = connection.session, None
        if session is None:
            return
        self.connected -= 1
        self.engine.pressure.left(connection.channel)
        if session.node is not None and self.nodes.get(session.node.epoch) is session:
            del self.nodes[session.node.epoch]
        session.connection = None
        session.channel = self.nowhere
        session.window = 0
        session.resend = None
        if session.queue is not None:
            session.queue.is_awaited = False
            session.queue.spill()
        self.away(session, now)

    def away(self, session: Session, now: int) -> None:
        """The client of a session has just left: its will, and what becomes of the session."""
        if session.number and session.expiry_interval:
            left = Left(session.number, session.expiry_interval, session.will is not None, now)
            self.engine.promises.records.append(left)
        if session.will is not None and not self._will_delay_ms(session):
            self._publish_will(session, now)
        if session.expiry_interval:
            self.wait_for(session, now)
        else:
            self._discard(session, now)

    def wait_for(self, session: Session, left_at: int) -> None:
        """The client of a session left then, and may come back: until its will is due, and its session ends."""
        session.left_at = left_at
        if session.will is not None:
            session.will_at = left_at + self._will_delay_ms(session)
        session.expires_at = 0 if session.expiry_interval == NEVER else left_at + session.expiry_interval * 1000
        times = [at for at in (session.will_at, session.expires_at) if at]
        if times:
            self.engine.deadlines.schedule(session, min(times))

    def end(self, session: Session, now: int) -> None:
        """Somebody who runs the node ends a session: its client, where it is there, is told and sent away, its will is
        published, what it was owed is dropped.
        """
        session.expiry_interval = 0
        connection = session.connection
        if connection is None:
            self._discard(session, now)
            return
        self.report(connection, "session ended by an operator")
        if connection.version == V5:
            connection.channel.send(encode(Disconnect(ReasonCode.ADMINISTRATIVE_ACTION), V5))
        connection.end(now)

    def _will_delay_ms(self, session: Session) -> int:
        will = session.will
        delay = 0 if will is None else will.properties.will_delay_interval or 0
        return 1000 * min(delay, session.expiry_interval)

    def _discard(self, session: Session, now: int) -> None:
        if session.will_at and session.will is not None:
            self._publish_will(session, now)
        if session.number:
            self.engine.promises.records.append(Ended(session.number))
        session.discard(now)
        session.persistent = session.recorded = False
        session.number = 0
        self.engine.deadlines.withdraw(session)
        if self.sessions.get(session.client_id) is session:
            del self.sessions[session.client_id]

    def absent(self, session: Session, now: int) -> int | None:
        """Do what is due for a client that is away: its will, the end of its session. When to look again."""
        if session.connection is not None:
            return None
        if session.will_at and session.will_at <= now:
            self._publish_will(session, now)
        if session.expires_at and session.expires_at <= now:
            self._discard(session, now)
            return None
        return min((at for at in (session.will_at, session.expires_at) if at), default=None)

    def _publish_will(self, session: Session, now: int) -> None:
        will, session.will, session.will_at = session.will, None, 0
        if will is None:
            return

        number = session.number

        def answer(verdict: Verdict, now: int) -> None:
            message = will_message(will, session, now)
            if number:
                self.engine.promises.records.append(WillSent(number))
            if verdict.allowed:
                self.router.publish(message, now)
            else:
                self.engine.settlement.refuse(message, Reason.NOT_PERMITTED, now)

        if will.topic.startswith(b"$"):
            answer(Verdict(False), now)
        elif session.restricted:
            ticket = self.engine.ticket(answer)
            topic = will.topic.decode()
            self.engine.questions.append(Permission(ticket, session.client_id, session.username, Action.PUBLISH, topic))
        else:
            answer(Verdict(True), now)

    def owed(self) -> Iterator[tuple[Message, Session, bool]]:
        """What clients have not confirmed: messages, to whom, and whether they were sent."""
        for session in self.sessions.values():
            for message, is_sent in session.owed():
                yield message, session, is_sent

    def close(self, now: int) -> None:
        """The node stops: tell every client (0x8B) and close. Wills are not sent: the clients did not fail."""
        for session in list(self.sessions.values()):
            connection = session.connection
            if connection is not None:
                session.will = None
                if connection.version == V5:
                    connection.channel.send(encode(Disconnect(ReasonCode.SERVER_SHUTTING_DOWN), V5))
                connection.end(now)


def _greeting(properties: Properties) -> Greeting | None:
    """How a client introduces itself, if it is another node."""
    try:
        greeting = Greeting.read(properties.user_property)
    except StampError:
        return None
    return greeting if greeting is not None and greeting.life else None


def will_message(will: Will, session: Session, now: int) -> Message:
    """A will as the message that it becomes now; its lifetime begins with its publication (3.1.3.2.4)."""
    lifetime = will.properties.message_expiry_interval
    expires_at = 0 if lifetime is None else now + lifetime * 1000
    header = read_header(will.properties)
    message = Message(will.topic, will.payload, will.qos, will.retain, header, session, expires_at)
    if session.will_is_bare:
        open_push(message, now)
    return message
