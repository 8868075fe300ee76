"""The message layer of CoAP over UDP for one socket, server and client side (RFC 7252 §4, §5; RFC 7641).

Datagrams and a clock reading come in; datagrams for `outgoing` and calls to the service come out. It owns
retransmission, the recognition of duplicates, acknowledgements and the list of observers per peer. It knows nothing of
resources. Confirmable messages wait in one heap with one live entry per peer; an acknowledgement does not touch it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable
from heapq import heappop, heappush
from typing import Protocol

from oriole.link.coap.exchange import Exchange
from oriole.link.coap.observation import Observation
from oriole.link.coap.parameters import Parameters
from oriole.link.coap.replies import Key, Replies
from oriole.link.coap.request import Receiver, Request
from oriole.link.coap.transmission import Failure, Peer, Transmission
from oriole.wire.coap import (
    CoapError,
    Code,
    Message,
    Option,
    Options,
    Remedy,
    Type,
    decode,
    encode_tail,
    encode_uint,
    is_request,
)

BUSY_S = 5
"""Max-Age of a 5.03 for too many open requests: when the client may try again."""

GET = int(Code.GET)
"""A plain integer, because an enumeration's members take long to look up where every datagram passes."""

_READY_HEADS = {
    0x40 | token_length: bytes((0x40 | Type.ACKNOWLEDGEMENT << 4 | token_length, Code.CONTENT))
    for token_length in range(9)
}
"""First byte of a confirmable request to the first two of a 2.05 that is its acknowledgement."""


class Service(Protocol):
    """Who answers requests."""

    def ready(self, tail: bytes, address: Hashable, now: int) -> bytes | None:
        """The hot path: for a confirmable GET from `address`, given everything after its token, everything after the
        token of a 2.05 that is known to be its answer; None to have the request read and handed to `request`."""

    def request(self, message: Message, exchange: Exchange, now: int) -> None:
        """Answer by `exchange.respond`, before this returns or later. CoapError is turned into an answer."""


