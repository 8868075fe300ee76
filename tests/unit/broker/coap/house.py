"""A router with a CoAP service and pretend clients: datagrams in, datagrams out, and time by hand."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from random import Random

from broker.coap.service import CoapService
from broker.coap.settings import CoapSettings
from broker.core.channel import Channel
from broker.core.engine import Engine
from broker.core.message import Message
from broker.core.promises import Journal
from broker.core.questions import Question, Verdict
from broker.core.router import Router
from broker.journal.memory import MemoryJournal
from oriole.wire.coap import Code, Option, Options, Type, decode
from oriole.wire.coap import Message as CoapMessage

WELCOME = Verdict(True)


class DatagramChannel(Channel):
    """Keeps what would be sent, by address."""

    __slots__ = ("port", "sent")

    def flush(self) -> None:
        for datagram, address in self.port.take():
            self.sent.append((address, decode(datagram)))


class Recipient:
    """A sink that keeps messages: somebody who is no CoAP client. It is its own form."""

    full = persistent = remote = False
    takes = 0

    def __init__(self) -> None:
        self.messages: list[Message] = []

    def merge(self, other: Recipient) -> Recipient:
        return self

    def has_room_for(self, message: Message) -> bool:
        return False

    def recipients(self, message: Message, sinks: Sequence[Recipient]) -> Sequence[Recipient]:
        return ()

    def deliver(self, message: Message, sinks: Sequence[Recipient], now: int) -> None:
        self.messages.append(message)

    def forward(self, packets: bytes, count: int, sinks: Sequence[Recipient], now: int) -> None:
        raise AssertionError("takes is 0")


class House:
    """One broker, seen from its clients."""

    def __init__(
        self,
        settings: CoapSettings | None = None,
        journal: Journal | None = None,
        decide: Callable[[Question], Verdict | None] = lambda question: WELCOME,
    ) -> None:
        self.now = 10_000_000
        self.engine = Engine(journal if journal is not None else MemoryJournal())
        self.router = Router(self.engine)
        self.service = CoapService(self.router, settings or CoapSettings(), Random(1).getrandbits)
        self.channel = DatagramChannel(self.engine, "socket")
        self.channel.sent = []
        self.port = self.channel.port = self.service.open(self.channel)
        self.decide = decide
        self.asked: list[Question] = []
        self._message_id = 0

    def turn(self) -> None:
        """The end of a turn: verdicts, commits, output."""
        while self.engine.questions:
            question = self.engine.questions.pop(0)
            self.asked.append(question)
            verdict = self.decide(question)
            if verdict is not None:
                self.engine.verdict(question.ticket, verdict, self.now)
        self.engine.turn(self.now)

    def send(
        self,
        code: int,
        path: str | list[bytes],
        payload: bytes = b"",
        options: Options | None = None,
        token: bytes = b"t",
        type: Type = Type.CONFIRMABLE,
        peer: Hashable = "peer",
    ) -> CoapMessage:
        """Send a request and let the turn end; the request."""
        segments = path.encode().split(b"/") if isinstance(path, str) else path
        self._message_id += 1
        uri = [(int(Option.URI_PATH), segment) for segment in segments]
        request = CoapMessage(type, code, self._message_id, token, [*uri, *(options or [])], payload)
        self.give(request, peer)
        return request

    def ask(
        self,
        code: int,
        path: str | list[bytes],
        payload: bytes = b"",
        options: Options | None = None,
        token: bytes = b"t",
        type: Type = Type.CONFIRMABLE,
        peer: Hashable = "peer",
    ) -> CoapMessage:
        """Send a request; its answer, which comes in the same turn. Notifications stay in `channel.sent`."""
        request = self.send(code, path, payload, options, token, type, peer)
        for position, (address, message) in enumerate(self.channel.sent):
            mine = message.message_id == request.message_id if type == Type.CONFIRMABLE else message.token == token
            if address == peer and mine and message.type in (Type.ACKNOWLEDGEMENT, Type.NON_CONFIRMABLE):
                del self.channel.sent[position]
                return message
        raise AssertionError(f"no answer to {request}")

    def give(self, message: CoapMessage, peer: Hashable = "peer") -> None:
        """Hand a datagram to the broker and let the turn end."""
        self.port.endpoint.receive(message.encode(), peer, self.now)
        self.port.stir()
        self.turn()

    def put(self, topic: str, payload: bytes, **more: Hashable) -> CoapMessage:
        return self.ask(Code.PUT, f"ps/data/{topic}", payload, peer=more.get("peer", "publisher"))

    def observe(self, topic: str, token: bytes = b"t", peer: Hashable = "peer") -> CoapMessage:
        return self.ask(Code.GET, f"ps/data/{topic}", options=[(Option.OBSERVE, b"")], token=token, peer=peer)

    def publish(self, topic: str, payload: bytes, qos: int = 0, retain: bool = False) -> None:
        """Publish as somebody does who is no CoAP client."""
        self.router.publish(Message(topic.encode(), payload, qos, retain), self.now)
        self.turn()

    def taken(self) -> list[CoapMessage]:
        """What was sent and not looked at."""
        sent, self.channel.sent = self.channel.sent, []
        return [message for _, message in sent]

    def acknowledge(self, message: CoapMessage, peer: Hashable = "peer") -> None:
        self.give(CoapMessage(Type.ACKNOWLEDGEMENT, Code.EMPTY, message.message_id), peer)

    def reset(self, message: CoapMessage, peer: Hashable = "peer") -> None:
        self.give(CoapMessage(Type.RESET, Code.EMPTY, message.message_id), peer)

    def wait(self, ms: int) -> None:
        """Let time pass, from deadline to deadline."""
        end = self.now + ms
        while (at := self.engine.next_deadline()) is not None and at <= end:
            self.now = max(self.now, at)
            self.engine.tick(self.now)
            self.turn()
        self.now = end
