"""A port on CoAP in virtual time: `oriole.link.coap`'s endpoint as the client of a topic server."""

from collections.abc import Sequence
from random import Random

from firmware_sim.devices.port import Access, Delivery, Owner
from oriole.link.coap import Endpoint, Failure
from oriole.wire.coap import Code, Message, Option

from .loop import SECOND_NS, Timeline
from .network import Network, Route

JSON = b"\x32"
RETRY_S = 1.0
CLOSE_S = 1.0
"""So long are answers awaited to what a device said before it sleeps."""


class CoapPort:
    """An endpoint of its own (one UDP socket). See `firmware_sim.devices.port.Port`."""

    latest_only = True

    def __init__(
        self, network: Network, timeline: Timeline, access: Access, routes: Sequence[Route], random: Random
    ) -> None:
        self._network = network
        self._timeline = timeline
        self._access = access
        self._routes = list(routes)
        self._random = random
        self._meter = access.meter
        self._is_wanted = False
        self._is_open = False
        self._is_stalled = False
        self._unread: list[bytes] = []
        self._observations: dict[str, _Observation] = {}
        self._puts: dict[_Put, None] = {}
        self._alarm_ns = 0
        self._socket = 0  # sockets so far: an address that no other has
        self._endpoint = Endpoint(None, random.getrandbits)

    # ---- What the device asks for

    def open(self, owner: Owner) -> None:
        """See `Port`."""
        self._owner = owner
        if not self._is_wanted:
            self._shut()
            self._is_wanted = self._is_open = True
            if self._meter is not None:
                self._meter.woke(self._timeline.now)
            self._socket += 1
            self._endpoint = Endpoint(None, self._random.getrandbits)
            self._network.bind(self._address, self)
            if self._meter is not None:
                self._meter.connected(self._timeline.now)
            self._timeline.at(self._timeline.now, self._opened, self._socket)

    def _opened(self, socket: int) -> None:
        if self._is_wanted and socket == self._socket:
            self._owner.connected(resumed=False)

    @property
    def _address(self) -> tuple[str, int]:
        return self._access.client_id, self._socket

    def sleep(self) -> None:
        """See `Port`: the socket is closed when all is answered, or soon; observations are registered again when it
        wakes.
        """
        self._is_wanted = False
        self._observe_no_more()
        if self._puts:
            self._timeline.at(self._timeline.now + round(CLOSE_S * SECOND_NS), self._left, self._socket)
        else:
            self._shut()

    def _left(self, socket: int) -> None:
        if socket == self._socket:
            self._shut()

    def fail(self, keeps_state: bool, silently: bool) -> None:
        """See `Port`."""
        self._shut()

    def stall(self, stalled: bool) -> None:
        """See `Port`."""
        self._is_stalled = stalled
        unread, self._unread = self._unread, []
        for datagram in unread:
            self.receive(datagram)

    def roam(self) -> None:
        """See `Port`."""
        self._routes.append(self._routes.pop(0))
        if self._is_wanted:
            self._shut()
            self._owner.disconnected("went over to another node")
            self.open(self._owner)

    async def close(self) -> None:
        """See `Port`."""
        self._shut()

    def subscribe(self, topic_filter: str, qos: int) -> None:
        """See `Port`."""
        observation = self._observations[topic_filter] = _Observation(self, topic_filter)
        observation.register()

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool, ticket: int, lifetime_s: int = 0) -> None:
        """See `Port`."""
        if not self._is_wanted:
            return
        put = _Put(self, topic, ticket)
        if self.ask(Code.PUT, topic, payload, put) is None:
            self._owner.refused(ticket, "the device's own queue is full")
        else:
            self._puts[put] = None

    def forget(self, topic: str) -> None:
        """See `Port`. A run in virtual time ends with its brokers: there is nothing to leave behind."""

    def read(self, topic: str) -> None:
        """See `Port`."""
        if self._is_wanted:
            self.ask(Code.GET, topic, b"", _Get(self._owner, topic))

    # ---- The endpoint

    @property
    def owner(self) -> Owner:
        """Whose port it is."""
        return self._owner

    @property
    def keep_alive_s(self) -> int:
        """After so long an observation is asked for again; 0 for never."""
        return self._access.keep_alive_s

    def ask(self, code: Code, topic: str, payload: bytes, receiver: object, observe: bool = False) -> bytes | None:
        """Send a request; its token, or None where too many wait."""
        options = [(Option.OBSERVE, b"")] if observe else []
        options += [(Option.URI_PATH, part.encode()) for part in ("ps", "data", *topic.split("/"))]
        if payload:
            options.append((Option.CONTENT_FORMAT, JSON))
        options.append((Option.URI_QUERY, f"ep={self._access.client_id}".encode()))
        token = self._endpoint.request(code, options, payload, self._server, receiver, self._timeline.now_ms())  # type: ignore[arg-type]
        self._flush()
        return token

    def ended(self, put: "_Put") -> None:
        """What was published is answered, or never will be."""
        del self._puts[put]
        if not self._puts and not self._is_wanted:
            self._flush()  # or it would be sent by a radio that sleeps
            self._shut()

    def forget_request(self, token: bytes) -> None:
        """Wait no more for an answer."""
        self._endpoint.cancel(token, self._server)

    @property
    def _server(self) -> Route:
        return self._routes[0]

    def receive(self, datagram: bytes) -> None:
        """The network brought a datagram."""
        if self._is_stalled:
            self._unread.append(datagram)
            return
        if self._meter is not None:
            self._meter.received(len(datagram), self._timeline.now)
        self._endpoint.receive(datagram, self._server, self._timeline.now_ms())
        self._flush()

    def later(self, seconds: float, observation: "_Observation", number: int) -> None:
        """Look at an observation again."""
        self._timeline.at(self._timeline.now + round(seconds * SECOND_NS), observation.again, number)

    def _shut(self) -> None:
        self._is_wanted = False
        self._observe_no_more()
        if self._is_open:
            self._is_open = False
            if self._meter is not None:
                self._meter.slept(self._timeline.now)
            self._network.unbind(self._address)
            self._unread.clear()
            puts, self._puts = self._puts, {}
            for put in puts:
                put.given_up()

    def _observe_no_more(self) -> None:
        for observation in self._observations.values():
            observation.end()
        self._observations.clear()

    def _flush(self) -> None:
        endpoint = self._endpoint
        outgoing, endpoint.outgoing = endpoint.outgoing, []
        for datagram, _ in outgoing:
            if self._meter is not None:
                self._meter.sent(len(datagram), self._timeline.now)
            self._network.send(self._server, datagram, self._address)
        deadline = endpoint.deadline()
        if deadline is not None and (not self._alarm_ns or deadline * 1_000_000 < self._alarm_ns):
            self._alarm_ns = max(deadline * 1_000_000, self._timeline.now)
            self._timeline.at(self._alarm_ns, self._alarm, self._alarm_ns)

    def _alarm(self, set_for_ns: int) -> None:
        if set_for_ns != self._alarm_ns:
            return  # an earlier one took its place
        self._alarm_ns = 0
        if self._is_open:
            self._endpoint.tick(self._timeline.now_ms())
            self._flush()


