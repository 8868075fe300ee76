"""The message layer: datagrams by hand against one endpoint, and two endpoints over links that misbehave."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import pairwise
from random import Random

import pytest
from unit.link.coap.network import Network

from oriole.link.coap import Endpoint, Exchange, Failure, Observation, ObserveNumbers, Parameters, Peer
from oriole.wire.coap import Code, Message, Option, Options, Type, decode, encode_tail, encode_uint

NOW = 1_000_000
PATH = (Option.URI_PATH, b"x")
Answer = Callable[[Message, Exchange, int], None]


class Script:
    """A service that notes what it is asked and answers as told."""

    def __init__(self, answer: Answer | None = None) -> None:
        self.asked: list[Message] = []
        self.exchanges: list[Exchange] = []
        self.answer = answer
        self.answers: dict[bytes, bytes] = {}

    def ready(self, tail: bytes, address: Hashable, now: int) -> bytes | None:
        return self.answers.get(tail)

    def request(self, message: Message, exchange: Exchange, now: int) -> None:
        self.asked.append(message)
        self.exchanges.append(exchange)
        if self.answer is not None:
            self.answer(message, exchange, now)


class Inbox:
    """What a client hears."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.failures: list[Failure] = []

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    def response(self, message: Message, now: int) -> None:
        self.messages.append(message)

    def failed(self, failure: Failure, now: int) -> None:
        self.failures.append(failure)


def echo(message: Message, exchange: Exchange, now: int) -> None:
    exchange.respond(Code.CHANGED, encode_tail([], message.payload), now)


def endpoint(service: Script | None = None, seed: int = 1, **limits: int) -> Endpoint:
    return Endpoint(service, Random(seed).getrandbits, Parameters(**limits))


def put(message_id: int, type: Type = Type.CONFIRMABLE, options: Options | None = None) -> bytes:
    return Message(type, Code.PUT, message_id, b"tok", [PATH, *(options or [])], b"on").encode()


def sent(endpoint: Endpoint) -> list[Message]:
    """What the endpoint wants to send, taken from it."""
    outgoing, endpoint.outgoing = endpoint.outgoing, []
    return [decode(datagram) for datagram, _ in outgoing]


# -- requests that come in ---------------------------------------------------------------------------------------------


def test_an_answer_at_once_is_carried_by_the_acknowledgement() -> None:
    server = endpoint(Script(echo))
    server.receive(put(7), "peer", NOW)
    assert server.outgoing[0][1] == "peer"
    assert sent(server) == [Message(Type.ACKNOWLEDGEMENT, Code.CHANGED, 7, b"tok", [], b"on")]
    assert server.pending == 0


def test_an_answer_that_takes_long_is_a_message_of_its_own() -> None:
    service = Script()
    server = endpoint(service)
    server.receive(put(7), "peer", NOW)
    assert sent(server) == []
    assert server.deadline() == NOW + 1_000
    server.receive(put(7), "peer", NOW + 500)
    assert (len(service.asked), sent(server)) == (1, [])
    server.tick(NOW + 1_000)
    assert sent(server) == [Message(Type.ACKNOWLEDGEMENT, Code.EMPTY, 7)]
    server.receive(put(7), "peer", NOW + 1_500)
    assert sent(server) == [Message(Type.ACKNOWLEDGEMENT, Code.EMPTY, 7)]

    service.exchanges[0].respond(Code.CHANGED, b"", NOW + 3_000)
    (response,) = sent(server)
    assert (response.type, response.code, response.token) == (Type.CONFIRMABLE, Code.CHANGED, b"tok")
    server.receive(Message(Type.ACKNOWLEDGEMENT, Code.EMPTY, response.message_id).encode(), "peer", NOW + 3_100)
    server.tick(NOW + 300_000)
    assert (sent(server), server.deadline()) == ([], None)


def test_an_answer_within_the_second_needs_no_empty_acknowledgement() -> None:
    service = Script()
    server = endpoint(service)
    server.receive(put(7), "peer", NOW)
    service.exchanges[0].respond(Code.CHANGED, b"", NOW + 900)
    server.tick(NOW + 1_000)
    assert [message.type for message in sent(server)] == [Type.ACKNOWLEDGEMENT]


