"""Whatever clients do: each message that is taken ends once for each of its recipients, and the book says how."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

import pytest
from unit.broker.book import Pages
from unit.broker.mqtt.harness import Bench, Client, FailingJournal, LateJournal

from broker.core.message import Message
from broker.core.questions import Permission, Question, Verdict
from broker.core.settlement import Outcome, Reason
from broker.core.sink import Sink
from oriole.link.uplink import Greeting
from oriole.wire.mqtt import (
    V5,
    V311,
    ConnAck,
    Connect,
    Disconnect,
    Packet,
    Properties,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    ReasonCode,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
    encode,
)

TOPICS = ("a", "a/b", "a/b/c", "b", "forbidden")
FILTERS = ("a", "a/b", "a/#", "+/b", "#", "b", "+/+/c")
LARGE = 700_000
"""Two of these are more than a channel's high-water mark."""


def matches(filter: str, topic: str) -> bool:
    """Whether a filter matches, as slowly and plainly as the specification says it."""
    levels, names = filter.split("/"), topic.split("/")
    if levels[-1] == "#":
        levels, names = levels[:-1], names[: len(levels) - 1]
    return len(levels) == len(names) and all(level in ("+", name) for level, name in zip(levels, names, strict=True))


class Witness(Pages):
    """Knows by itself who is to get what."""

    def __init__(self, bench: Bench) -> None:
        super().__init__(bench.engine)
        self.bench = bench

    def accepted(self, message: Message, recipients: Sequence[Sink], now: int) -> None:
        super().accepted(message, recipients, now)
        expected = []
        for session in self.bench.service.sessions.values():
            options = [
                asked
                for filter, asked in session.subscriptions.items()
                if matches(filter.decode(), message.topic.decode())
            ]
            if options and not (message.origin is session and all(asked.no_local for asked in options)):
                expected.append(session.label)
        assert sorted(sink.label for sink in recipients) == sorted(expected)


