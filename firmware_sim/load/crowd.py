"""All clients of a run: connected, subscribed, and each in its role."""

import os
import select
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from firmware_sim.load.connection import Connection
from firmware_sim.load.errors import LoadError
from firmware_sim.load.handshake import Handshake
from firmware_sim.load.latency import Latency
from firmware_sim.load.ledger import Ledger, Tally
from firmware_sim.load.publisher import Publisher
from firmware_sim.load.stream import Stream
from firmware_sim.load.subscriber import Subscriber
from firmware_sim.load.workload import Workload

_READY_S = 60
_CONNECTS_PER_POLL = 100
_EVENTS_PER_POLL = 1024


class Client(NamedTuple):
    """A connection in its role."""

    connection: Connection
    role: Publisher | Subscriber


class Crowd:
    """The connections of one workload and the poller that serves them.

    Raises LoadError from every method that talks to the broker.
    """

    def __init__(self, address: tuple[str, int], workload: Workload) -> None:
        self._address = address
        self._workload = workload
        self._connections: dict[int, Connection] = {}
        self._handshakes: list[Handshake] = []
        self.poller = select.epoll()
        self.tally = Tally()
        self.latency = Latency(workload.pubs, workload.deliveries)
        self.clients: list[Client] = []
        """Subscribers, then publishers in the order of their numbers."""

    @property
    def publishers(self) -> list[tuple[Publisher, Connection]]:
        """All publishers in the order of their numbers."""
        return [(role, connection) for connection, role in self.clients if isinstance(role, Publisher)]

    def connect(self) -> None:
        """Connect and subscribe everybody: the holder of unrelated filters, subscribers, then publishers."""
        workload = self._workload
        streams = {number: self._stream(number) for number in range(workload.pubs)}
        if workload.filters:
            self._add_subscriber({}, self._open("filters", workload.unrelated_filters()))
        for number in range(workload.subs):
            connection = self._open(f"sub-{number}", [workload.filter(number)], workload.qos, workload.persistent)
            heard = workload.heard_by(number)
            all_heard = len(heard) == workload.pubs
            self._add_subscriber(streams if all_heard else {key: streams[key] for key in heard}, connection)
        for number, stream in streams.items():
            connection = self._open(f"pub-{number}", ())
            publisher = Publisher(stream, window=workload.window, latency=self.latency, send=connection.put)
            self.clients.append(Client(connection, publisher))
        self._wait_until_ready()
        for connection, role in self.clients:
            connection.receiver = role

    def poll(self, timeout_s: float) -> None:
        """Wait at most so long for the broker, then read and write whatever can be."""
        for number, events in self.poller.poll(timeout_s, _EVENTS_PER_POLL):
            connection = self._connections[number]
            if events & ~select.EPOLLOUT:
                connection.readable(time.monotonic_ns())
            if events & select.EPOLLOUT:
                connection.writable()

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()
        self.poller.close()

    def _open(self, name: str, filters: Sequence[str], qos: int = 0, persistent: bool = False) -> Connection:
        connection = Connection(self._address, self.poller)
        self._connections[connection.fileno()] = connection
        handshake = Handshake(
            f"load-{os.getpid()}-{name}",
            filters,
            qos=qos,
            version=self._workload.v,
            persistent=persistent,
            send=connection.put,
        )
        connection.receiver = handshake
        connection.flush()
        self._handshakes.append(handshake)
        if len(self._handshakes) % _CONNECTS_PER_POLL == 0:
            self.poll(0)
        return connection

    def _stream(self, publisher: int) -> Stream:
        workload = self._workload
        return Stream(publisher, workload.topic(publisher), qos=workload.qos, size=workload.size, version=workload.v)

    def _add_subscriber(self, heard: Mapping[int, Stream], connection: Connection) -> None:
        subscriber = Subscriber(
            heard,
            qos=self._workload.qos,
            size=self._workload.size,
            ledger=Ledger(self.tally),
            latency=self.latency,
            send=connection.put,
        )
        self.clients.append(Client(connection, subscriber))

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + _READY_S
        while not all(handshake.ready for handshake in self._handshakes):
            self.poll(0.1)
            if time.monotonic() > deadline:
                raise LoadError(f"the broker did not accept all connections within {_READY_S} s")
        self._handshakes.clear()