class _Put:
    """Waits for the answer to a publish."""

    __slots__ = ("_port", "_ticket", "_topic")

    def __init__(self, port: CoapPort, topic: str, ticket: int) -> None:
        self._port = port
        self._topic = topic
        self._ticket = ticket

    def response(self, message: Message, now: int) -> None:
        """The server's answer."""
        if message.code >> 5 == 2:
            self._port.owner.accepted(self._ticket)
        else:
            self._port.owner.refused(self._ticket, f"{message.code >> 5}.{message.code & 31:02}")
        self._port.ended(self)

    def failed(self, failure: Failure, now: int) -> None:
        """There is none."""
        self._port.owner.unanswered(self._ticket, f"PUT {self._topic}: {failure.value}")
        self._port.ended(self)

    def given_up(self) -> None:
        """The device did not wait for it."""
        self._port.owner.unanswered(self._ticket, f"PUT {self._topic}: the device was gone before an answer came")


class _Get:
    """Waits for a value that was asked for."""

    __slots__ = ("_owner", "_topic")

    def __init__(self, owner: Owner, topic: str) -> None:
        self._owner = owner
        self._topic = topic

    def response(self, message: Message, now: int) -> None:
        """The server's answer."""
        self._owner.answered(self._topic, message.payload if message.code >> 5 == 2 else None)

    def failed(self, failure: Failure, now: int) -> None:
        """There is none."""
        self._owner.unanswered(None, f"GET {self._topic}: {failure.value}")


class _Observation:
    """One topic that is observed: registered, renewed at the device's keep-alive, and again after a failure."""

    __slots__ = ("_is_first", "_port", "_token", "number", "topic")

    def __init__(self, port: CoapPort, topic: str) -> None:
        self._port = port
        self.topic = topic
        self.number = 0
        """Registrations so far: what belongs to an earlier one is over."""
        self._token: bytes | None = None
        self._is_first = True

    def register(self) -> None:
        """Ask for the topic."""
        self.end()
        self._is_first = True
        self._token = self._port.ask(Code.GET, self.topic, b"", self, observe=True)
        if self._port.keep_alive_s:
            self._port.later(self._port.keep_alive_s, self, self.number)

    def end(self) -> None:
        """It is over: what still comes is refused."""
        self.number += 1
        if self._token is not None:
            self._port.forget_request(self._token)

    def again(self, number: int) -> None:
        """Time to ask again, unless that was done or it is over."""
        if number == self.number:
            self.register()

    def response(self, message: Message, now: int) -> None:
        """The value, or a newer one."""
        owner = self._port.owner
        if message.code >> 5 != 2:
            self.failed(Failure.RESET, now)
            return
        stored, self._is_first = self._is_first, False
        if stored:
            owner.subscribed(self.topic)
        if message.payload:
            owner.delivered(Delivery(self.topic, message.payload, qos=1, repeat=False, stored=stored))

    def failed(self, failure: Failure, now: int) -> None:
        """Try again soon."""
        self.number += 1
        self._port.owner.unanswered(None, f"observing {self.topic}: {failure.value}")
        self._port.later(RETRY_S, self, self.number)