def test_a_duplicate_gets_the_same_answer_and_has_no_second_effect() -> None:
    service = Script(echo)
    server = endpoint(service)
    for later in (0, 2_000, 246_999):
        server.receive(put(7), "peer", NOW + later)
    first, second, third = sent(server)
    assert first == second == third
    assert len(service.asked) == 1
    server.receive(put(7), "another peer", NOW)
    server.receive(put(7), "peer", NOW + 247_000)
    assert len(service.asked) == 3


def test_a_non_confirmable_request_is_answered_alike_and_once() -> None:
    service = Script(echo)
    server = endpoint(service)
    for _ in range(2):
        server.receive(put(7, Type.NON_CONFIRMABLE), "peer", NOW)
    (response,) = sent(server)
    assert (response.type, response.code, response.token) == (Type.NON_CONFIRMABLE, Code.CHANGED, b"tok")
    assert len(service.asked) == 1


@pytest.mark.parametrize(
    ("unwanted", "code", "silent"), [(2, 0x44, True), (2, 0x84, False), (8, 0x84, True), (26, 0xA3, True)]
)
@pytest.mark.parametrize("type", [Type.CONFIRMABLE, Type.NON_CONFIRMABLE])
def test_no_response_holds_back_the_classes_it_names(type: Type, unwanted: int, code: int, silent: bool) -> None:
    """RFC 7967 §2.1."""
    server = endpoint(Script(lambda _message, exchange, now: exchange.respond(code, b"", now)))
    server.receive(put(7, type, [(Option.NO_RESPONSE, encode_uint(unwanted))]), "peer", NOW)
    codes = [message.code for message in sent(server)]
    assert codes == (([Code.EMPTY] if type == Type.CONFIRMABLE else []) if silent else [code])


def test_an_exchange_is_answered_once() -> None:
    service = Script(echo)
    endpoint(service).receive(put(7), "peer", NOW)
    with pytest.raises(RuntimeError):
        service.exchanges[0].respond(Code.CHANGED, b"", NOW)


def test_a_ready_answer_asks_nobody() -> None:
    service = Script(echo)
    server = endpoint(service)
    tail = encode_tail([(Option.CONTENT_FORMAT, b"")], b"21.5")
    service.answers[encode_tail([PATH])] = tail
    for token in (b"", b"12345678"):
        server.receive(Message(Type.CONFIRMABLE, Code.GET, 9, token, [PATH]).encode(), "peer", NOW)
        answer = Message(Type.ACKNOWLEDGEMENT, Code.CONTENT, 9, token, [(Option.CONTENT_FORMAT, b"")], b"21.5")
        assert sent(server) == [answer]
    assert service.asked == []
    server.receive(put(1), "peer", NOW)
    server.receive(Message(Type.NON_CONFIRMABLE, Code.GET, 9, b"", [PATH]).encode(), "peer", NOW)
    assert len(service.asked) == 2


def test_more_requests_than_the_service_may_hold_are_refused_with_a_time() -> None:
    service = Script()
    server = endpoint(service, max_pending=2)
    for message_id in range(3):
        server.receive(put(message_id), "peer", NOW)
    (refusal,) = sent(server)
    assert (refusal.code, refusal.uint(Option.MAX_AGE)) == (Code.SERVICE_UNAVAILABLE, 5)
    assert (len(service.asked), server.pending) == (2, 2)


# -- what makes no sense -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hexadecimal", "answer"),
    [
        ("40000102", "70000102"),  # ping
        ("50000102", ""),
        ("49010102" + "00" * 9, "70000102"),  # reserved token length
        ("40450102", "70000102"),  # response to nothing
        ("50450102", ""),
        ("60450102", ""),
        ("60000102", ""),
        ("70000102", ""),
        ("c0000102", ""),
        ("40", ""),
        ("", ""),
    ],
)
def test_what_makes_no_sense_is_reset_or_ignored(hexadecimal: str, answer: str) -> None:
    server = endpoint(Script(echo))
    server.receive(bytes.fromhex(hexadecimal), "peer", NOW)
    assert b"".join(datagram for datagram, _ in server.outgoing).hex() == answer
    assert server.ignored == (not answer)


GET = Message(Type.CONFIRMABLE, Code.GET, 9, b"", [PATH]).encode()


