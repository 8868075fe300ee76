"""CoAP resources on top of a router: topics to PUT, GET, observe and DELETE (draft-ietf-core-coap-pubsub).

A topic is state here: what is PUT is kept as its retained value. `serve` may stop at a question about the client and is
then called again with the same request; nothing has changed by then.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass

from broker.coap.caller import Caller, check_queries, is_endpoint_name
from broker.coap.directory import links
from broker.coap.guests import Guest, Guests
from broker.coap.observers import Observer, Rounds
from broker.coap.port import Port
from broker.coap.ready import ReadyAnswers
from broker.coap.representation import NOTHING_YET, Representation
from broker.coap.settings import CoapSettings
from broker.coap.topic_path import DATA, topic_of
from broker.coap.uploads import Uploads
from broker.core.channel import Channel
from broker.core.message import Header, Message, Stored
from broker.core.pushes import open_push
from broker.core.questions import Action
from broker.core.router import Router
from broker.core.settlement import Reason
from oriole.link.coap import Exchange
from oriole.wire.coap import (
    Block,
    CoapError,
    Code,
    Option,
    Options,
    Remedy,
    Type,
    decode_uint,
    encode_tail,
    encode_uint,
    recognised,
)
from oriole.wire.coap import Message as Request
from oriole.wire.coap.blocks import MAX_BLOCK_BYTES
from oriole.wire.coap.content_formats import media_type_of

_ADDRESSING = {Option.URI_HOST, Option.URI_PORT, Option.URI_PATH, Option.URI_QUERY, Option.NO_RESPONSE}
_CONDITIONS = {Option.IF_MATCH, Option.IF_NONE_MATCH}
READ_OPTIONS = frozenset[int](_ADDRESSING | {Option.OBSERVE, Option.ACCEPT, Option.ETAG, Option.BLOCK2, Option.SIZE2})
PUBLISH_OPTIONS = frozenset[int](
    _ADDRESSING | _CONDITIONS | {Option.CONTENT_FORMAT, Option.BLOCK1, Option.SIZE1, Option.ACCEPT}
)
DELETE_OPTIONS = frozenset[int](_ADDRESSING | _CONDITIONS)
LOOK_OPTIONS = frozenset[int](_ADDRESSING | {Option.ACCEPT, Option.BLOCK2})

LINK_FORMAT = encode_uint(40)
WELL_KNOWN = [b".well-known", b"core"]
REGISTER, DEREGISTER = 0, 1


@dataclass(frozen=True, slots=True)
class Call:
    """A request to a topic, by a client that may make it."""

    port: Port
    request: Request
    exchange: Exchange
    guest: Guest
    topic: bytes


class Answer:
    """A response that waits for the journal."""

    __slots__ = ("_call", "_code", "_tail")

    def __init__(self, call: Call, code: Code, tail: bytes) -> None:
        self._call = call
        self._code = code
        self._tail = tail

    def kept(self, now: int) -> None:
        """It is safe: say so."""
        self._call.exchange.respond(self._code, self._tail, now)
        self._call.port.stir()

    def broken(self, now: int) -> None:
        """It is not, and the client must not think so."""
        problem = CoapError(Remedy.ANSWER, "the journal failed", Code.INTERNAL_SERVER_ERROR)
        self._call.exchange.refuse(problem, now)
        self._call.port.stir()


class CoapService:
    """The CoAP side of a router.

    Args:
        router: where topics live.
        settings: limits and choices.
        getrandbits: `getrandbits(n)` gives n random bits; whoever can guess them can forge acknowledgements.
    """

    __slots__ = (
        "_getrandbits",
        "_guests",
        "_methods",
        "_ready",
        "_retained",
        "_rounds",
        "_uploads",
        "engine",
        "router",
        "settings",
    )

    def __init__(self, router: Router, settings: CoapSettings, getrandbits: Callable[[int], int]) -> None:
        self.router = router
        self.engine = router.engine
        self.settings = settings
        self._getrandbits = getrandbits
        self._retained = router.retained
        self._guests = Guests(router.engine, settings.max_guests)
        self._ready = ReadyAnswers(settings.max_ready_bytes)
        self._rounds = Rounds()
        self._uploads = Uploads(settings.max_upload_bytes, settings.max_payload_bytes)
        self._methods: dict[int, tuple[Callable[[Call, int], None], Action, frozenset[int]]] = {
            Code.GET: (self._read, Action.SUBSCRIBE, READ_OPTIONS),
            Code.PUT: (self._publish, Action.PUBLISH, PUBLISH_OPTIONS),
            Code.DELETE: (self._delete, Action.PUBLISH, DELETE_OPTIONS),
        }

    @property
    def observer_count(self) -> int:
        """Observations of all topics."""
        return len(self._rounds)

    def open(self, channel: Channel) -> Port:
        """A datagram socket that is expected to speak CoAP."""
        return Port(self, channel, self._getrandbits)

    def forget_permissions(self, address: Hashable) -> None:
        """Verdicts about a client have changed: ask again before it is served next."""
        self._guests.forget(address)

    def ready(self, tail: bytes, address: Hashable, now: int) -> bytes | None:
        """The ready-made answer to a GET whose options are `tail`, if there is a true one that `address` may have."""
        entry = self._ready.entries.get(tail)
        if entry is None or address not in self._guests.trusted or self._retained.get(entry[0], now) is not entry[1]:
            return None
        return entry[2]

    def serve(self, port: Port, request: Request, exchange: Exchange, now: int) -> None:
        """Answer a request, at once or when everything it depends on is known."""
        try:
            self._serve(port, request, exchange, now)
        except CoapError as error:
            exchange.refuse(error, now)
        port.stir()

    def current(self, topic: bytes, now: int) -> Message | None:
        """The value of a topic: its retained message, or what is held for late comers elsewhere."""
        message = self._retained.get(topic, now)
        if message is not None:
            return message
        held = [message for memory in self.router.memories for message in memory.matching(topic, now)]
        return held[-1] if held else None

    def owed(self) -> Iterator[tuple[Message, Observer, bool]]:
        """What observers have not confirmed: messages, to whom, and that they were sent."""
        for observer in self._rounds.observers:
            if observer.unsettled is not None:
                yield observer.unsettled, observer, True

    def left(self, observer: Observer, now: int) -> None:
        """An observation has ended."""
        self._rounds.remove(observer)
        self.router.unsubscribe(observer.topic, observer, now)

    # Requests

    def _serve(self, port: Port, request: Request, exchange: Exchange, now: int) -> None:
        def again(later: int) -> None:
            self.serve(port, request, exchange, later)

        guest = self._guests.admit(exchange.address, again)
        if guest is None:
            return
        if request.option(Option.PROXY_URI) is not None or request.option(Option.PROXY_SCHEME) is not None:
            raise CoapError(Remedy.ANSWER, "this is no proxy", Code.PROXYING_NOT_SUPPORTED)
        path = request.values(Option.URI_PATH)
        if path[:2] != DATA or len(path) == 2:
            self._look(request, path, exchange, now)
            return
        method = self._methods.get(request.code)
        if method is None:
            raise CoapError(Remedy.ANSWER, "a topic takes GET, PUT and DELETE", Code.METHOD_NOT_ALLOWED)
        handle, action, known = method
        topic = topic_of(path[2:])
        request.options = recognised(request.options, known)
        check_queries(request)
        call = Call(port, request, exchange, guest, topic)
        try:
            permitted = self._guests.permit(guest, exchange.address, action, topic, again)
        except CoapError:
            if action is Action.PUBLISH:
                self.engine.settlement.refuse(_message(call, request.payload, now), Reason.NOT_PERMITTED, now)
            raise
        if permitted:
            handle(call, now)

    def _look(self, request: Request, path: list[bytes], exchange: Exchange, now: int) -> None:
        """The resources that are not topics."""
        if path not in (WELL_KNOWN, DATA[:1]):
            raise CoapError(Remedy.ANSWER, "topics are below /ps/data/", Code.NOT_FOUND)
        if request.code != Code.GET:
            raise CoapError(Remedy.ANSWER, "this can only be read", Code.METHOD_NOT_ALLOWED)
        request.options = recognised(request.options, LOOK_OPTIONS)
        if request.option(Option.ACCEPT) not in (None, LINK_FORMAT):
            raise CoapError(Remedy.ANSWER, "links are application/link-format", Code.NOT_ACCEPTABLE)
        queries = [q.decode(errors="replace") for q in request.values(Option.URI_QUERY) if not is_endpoint_name(q)]
        exchange.respond(Code.CONTENT, encode_tail([(Option.CONTENT_FORMAT, LINK_FORMAT)], links(queries)), now)

    # GET

    def _read(self, call: Call, now: int) -> None:
        """The value, once or from now on."""
        message = self.current(call.topic, now)
        registers = call.request.observe == REGISTER
        if call.request.observe == DEREGISTER:
            _deregister(call.exchange, now)
        if message is None:
            if not registers or self.settings.strict:
                raise CoapError(Remedy.ANSWER, "no value", Code.NOT_FOUND)
            options = [*NOTHING_YET, *self._register(call, None, now)]
            call.exchange.respond(Code.CONTENT, encode_tail(options), now)
            return
        representation = Representation(message)
        accept = call.request.uint(Option.ACCEPT)
        if accept is not None and accept != representation.content_format:
            raise CoapError(Remedy.ANSWER, "the value has another Content-Format", Code.NOT_ACCEPTABLE)
        value = call.request.option(Option.BLOCK2)
        block = Block.decode(value) if value is not None else None
        # A later block of a notification's value is fetched without a new registration (RFC 7959 §2.6).
        extra = self._register(call, message, now) if registers and (block is None or not block.number) else []
        if representation.etag in call.request.values(Option.ETAG):
            options = [(int(Option.ETAG), representation.etag), *representation.options(now), *extra]
            call.exchange.respond(Code.VALID, encode_tail(options), now)
            return
        tail = representation.content(block, extra, now)
        call.exchange.respond(Code.CONTENT, tail, now)
        self._make_ready(call, representation, tail)

    def _make_ready(self, call: Call, value: Representation, tail: bytes) -> None:
        """Keep the answer to a GET that says nothing but the path; that of an expiring value would count down."""
        request = call.request
        plain = all(number == Option.URI_PATH for number, _ in request.options) and not request.payload
        if plain and not value.message.expires_at and len(value.payload) <= MAX_BLOCK_BYTES:
            self._ready.put(encode_tail(request.options), call.topic, value.message, tail)

    def _register(self, call: Call, value: Message | None, now: int) -> Options:
        """Put a client on the list of observers: the Observe option that says so, or none if there are too many.

        The answer that carries it shows the `value` of the topic, if there is one.
        """
        port, peer, token = call.port, call.exchange.peer, call.exchange.token
        known = peer.observations.get(token)
        observer = known if isinstance(known, Observer) else None
        if observer is not None and observer.topic != call.topic:
            observer.end(now)
            observer = None
        if observer is None:
            settings = self.settings
            many = len(peer.observations) >= settings.max_observers_per_client
            if many or len(self._rounds) >= settings.max_observers:
                return []
            label = Caller(call.request, call.exchange.address).label
            observer = Observer(port, peer, token, call.topic, label)
            port.endpoint.observe(observer)
            self._rounds.add(observer)
            self.engine.deadlines.schedule(self._rounds, now + self._rounds.pause_ms)
            self.router.subscribe(call.topic, observer, port.form, now)
        if value is not None:
            self.engine.settlement.send(Stored.copy_of(value), (observer,), now)
        return [(int(Option.OBSERVE), encode_uint(port.numbers.following(now)))]

    # PUT and DELETE

    def _publish(self, call: Call, now: int) -> None:
        """The value is kept and goes to everyone who subscribed."""
        request = call.request
        self._check_conditions(call, now)
        payload = request.payload
        extra: Options = []
        block = request.option(Option.BLOCK1)
        if block is not None:
            extra.append((int(Option.BLOCK1), block))
            key = call.exchange.address, call.topic
            whole = self._uploads.add(
                key, Block.decode(block), request.option(Option.CONTENT_FORMAT), request.payload, now
            )
            if whole is None:
                call.exchange.respond(Code.CONTINUE, encode_tail(extra), now)
                return
            payload = whole
        if len(payload) > self.settings.max_payload_bytes:
            limit = (int(Option.SIZE1), encode_uint(self.settings.max_payload_bytes))
            call.exchange.respond(Code.REQUEST_ENTITY_TOO_LARGE, encode_tail([limit], b"too large"), now)
            return
        if not payload:
            raise CoapError(Remedy.ANSWER, "a value is never empty: DELETE removes it", Code.BAD_REQUEST)
        code = Code.CREATED if self._retained.get(call.topic, now) is None else Code.CHANGED
        self._route(call, _message(call, payload, now), code, extra, now)

    def _delete(self, call: Call, now: int) -> None:
        """The topic has no value any more, and its observers hear so."""
        self._check_conditions(call, now)
        if self._retained.get(call.topic, now) is None:
            call.exchange.respond(Code.DELETED, b"", now)
        else:
            self._route(call, _message(call, b"", now), Code.DELETED, [], now)

    def _route(self, call: Call, message: Message, code: Code, options: Options, now: int) -> None:
        """Publish if there is room everywhere; answer when the journal has it."""
        router = self.router
        route = router.routes.resolve(message.topic)
        if router.obstacle(message, route) is not None:
            self.engine.settlement.refuse(message, Reason.QUEUE_FULL, now)
            wait = (int(Option.MAX_AGE), encode_uint(self.settings.retry_after_s))
            call.exchange.respond(Code.SERVICE_UNAVAILABLE, encode_tail([wait], b"no room"), now)
            return
        router.deliver(message, route, now)
        # A socket that all clients share is not held for one of them: they wait for their answers as it is.
        self.engine.pressure.met.clear()
        self.engine.promises.made.append(Answer(call, code, encode_tail(options)))

    def _check_conditions(self, call: Call, now: int) -> None:
        """If-Match and If-None-Match (RFC 7252 §5.10.8)."""
        etags = call.request.values(Option.IF_MATCH)
        nothing = call.request.option(Option.IF_NONE_MATCH) is not None
        if not etags and not nothing:
            return
        message = self._retained.get(call.topic, now)
        matches = message is not None and (b"" in etags or Representation(message).etag in etags)
        if (nothing and message is not None) or (etags and not matches):
            raise CoapError(Remedy.ANSWER, "the value is another one", Code.PRECONDITION_FAILED)


def _deregister(exchange: Exchange, now: int) -> None:
    observer = exchange.peer.observations.get(exchange.token)
    if isinstance(observer, Observer):
        observer.end(now)


def _message(call: Call, payload: bytes, now: int) -> Message:
    """The new value of a topic. A confirmable publish is owed to everyone, as one of QoS 1 is; a non-confirmable one
    is sent once.
    """
    request = call.request
    qos = 1 if request.type == Type.CONFIRMABLE else 0
    message = Message(call.topic, payload, qos, True, _header(request), Caller(request, call.exchange.address))
    open_push(message, now)
    return message


def _header(request: Request) -> Header | None:
    value = request.option(Option.CONTENT_FORMAT)
    media_type = media_type_of(decode_uint(value)) if value is not None else None
    return Header(content_type=media_type) if media_type is not None else None