class Endpoint:
    """One CoAP endpoint.

    Args:
        service: answers requests; None for a client, which rejects them.
        getrandbits: `getrandbits(n)` gives n random bits, like `random.Random.getrandbits`.
        parameters: times and limits.

    Attributes:
        outgoing: datagrams and where to send them, in order. Whoever sends them empties the list.
        pending: requests that the service has and has not answered.
        ignored: datagrams that were no CoAP, or nothing that may be answered.
    """

    __slots__ = (
        "_getrandbits",
        "_parameters",
        "_peers",
        "_replies",
        "_requests",
        "_service",
        "_tokens",
        "_waiting",
        "_wakeups",
        "_wakeups_made",
        "ignored",
        "outgoing",
        "pending",
    )

    def __init__(
        self, service: Service | None, getrandbits: Callable[[int], int], parameters: Parameters | None = None
    ) -> None:
        self._service = service
        self._getrandbits = getrandbits
        self._parameters = parameters = parameters if parameters is not None else Parameters()
        self._replies = Replies(parameters.exchange_lifetime_ms, parameters.max_replies, parameters.max_reply_bytes)
        self._peers: dict[Hashable, Peer] = {}
        self._requests: dict[tuple[Hashable, bytes], Request] = {}
        self._tokens = getrandbits(32)
        self._waiting: deque[tuple[int, Exchange]] = deque()
        self._wakeups: list[tuple[int, int, Peer]] = []
        self._wakeups_made = 0
        self.outgoing: list[tuple[bytes, Hashable]] = []
        self.pending = 0
        self.ignored = 0

    def receive(self, datagram: bytes, address: Hashable, now: int, multicast: bool = False) -> None:
        """Take a datagram from `address`. What was sent to a multicast group is not answered (RFC 7252 §8)."""
        if len(datagram) > 4 and datagram[1] == GET and self._service is not None and not multicast:
            head = _READY_HEADS.get(datagram[0])
            if head is not None:
                token_end = 4 + (datagram[0] & 15)
                tail = self._service.ready(datagram[token_end:], address, now)
                if tail is not None:
                    self.outgoing.append((head + datagram[2:token_end] + tail, address))
                    return
        try:
            message = decode(datagram)
        except CoapError as error:
            if error.remedy is Remedy.RESET and not multicast:
                self._reset(datagram[2] << 8 | datagram[3], address)
            else:
                self.ignored += 1
            return
        if multicast:
            self.ignored += 1
        elif message.type == Type.RESET:
            self._received_reset(message.message_id, address, now)
        elif message.type == Type.ACKNOWLEDGEMENT:
            self._received_acknowledgement(message, address, now)
        elif is_request(message.code):
            self._received_request(message, address, now)
        elif message.code == Code.EMPTY:
            self._reject(message, address)
        else:
            self._received_response(message, address, now)

    def deadline(self) -> int | None:
        """When `tick` is needed next, in milliseconds; None if nothing waits for time."""
        wakeup = self._wakeups[0][0] if self._wakeups else None
        waiting = self._waiting[0][0] if self._waiting else None
        if wakeup is None or waiting is None:
            return waiting if wakeup is None else wakeup
        return min(wakeup, waiting)

    def tick(self, now: int) -> None:
        """Send again what was not acknowledged, give up on who never answers, acknowledge requests that take long."""
        while self._wakeups and self._wakeups[0][0] <= now:
            at, _, peer = heappop(self._wakeups)
            if peer.wake_at == at:
                peer.wake_at = 0
                self._due(peer, now)
        while self._waiting and (self._waiting[0][0] <= now or self._waiting[0][1].answered):
            _, exchange = self._waiting.popleft()
            if not exchange.answered:
                exchange.acknowledge(now)

    # -- server side -------------------------------------------------------------------------------------------------

    def observe(self, observation: Observation) -> Observation | None:
        """Register an observation; the one of the same peer and token that it replaces, forgotten (RFC 7641 §4.1)."""
        observations = observation.peer.observations
        replaced = observations.get(observation.token)
        if replaced is not None:
            self.forget(replaced)
        observations[observation.token] = observation
        return replaced

    def forget(self, observation: Observation) -> None:
        """End an observation without a word to the peer. A notification that waits to be acknowledged still does."""
        peer = observation.peer
        if peer.observations.get(observation.token) is observation:
            del peer.observations[observation.token]
        if peer.outstanding is not None and peer.outstanding.sender is observation:
            peer.outstanding.sender = None

    def notify(self, observations: Iterable[Observation], tail: bytes) -> None:
        """Send each observer a non-confirmable 2.05 with the same options and payload."""
        outgoing = self.outgoing
        for observation in observations:
            peer = observation.peer
            peer.message_id = message_id = (peer.message_id + 1) & 0xFFFF
            observation.last_message_id = message_id
            outgoing.append((observation.head + message_id.to_bytes(2) + observation.token + tail, peer.address))

    def confirm(self, observation: Observation, code: int, tail: bytes, now: int) -> bool:
        """Send one observer a confirmable notification. False, and nothing sent, while it owes us another answer."""
        peer = observation.peer
        if peer.outstanding is not None:
            return False
        transmission = self._confirmable(peer, code, observation.token, tail, observation)
        observation.last_message_id = transmission.message_id
        self._start(peer, transmission, now)
        return True

    def send(self, type: Type, code: int, token: bytes, tail: bytes, address: Hashable) -> None:
        """Send a message that nobody acknowledges, with a message ID of ours."""
        message_id = self.peer(address).next_message_id().to_bytes(2)
        self.outgoing.append((bytes((0x40 | type << 4 | len(token), code)) + message_id + token + tail, address))

    def send_confirmable(self, code: int, token: bytes, tail: bytes, address: Hashable, now: int) -> None:
        """Send a message that the peer has to acknowledge; without that where too many such wait for it already."""
        peer = self.peer(address)
        if not self._enqueue(peer, self._confirmable(peer, code, token, tail, None), now):
            self.send(Type.NON_CONFIRMABLE, code, token, tail, address)

    def reply(self, key: Key, datagram: bytes, now: int) -> None:
        """Answer a message, and its duplicates from now on, with `datagram`."""
        self._replies.finish(key, datagram, now)
        self.outgoing.append((datagram, key[0]))

    def peer(self, address: Hashable) -> Peer:
        """What is open with `address`. Peers with nothing open are forgotten when there are too many."""
        peer = self._peers.get(address)
        if peer is None:
            self._make_room()
            peer = self._peers[address] = Peer(address, self._getrandbits(16))
        return peer

    # -- client side -------------------------------------------------------------------------------------------------

    def request(
        self, code: Code, options: Options, payload: bytes, address: Hashable, receiver: Receiver, now: int
    ) -> bytes | None:
        """Send a confirmable request; its token, or None where too many already wait for this peer.

        A request that is acknowledged and never answered stays open until `cancel`.
        """
        self._tokens = (self._tokens + 1) & 0xFFFF_FFFF
        token = self._tokens.to_bytes(4, "big")
        observes = (Option.OBSERVE, b"") in options
        request = Request(receiver, token, observes)
        peer = self.peer(address)
        if not self._enqueue(peer, self._confirmable(peer, code, token, encode_tail(options, payload), request), now):
            return None
        self._requests[address, token] = request
        return token

    def cancel(self, token: bytes, address: Hashable) -> None:
        """Forget a request: a notification for it will be rejected, which ends the observation (RFC 7641 §3.6)."""
        self._requests.pop((address, token), None)

    # -- what comes in -----------------------------------------------------------------------------------------------

    def _received_request(self, message: Message, address: Hashable, now: int) -> None:
        key = address, message.message_id
        known = self._replies.get(key, now)
        if known is not None:
            if known:
                self.outgoing.append((known, address))
            return
        service = self._service
        if service is None:
            self._reject(message, address)
            return
        self._replies.begin(key, now)
        exchange = Exchange(self, message, address)
        self.pending += 1
        if self.pending > self._parameters.max_pending:
            wait = encode_tail([(Option.MAX_AGE, encode_uint(BUSY_S))], b"too many open requests")
            exchange.respond(Code.SERVICE_UNAVAILABLE, wait, now)
            return
        try:
            service.request(message, exchange, now)
        except CoapError as error:
            exchange.refuse(error, now)
        if not exchange.answered:
            waiting = self._waiting
            while waiting and waiting[0][1].answered:
                waiting.popleft()
            waiting.append((now + self._parameters.separate_after_ms, exchange))

    def _received_response(self, message: Message, address: Hashable, now: int) -> None:
        request = self._requests.get((address, message.token))
        if message.type != Type.ACKNOWLEDGEMENT:
            key = address, message.message_id
            known = self._replies.get(key, now)
            if known is not None:
                if known:
                    self.outgoing.append((known, address))
                return
            if request is None:
                self._reject(message, address)
                return
            self._replies.begin(key, now)
            if message.type == Type.CONFIRMABLE:
                head = bytes((0x40 | Type.ACKNOWLEDGEMENT << 4, Code.EMPTY))
                self.reply(key, head + message.message_id.to_bytes(2), now)
        if request is None:
            return
        peer = self._peers.get(address)
        if peer is not None and peer.outstanding is not None and peer.outstanding.sender is request:
            self._settle(peer, now)  # a response says that the request arrived (RFC 7252 §5.2.2)
        if not request.received(message, now):
            self._requests.pop((address, message.token), None)

    def _received_acknowledgement(self, message: Message, address: Hashable, now: int) -> None:
        peer = self._peers.get(address)
        if peer is None or peer.outstanding is None or peer.outstanding.message_id != message.message_id:
            self.ignored += 1
            return
        sender = self._settle(peer, now).sender
        if sender is not None:
            sender.acknowledged(now)
        if message.code != Code.EMPTY:
            self._received_response(message, address, now)

    def _received_reset(self, message_id: int, address: Hashable, now: int) -> None:
        peer = self._peers.get(address)
        if peer is None:
            self.ignored += 1
        elif peer.outstanding is not None and peer.outstanding.message_id == message_id:
            self._fail(self._settle(peer, now), address, Failure.RESET, now)
        else:
            for observation in list(peer.observations.values()):
                if observation.was_reset(message_id):
                    self.forget(observation)
                    observation.failed(Failure.RESET, now)
                    return

    def _reject(self, message: Message, address: Hashable) -> None:
        """Answer a confirmable message that makes no sense here, a ping among them, with Reset; ignore others."""
        if message.type == Type.CONFIRMABLE:
            self._reset(message.message_id, address)
        else:
            self.ignored += 1

    def _reset(self, message_id: int, address: Hashable) -> None:
        self.outgoing.append((bytes((0x40 | Type.RESET << 4, Code.EMPTY)) + message_id.to_bytes(2), address))

    # -- confirmable messages of ours --------------------------------------------------------------------------------

    def _confirmable(
        self, peer: Peer, code: int, token: bytes, tail: bytes, sender: Observation | Request | None
    ) -> Transmission:
        message_id = peer.next_message_id()
        head = bytes((0x40 | Type.CONFIRMABLE << 4 | len(token), code))
        return Transmission(head + message_id.to_bytes(2) + token + tail, message_id, sender)

    def _enqueue(self, peer: Peer, transmission: Transmission, now: int) -> bool:
        if peer.outstanding is None:
            self._start(peer, transmission, now)
        elif len(peer.backlog) < self._parameters.max_backlog:
            peer.backlog.append(transmission)
        else:
            return False
        return True

    def _start(self, peer: Peer, transmission: Transmission, now: int) -> None:
        parameters = self._parameters
        spread = parameters.ack_timeout_ms * parameters.ack_random_percent // 100
        transmission.timeout_ms = parameters.ack_timeout_ms + (self._getrandbits(10) * spread >> 10)
        peer.outstanding = transmission
        self._transmit(peer, transmission, now)

    def _transmit(self, peer: Peer, transmission: Transmission, now: int) -> None:
        transmission.attempts += 1
        transmission.resend_at = now + transmission.timeout_ms
        self.outgoing.append((transmission.datagram, peer.address))
        self._wake(peer, transmission.resend_at)

    def _wake(self, peer: Peer, at: int) -> None:
        """Have `_due` look at `peer` at `at` or before; an entry that is due sooner will see to the later one."""
        if peer.wake_at and peer.wake_at <= at:
            return
        peer.wake_at = at
        self._wakeups_made += 1
        heappush(self._wakeups, (at, self._wakeups_made, peer))

    def _due(self, peer: Peer, now: int) -> None:
        transmission = peer.outstanding
        if transmission is None:
            return
        if transmission.resend_at > now:
            self._wake(peer, transmission.resend_at)
        elif transmission.attempts > self._parameters.max_retransmit:
            peer.outstanding = None
            gone = [transmission, *peer.backlog]
            peer.backlog.clear()
            for lost in gone:
                self._fail(lost, peer.address, Failure.TIMED_OUT, now)
        else:
            transmission.timeout_ms *= 2
            self._renew(peer, transmission, now)
            self._transmit(peer, transmission, now)

    def _renew(self, peer: Peer, transmission: Transmission, now: int) -> None:
        """Send newer state instead, as a new message with the attempts that are left (RFC 7641 §4.5.2)."""
        sender = transmission.sender
        if not isinstance(sender, Observation) or (newer := sender.renewed(now)) is None:
            return
        renewed = self._confirmable(peer, newer[0], sender.token, newer[1], sender)
        transmission.datagram = renewed.datagram
        transmission.message_id = sender.last_message_id = renewed.message_id

    def _settle(self, peer: Peer, now: int) -> Transmission:
        """End the outstanding transmission and begin with the next one."""
        transmission = peer.outstanding
        assert transmission is not None
        peer.outstanding = None
        if peer.backlog:
            self._start(peer, peer.backlog.popleft(), now)
        return transmission

    def _fail(self, transmission: Transmission, address: Hashable, failure: Failure, now: int) -> None:
        sender = transmission.sender
        if isinstance(sender, Observation):
            self.forget(sender)
        elif isinstance(sender, Request):
            self.cancel(sender.token, address)
        if sender is not None:
            sender.failed(failure, now)

    def _make_room(self) -> None:
        """Forget a peer with nothing open if there are too many. The service bounds how many have something open."""
        peers = self._peers
        for _ in range(min(len(peers), 16) if len(peers) >= self._parameters.max_peers else 0):
            address = next(iter(peers))
            peer = peers.pop(address)
            if peer.idle:
                return
            peers[address] = peer
