"""`sessions` and `end session`: who is there, who is behind, and the end of a session whose client never comes back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from typing import TYPE_CHECKING

import msgspec

from broker.control.commands import Asker, Commands, Done, RefusedError
from broker.control.safety import until_safe
from broker.core.channel import address_of
from oriole.sessions.row import SessionRow

if TYPE_CHECKING:
    from broker.listeners.host import Host
    from broker.mqtt.service import MqttService
    from broker.mqtt.session import Session


class Sessions(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which sessions: all, or `clients` by their identifiers; of these, all or those that are `behind`."""

    clients: list[str] = []
    behind: bool = False


class EndSession(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Whose session."""

    client: str


class SessionCommands:
    """The commands about the sessions of one service, and about `others` whom messages wait for."""

    __slots__ = ("_host", "_others", "_service")

    def __init__(self, host: Host, service: MqttService, others: Callable[[], Iterator[SessionRow]]) -> None:
        self._host = host
        self._service = service
        self._others = others

    def register(self, commands: Commands) -> None:
        """Add them to those of a node."""
        commands.register("sessions", Sessions, self.sessions)
        commands.register("end session", EndSession, self.end)

    async def sessions(self, asked: Sessions, _: Asker) -> AsyncGenerator[object, None]:
        """A row for each session, as it is when its turn comes."""
        service = self._service
        now = self._host.now()
        for session in self._chosen(asked.clients):
            if service.sessions.get(session.client_id) is session and (not asked.behind or is_behind(session)):
                yield row(session, now)
        if not asked.clients:
            for other in self._others():
                if other.queued or not asked.behind:
                    yield other
        yield Done({"sessions": len(service.sessions), "connected": service.connected})

    def _chosen(self, clients: list[str]) -> Iterator[Session]:
        """These, or all that there are now; sessions come and go while an answer is under way."""
        sessions = self._service.sessions
        if not clients:
            return iter(list(sessions.values()))
        for client in clients:
            if client not in sessions:
                raise RefusedError(f"there is no session of {client!r}")
        return iter([sessions[client] for client in dict.fromkeys(clients)])

    async def end(self, asked: EndSession, _: Asker) -> AsyncGenerator[object, None]:
        """What the session was, once it is safely gone."""
        session = next(self._chosen([asked.client]))
        now = self._host.now()
        was = row(session, now)
        self._service.end(session, now)
        await until_safe(self._host)
        yield was


def is_behind(session: Session) -> bool:
    """Whether messages wait for it, other than those that its client may be about to confirm."""
    return bool(session.queue) or (session.connection is None and bool(session.inflight))


def row(session: Session, now: int) -> SessionRow:
    """What there is to say about a session."""
    connection = session.connection
    is_away = connection is None
    return SessionRow(
        client=session.client_id,
        node=None if session.node is None else session.node.name,
        peer=None if connection is None else address_of(connection.channel.peer),
        away_s=(now - session.left_at) // 1000 if is_away else None,
        ends_in_s=(session.expires_at - now) // 1000 if is_away and session.expires_at else None,
        subscriptions=len(session.subscriptions),
        queued=len(session.queue or ()),
        queued_bytes=session.queue.bytes if session.queue is not None else 0,
        in_flight=len(session.inflight),
        is_full=session.full,
    )
