"""What may leave for a client only when the journal has what it rests on: deliveries, repeats, a new beginning."""

from __future__ import annotations

from typing import TYPE_CHECKING

from oriole.wire.mqtt import ProtocolError, ReasonCode

if TYPE_CHECKING:
    from broker.mqtt.connection import Connection
    from broker.mqtt.session import Session


class Departure:
    """Lets deliveries go whose records had to be safe first."""

    __slots__ = ("_session", "_upto")

    def __init__(self, session: Session, upto: int) -> None:
        self._session = session
        self._upto = upto

    def kept(self, now: int) -> None:
        """The journal has them."""
        self._session.departs(self._upto, now)

    def broken(self, now: int) -> None:
        """It has not: they go when the client has come back, and that is safe."""
        if self._session.connection is not None:
            self._session.connection.fail(ProtocolError("the journal failed", ReasonCode.UNSPECIFIED_ERROR), now)


class Return:
    """Lets a session go on that had deliveries in flight, once it is safe what its client has confirmed of them.

    A PUBREL ends an exchange on the other side. Were it sent, and the PUBREC before it lost, the message would be sent
    again after a restart, and the client take it for another one.
    """

    __slots__ = ("_connection", "_session", "_upto", "_window")

    def __init__(self, session: Session, connection: Connection) -> None:
        self._session = session
        self._connection = connection
        self._upto = session.last_number
        self._window, session.window = session.window, 0

    def kept(self, now: int) -> None:
        """The journal has it."""
        session = self._session
        if session.connection is self._connection:
            session.window = self._window
            session.repeat(now)
            session.departs(self._upto, now)

    def broken(self, now: int) -> None:
        """It has not: the client may try again."""
        if self._session.connection is self._connection:
            self._connection.fail(ProtocolError("the journal failed", ReasonCode.UNSPECIFIED_ERROR), now)


class Welcome:
    """Lets a client in that begins anew, once it is safe that its old session is gone.

    Were that lost, what it sends by QoS 2 could be taken for repeats of what the old one had received.
    """

    __slots__ = ("_connack", "_connection")

    def __init__(self, connection: Connection, connack: bytes) -> None:
        self._connection = connection
        self._connack = connack
        connection.channel.hold()

    def kept(self, now: int) -> None:
        """The journal has it."""
        if self._connection.session is not None:
            self._connection.channel.send(self._connack)
        self._connection.channel.release()

    def broken(self, now: int) -> None:
        """It has not: the client may try again."""
        self._connection.channel.release()
        self._connection.end(now)