@pytest.mark.parametrize("datagram", [put(1), GET, bytes.fromhex("40000102"), bytes.fromhex("4f000102")])
def test_what_was_sent_to_a_group_is_not_answered(datagram: bytes) -> None:
    service = Script(echo)
    service.answers[encode_tail([PATH])] = b"\xffready"
    server = endpoint(service)
    server.receive(datagram, "peer", NOW, multicast=True)
    assert (server.outgoing, server.ignored) == ([], 1)


def test_a_client_has_no_resources() -> None:
    client = endpoint(None)
    client.receive(put(7), "peer", NOW)
    assert sent(client) == [Message(Type.RESET, Code.EMPTY, 7)]


# -- confirmable messages of ours --------------------------------------------------------------------------------------


def test_an_unanswered_request_is_sent_five_times_with_doubling_waits() -> None:
    network = Network(loss=1.0)
    client = network.join("client", endpoint(None))
    inbox = Inbox()
    client.request(Code.GET, [PATH], b"", "nobody", inbox, network.now)
    started, times = network.now, []
    while client.deadline() is not None:
        times += [network.now - started] * len(client.outgoing)
        client.outgoing.clear()
        network.now = client.deadline() or 0
        client.tick(network.now)
    waits = [later - earlier for earlier, later in pairwise(times)]
    assert len(times) == 5
    assert 2_000 <= waits[0] <= 3_000
    assert waits == [waits[0] << doublings for doublings in range(4)]
    assert inbox.failures == [Failure.TIMED_OUT]
    assert network.now - started == 31 * waits[0]


def test_first_waits_differ() -> None:
    deadlines = set()
    for seed in range(20):
        client = endpoint(None, seed)
        client.request(Code.GET, [PATH], b"", "peer", Inbox(), NOW)
        deadlines.add(client.deadline())
    assert len(deadlines) > 10


def test_one_confirmable_message_per_peer_the_others_wait_within_a_limit() -> None:
    client = endpoint(None, max_backlog=2)
    inbox = Inbox()
    tokens = [client.request(Code.GET, [PATH], b"", "peer", inbox, NOW) for _ in range(4)]
    client.request(Code.GET, [PATH], b"", "other peer", inbox, NOW)
    assert tokens[3] is None
    first, other = sent(client)
    client.receive(Message(Type.ACKNOWLEDGEMENT, Code.CONTENT, first.message_id, first.token).encode(), "peer", NOW)
    (second,) = sent(client)
    assert (first.token, second.token) == (tokens[0], tokens[1])
    assert other.token not in tokens
    client.tick(NOW + 1_000_000)
    for step in range(2, 6):
        client.tick(NOW + step * 1_000_000)
    assert inbox.failures == [Failure.TIMED_OUT] * 3
    assert client.deadline() is None


def test_a_rejected_request_fails_at_once() -> None:
    client = endpoint(None)
    inbox = Inbox()
    client.request(Code.GET, [PATH], b"", "peer", inbox, NOW)
    (request,) = sent(client)
    client.receive(Message(Type.RESET, Code.EMPTY, request.message_id + 1 & 0xFFFF).encode(), "peer", NOW)
    assert inbox.failures == []
    client.receive(Message(Type.RESET, Code.EMPTY, request.message_id).encode(), "peer", NOW)
    assert inbox.failures == [Failure.RESET]


def test_a_separate_response_without_its_acknowledgement_counts_as_one() -> None:
    """RFC 7252 §5.2.2: the empty acknowledgement may be lost."""
    client = endpoint(None)
    inbox = Inbox()
    token = client.request(Code.GET, [PATH], b"", "peer", inbox, NOW)
    assert token is not None
    sent(client)
    for _ in range(2):
        client.receive(Message(Type.CONFIRMABLE, Code.CONTENT, 99, token, [], b"late").encode(), "peer", NOW)
    assert sent(client) == [Message(Type.ACKNOWLEDGEMENT, Code.EMPTY, 99)] * 2
    assert inbox.payloads == [b"late"]
    client.tick(NOW + 100_000)
    assert (sent(client), inbox.failures) == ([], [])


# -- observations ------------------------------------------------------------------------------------------------------


class Observer(Observation):
    """An observer that notes what becomes of it."""

    def __init__(self, peer: Peer, token: bytes, newest: bytes | None = None) -> None:
        super().__init__(peer, token)
        self.log: list[object] = []
        self.newest = newest

    def acknowledged(self, now: int) -> None:
        self.log.append("acknowledged")

    def renewed(self, now: int) -> tuple[int, bytes] | None:
        return None if self.newest is None else (Code.CONTENT, encode_tail([], self.newest))

    def failed(self, failure: Failure, now: int) -> None:
        self.log.append(failure)


