"""All clients of a run: connected, subscribed, and each in its role."""

import os
import select
import time
from collections.abc import Mapping, Sequence

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


class Crowd:
    """The connections of one workload and the poller that serves them.

    Raises LoadError from every method that talks to the broker.
    """

    def __init__(self, address: tuple[str, int], workload: Workload) -> None:
        self._address = address
        self._workload = workload
        self._poller = select.epoll()
        self._connections: dict[int, Connection] = {}
        self._handshakes: list[Handshake] = []
        self.latency = Latency(workload.pubs, workload.deliveries)
        self.streams = {number: self._stream(number) for number in range(workload.pubs)}
        self.tally = Tally()
        self.publishers: list[tuple[Publisher, Connection]] = []

    def __len__(self) -> int:
        return len(self._connections)

    def connect(self) -> None:
        """Connect and subscribe everybody: the holder of unrelated filters, then subscribers, then publishers."""
        workload, heard_by_all = self._workload, self.streams
        roles: list[tuple[Connection, Subscriber | Publisher]] = []
        if workload.filters:
            connection = self._open("filters", workload.unrelated_filters())
            roles.append((connection, self._subscriber({}, connection)))
        for number in range(workload.subs):
            connection = self._open(
                f"sub-{number}", [workload.filter(number)], workload.qos, persistent=workload.persistent
            )
            heard = workload.heard_by(number)
            streams = heard_by_all if len(heard) == workload.pubs else {key: self.streams[key] for key in heard}
            roles.append((connection, self._subscriber(streams, connection)))
        for number, stream in self.streams.items():
            connection = self._open(f"pub-{number}", ())
            publisher = Publisher(stream, window=workload.window, latency=self.latency, send=connection.put)
            self.publishers.append((publisher, connection))
            roles.append((connection, publisher))
        deadline = time.monotonic() + _READY_S
        while not all(handshake.ready for handshake in self._handshakes):
            self.poll(0.1)
            if time.monotonic() > deadline:
                raise LoadError(f"the broker did not accept all connections within {_READY_S} s")
        self._handshakes.clear()
        for connection, role in roles:
            connection.receiver = role

    def poll(self, timeout_s: float) -> None:
        """Wait at most so long for the broker, then read and write whatever can be."""
        for number, events in self._poller.poll(timeout_s, _EVENTS_PER_POLL):
            connection = self._connections[number]
            if events & ~select.EPOLLOUT:
                connection.readable(time.monotonic_ns())
            if events & select.EPOLLOUT:
                connection.writable()

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()
        self._poller.close()

    def _open(self, name: str, filters: Sequence[str], qos: int = 0, *, persistent: bool = False) -> Connection:
        connection = Connection(self._address, self._poller)
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

    def _subscriber(self, heard: Mapping[int, Stream], connection: Connection) -> Subscriber:
        workload = self._workload
        return Subscriber(
            heard,
            qos=workload.qos,
            size=workload.size,
            ledger=Ledger(self.tally),
            latency=self.latency,
            send=connection.put,
        )
