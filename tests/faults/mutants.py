"""Nodes with a fault that costs somebody a message, or gives it twice: the checker has to find each of them.

`nosync` changes nothing of the node: its disk is not told by a sync what to keep (see `broker`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from broker.core.router import Router
from broker.journal.durable import DurableJournal
from broker.mqtt.connection import Connection
from broker.mqtt.service import MqttService
from oriole.link.uplink.marks import Marks


def early() -> None:
    """Acknowledges before the commit."""
    append = DurableJournal.append

    def appended(self: DurableJournal, batch: Any) -> int:
        self.committed = append(self, batch)
        return self.committed

    DurableJournal.append = appended  # type: ignore[method-assign]


def forgetful() -> None:
    """Does not write down by which packet identifier a QoS 2 message came in."""
    take_over = Router.take_over

    def taken_over(
        self: Router, messages: Any, session: int = 0, packet_identifiers: Any = (), mark: Any = None
    ) -> None:
        take_over(self, messages, 0, (), mark)

    Router.take_over = taken_over  # type: ignore[method-assign]


def amnesic() -> None:
    """Takes what an edge repeats for news."""
    Marks.highest = lambda *_: 0  # type: ignore[method-assign]
    Marks.of = lambda *_: iter(())  # type: ignore[method-assign]


def takeover() -> None:
    """Drops what a session is owed and was not sent, when another connection takes it over."""
    take_over = MqttService._take_over

    def taken_over(self: MqttService, connection: Connection, now: int) -> None:
        if connection.session is not None and connection.session.queue is not None:
            connection.session.queue.clear()
        take_over(self, connection, now)

    MqttService._take_over = taken_over  # type: ignore[method-assign]


def nosync() -> None:
    """Its disk does not keep what it is asked to."""


MUTANTS: dict[str, Callable[[], None]] = {
    mutant.__name__: mutant for mutant in (early, nosync, forgetful, amnesic, takeover)
}