class Town:
    """Clients that do anything, by a seed."""

    def __init__(self, seed: int, keeps_book: bool) -> None:
        self.random = random = Random(seed)
        journal = random.choice((None, LateJournal(), FailingJournal()))
        self.bench = Bench(
            journal, self.decide, receive_maximum=3, max_queue_messages=4, max_retained_messages=3, max_sessions=5
        )
        self.book = Witness(self.bench) if keeps_book else None
        self.clients: dict[str, Client] = {}
        self.heard: list[bytes] = []
        self.said = 0

    def decide(self, question: Question) -> Verdict:
        if isinstance(question, Permission):
            return Verdict(question.topic != "forbidden")
        return Verdict(True, restricted=question.client_id in ("c1", "node"))

    def step(self) -> None:
        random = self.random
        name = random.choice(("c0", "c1", "c2", "c3", "node"))
        client = self.clients.get(name)
        if client is None or client.closed:
            self.clients[name] = self.come(name)
        else:
            actions = (self.say, self.say, self.say, self.ask, self.answer, self.answer, self.leave, self.look_away)
            random.choice(actions)(client)
        journal = self.bench.journal
        if isinstance(journal, FailingJournal):
            journal.full = random.random() < 0.05
        elif isinstance(journal, LateJournal) and random.random() < 0.5:
            if random.random() < 0.1:
                self.bench.fail()
            else:
                self.bench.commit()
        if random.random() < 0.3:
            self.bench.advance(random.choice((1, 500, 3_000)))
        if self.book is not None:
            self.book.check(self.bench.service.owed())

    def come(self, name: str) -> Client:
        random = self.random
        version = V5 if name == "node" else random.choice((V311, V5))
        client = self.bench.client(version)
        asked = Properties()
        if version == V5:
            asked.session_expiry_interval = random.choice((0, 2, 1_000))
            asked.receive_maximum = random.choice((1, 3, None))
            asked.maximum_packet_size = random.choice((None, 40))
        if name == "node":
            asked.user_property = Greeting("house", "epoch").pairs()
        will = Will(b"a", b"will %d" % self.said, random.randrange(3), random.random() < 0.5)
        self.said += 1
        client.send(Connect(name, version, random.random() < 0.3, properties=asked, will=will))
        return client

    def say(self, client: Client) -> None:
        """A publish, or three in a row that are alike."""
        random = self.random
        topic, qos, retain = random.choice(TOPICS).encode(), random.choice((0, 0, 1, 2)), random.random() < 0.2
        rest = b"x" * random.choice((0, 0, 60, LARGE))
        properties = Properties()
        if client.version == V5:
            properties.message_expiry_interval = random.choice((None, None, 0, 2))
        row = []
        for _ in range(
            1 if len(rest) == LARGE else random.choice((1, 1, 3))
        ):  # a row is looked at once, for the reader
            self.said += 1
            identifier = client.next_identifier() if qos else 0
            row.append(Publish(topic, b"%06d" % self.said + rest, qos, retain, False, identifier, properties))
        client.send(*row)
        if qos == 2:
            client.send(*(PubRel(packet.packet_identifier) for packet in row))

    def ask(self, client: Client) -> None:
        random = self.random
        filter = random.choice(FILTERS)
        if random.random() < 0.3:
            client.send(Unsubscribe(client.next_identifier(), [filter]))
            return
        no_local = client.version == V5 and random.random() < 0.5
        client.send(Subscribe(client.next_identifier(), [Subscription(filter, random.randrange(3), no_local)]))

    def answer(self, client: Client) -> None:
        """Acknowledge what came, in one piece, with gaps."""
        answers = [self.answer_to(client, packet) for packet in self.take(client) if self.random.random() < 0.9]
        if any(answers):
            client.send(*filter(None, answers))

    def answer_to(self, client: Client, packet: object) -> Packet | None:
        code = ReasonCode.SUCCESS
        if client.version == V5 and self.random.random() < 0.2:
            code = ReasonCode.UNSPECIFIED_ERROR
        if isinstance(packet, Publish) and packet.qos:
            return (PubAck if packet.qos == 1 else PubRec)(packet.packet_identifier, code)
        return PubComp(packet.packet_identifier) if isinstance(packet, PubRel) else None

    def take(self, client: Client) -> list[object]:
        packets = client.take()
        self.heard += [encode(packet, client.version) for packet in packets if not isinstance(packet, ConnAck)]
        return list(packets)

    def leave(self, client: Client) -> None:
        if self.random.random() < 0.5:
            client.lose()
        else:
            client.send(Disconnect())

    def look_away(self, client: Client) -> None:
        client.channel.reads = not client.channel.reads
        client.channel.flush()
        self.bench.turn()

    def end(self) -> None:
        for client in self.clients.values():
            client.lose()
        if isinstance(self.bench.journal, LateJournal):
            self.bench.commit()
        self.bench.advance(10_000_000_000)


@pytest.mark.parametrize("seed", range(60))
def test_the_book_adds_up_whatever_happens(seed: int) -> None:
    """And keeping it changes nothing: what clients hear is the same without it, and so are the counters."""
    town, other = Town(seed, keeps_book=True), Town(seed, keeps_book=False)
    for each in (town, other):
        for _ in range(120):
            each.step()
        each.end()
    assert town.book is not None
    town.book.check(())
    assert town.heard == other.heard
    assert town.bench.engine.settlement.counts() == other.bench.engine.settlement.counts()


def test_every_kind_of_end_is_met() -> None:
    """The test above means something."""
    outcomes: set[tuple[Outcome, Reason | None]] = set()
    refused: set[Reason] = set()
    for seed in range(60):
        town = Town(seed, keeps_book=True)
        for _ in range(120):
            town.step()
        town.end()
        assert town.book is not None
        outcomes |= {(end.outcome, end.reason) for end in town.book.ends}
        refused |= {reason for _, _, reason in town.book.turned_away}
    assert outcomes == {
        (Outcome.SENT, None),
        (Outcome.ACKNOWLEDGED, None),
        (Outcome.EXPIRED, None),
        *(
            (Outcome.DROPPED, reason)
            for reason in (
                Reason.OFFLINE,
                Reason.SLOW_READER,
                Reason.QUEUE_FULL,
                Reason.TOO_LARGE,
                Reason.SESSION_ENDED,
                Reason.REJECTED,
            )
        ),
    }
    assert refused == {Reason.QUEUE_FULL, Reason.NOT_PERMITTED}