def observed(server: Endpoint, *tokens: bytes) -> list[Observer]:
    observers = [Observer(server.peer("peer"), token) for token in tokens]
    for observer in observers:
        server.observe(observer)
    return observers


def reset(message: Message) -> bytes:
    return Message(Type.RESET, Code.EMPTY, message.message_id).encode()


def test_notifications_share_their_tail() -> None:
    server = endpoint(Script())
    observers = observed(server, b"a", b"bb")
    server.notify(observers, encode_tail([(Option.OBSERVE, b"\x05")], b"on"))
    first, second = sent(server)
    assert (first.type, first.code, first.observe, first.payload) == (Type.NON_CONFIRMABLE, Code.CONTENT, 5, b"on")
    assert (first.token, second.token) == (b"a", b"bb")
    assert second.message_id == first.message_id + 1 & 0xFFFF


def test_a_reset_ends_the_observation_whose_notification_it_rejects() -> None:
    server = endpoint(Script())
    first, second = observed(server, b"a", b"b")
    server.notify([first, second], b"")
    to_first, _ = sent(server)
    server.receive(reset(to_first), "another peer", NOW)
    assert first.log == []
    server.receive(reset(to_first), "peer", NOW)
    assert (first.log, second.log) == ([Failure.RESET], [])
    assert list(server.peer("peer").observations) == [b"b"]


def test_a_late_reset_ends_the_only_observation_but_an_old_one_does_not() -> None:
    server = endpoint(Script())
    (observer,) = observed(server, b"a")
    for _ in range(70):
        server.notify([observer], b"")
    notifications = sent(server)
    server.receive(reset(notifications[0]), "peer", NOW)
    assert observer.log == []
    server.receive(reset(notifications[60]), "peer", NOW)
    assert observer.log == [Failure.RESET]


def test_a_confirmable_notification_that_nobody_acknowledges_ends_the_observation() -> None:
    server = endpoint(Script())
    (observer,) = observed(server, b"a")
    assert server.confirm(observer, Code.CONTENT, b"", NOW)
    assert not server.confirm(observer, Code.CONTENT, b"", NOW)
    now = NOW
    while (at := server.deadline()) is not None:
        now = at
        server.tick(now)
    assert (len(sent(server)), observer.log) == (5, [Failure.TIMED_OUT])
    assert server.peer("peer").idle
    assert now <= NOW + 93_000


def test_what_is_sent_again_is_the_newest_state() -> None:
    """RFC 7641 §4.5.2."""
    server = endpoint(Script())
    (observer,) = observed(server, b"a")
    server.confirm(observer, Code.CONTENT, encode_tail([], b"old"), NOW)
    observer.newest = b"new"
    server.tick(NOW + 3_000)
    old, new = sent(server)
    assert (old.payload, new.payload, new.type) == (b"old", b"new", Type.CONFIRMABLE)
    assert old.message_id != new.message_id
    server.receive(Message(Type.ACKNOWLEDGEMENT, Code.EMPTY, old.message_id).encode(), "peer", NOW + 3_001)
    assert observer.log == []
    server.receive(Message(Type.ACKNOWLEDGEMENT, Code.EMPTY, new.message_id).encode(), "peer", NOW + 3_002)
    assert observer.log == ["acknowledged"]


def test_an_older_reset_ends_nothing_where_it_could_mean_several() -> None:
    server = endpoint(Script())
    observers = observed(server, b"a", b"b")
    server.notify(observers, b"")
    server.notify(observers, b"")
    server.receive(reset(sent(server)[0]), "peer", NOW)
    assert [observer.log for observer in observers] == [[], []]


def test_what_is_forgotten_hears_nothing_more() -> None:
    server = endpoint(Script())
    (observer,) = observed(server, b"a")
    server.confirm(observer, Code.NOT_FOUND, b"", NOW)
    server.forget(observer)
    server.tick(NOW + 3_000)
    first, again = sent(server)
    assert first == again
    server.receive(Message(Type.ACKNOWLEDGEMENT, Code.EMPTY, first.message_id).encode(), "peer", NOW + 3_001)
    assert (observer.log, server.peer("peer").idle) == ([], True)


def test_the_same_token_replaces_the_observation() -> None:
    server = endpoint(Script())
    (old,) = observed(server, b"a")
    new = Observer(server.peer("peer"), b"a")
    assert server.observe(new) is old
    server.forget(old)
    assert server.peer("peer").observations == {b"a": new}


def test_peers_with_nothing_open_make_room() -> None:
    server = endpoint(Script(echo), max_peers=4)
    (observer,) = observed(server, b"a")
    for number in range(100):
        server.receive(put(1, Type.NON_CONFIRMABLE), number, NOW)
    assert server.peer("peer") is observer.peer
    assert len(server._peers) == 4


# -- two endpoints over links ------------------------------------------------------------------------------------------

LINKS = {
    "direct": Network,
    "slow": lambda seed: Network(seed, delay_ms=900),
    "repeating": lambda seed: Network(seed, repeats=0.5, delay_ms=50),
    "lossy": lambda seed: Network(seed, loss=0.15, delay_ms=50),
    "all of it": lambda seed: Network(seed, loss=0.15, repeats=0.3, delay_ms=700),
}


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize("seed", range(4))
def test_every_request_has_its_effect_once(link: Callable[[int], Network], seed: int) -> None:
    network = link(seed)
    service = Script(echo)
    network.join("server", endpoint(service, seed))
    client = network.join("client", endpoint(None, seed + 100))
    inbox = Inbox()
    wanted = [str(number).encode() for number in range(40)]
    for payload in wanted:
        client.request(Code.PUT, [PATH], payload, "server", inbox, network.now)
        network.run(20_000)
    network.run(300_000)
    effects = [message.payload for message in service.asked]
    assert len(set(effects)) == len(effects)
    assert len(inbox.messages) + len(inbox.failures) == len(wanted)
    assert len(inbox.failures) <= 2
    assert set(inbox.payloads) <= set(effects)


@pytest.mark.parametrize("link", LINKS.values(), ids=LINKS)
@pytest.mark.parametrize("seed", range(4))
def test_an_observer_ends_with_the_newest_state_and_never_goes_back(link: Callable[[int], Network], seed: int) -> None:
    network = link(seed)
    numbers = ObserveNumbers()
    observers: list[Observation] = []

    def register(message: Message, exchange: Exchange, now: int) -> None:
        observation = Observation(exchange.peer, exchange.token)
        server.observe(observation)
        observers.append(observation)
        exchange.respond(Code.CONTENT, tail(b"0", now), now)

    def tail(value: bytes, now: int) -> bytes:
        return encode_tail([(Option.OBSERVE, encode_uint(numbers.following(now)))], value)

    server = network.join("server", endpoint(Script(register), seed))
    client = network.join("client", endpoint(None, seed + 100))
    inbox = Inbox()
    client.request(Code.GET, [(Option.OBSERVE, b""), PATH], b"", "server", inbox, network.now)
    network.run(60_000)
    for value in range(1, 50):
        server.notify(observers, tail(str(value).encode(), network.now))
        network.run(10)
    network.run(2_000)
    assert server.confirm(observers[0], Code.CONTENT, tail(b"last", network.now), network.now)
    network.run(60_000)
    seen = [int(payload) for payload in inbox.payloads[:-1]]
    assert seen == sorted(set(seen))
    assert inbox.payloads[-1] == b"last"


def test_a_client_that_cancels_makes_the_server_forget() -> None:
    network = Network()
    observers: list[Observer] = []

    def register(message: Message, exchange: Exchange, now: int) -> None:
        observers.append(Observer(exchange.peer, exchange.token))
        server.observe(observers[0])
        exchange.respond(Code.CONTENT, encode_tail([(Option.OBSERVE, b"\x01")]), now)

    server = network.join("server", endpoint(Script(register)))
    client = network.join("client", endpoint(None))
    token = client.request(Code.GET, [(Option.OBSERVE, b""), PATH], b"", "server", Inbox(), network.now)
    assert token is not None
    network.run(100)
    client.cancel(token, "server")
    server.confirm(observers[0], Code.CONTENT, encode_tail([(Option.OBSERVE, b"\x02")]), network.now)
    network.run(100)
    assert observers[0].log == [Failure.RESET]
