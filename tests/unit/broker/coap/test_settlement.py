"""Whatever observers do: each message that is taken ends once for each of them, and the book says how."""

from __future__ import annotations

from random import Random

import pytest
from unit.broker.book import End, Pages
from unit.broker.coap.house import House

from broker.core.message import Message
from broker.core.questions import Permission, Verdict
from broker.core.settlement import Outcome, Reason
from oriole.wire.coap import Code, Option, Type

TOPICS = ("a", "b")
PEERS = (("127.0.0.1", 1), ("127.0.0.1", 2), ("::1", 3))


def everything(seed: int) -> Pages:
    """A house in which observers come, go, fall silent and say no; its book, after it was checked at every step."""
    random = Random(seed)
    house = House()
    book = Pages(house.engine)
    for number in range(120):
        topic, peer, token = random.choice(TOPICS), random.choice(PEERS), random.choice((b"t", b"u"))
        payload = b"%d" % number
        action = random.randrange(8)
        if action == 0:
            register = random.choice((b"", b"", b"\1"))
            house.send(Code.GET, f"ps/data/{topic}", options=[(Option.OBSERVE, register)], token=token, peer=peer)
        elif action == 1:
            kind = random.choice((Type.CONFIRMABLE, Type.NON_CONFIRMABLE))
            house.send(Code.PUT, f"ps/data/{topic}", payload, type=kind, peer=peer)
        elif action == 2 and random.random() < 0.3:
            house.send(Code.DELETE, f"ps/data/{topic}", peer=peer)
        elif action < 5:
            expires_at = house.now + random.choice((0, 1_000)) if random.random() < 0.3 else 0
            message = Message(
                topic.encode(), payload, random.randrange(3), random.random() < 0.7, expires_at=expires_at
            )
            house.router.publish(message, house.now)
            house.turn()
        elif action < 7:
            sent, house.channel.sent = house.channel.sent, []
            for address, notification in sent:
                if notification.type == Type.CONFIRMABLE and random.random() < 0.8:
                    random.choice((house.acknowledge, house.acknowledge, house.reset))(notification, address)
        else:
            house.wait(random.choice((100, 400, 5_000, 100_000)))
        book.check(house.service.owed())
    return book


@pytest.mark.parametrize("seed", range(40))
def test_the_book_adds_up_whatever_happens(seed: int) -> None:
    everything(seed)


def test_every_kind_of_end_is_met() -> None:
    """The test above means something."""
    met = {(end.outcome, end.reason) for seed in range(40) for end in everything(seed).ends}
    assert met == {
        (Outcome.ACKNOWLEDGED, None),
        (Outcome.SENT, None),
        (Outcome.COLLAPSED, None),
        (Outcome.EXPIRED, None),
        *((Outcome.DROPPED, reason) for reason in (Reason.OFFLINE, Reason.REJECTED, Reason.SESSION_ENDED)),
    }


def test_a_client_is_called_by_the_endpoint_name_that_it_gives_or_by_its_address() -> None:
    house = House()
    book = Pages(house.engine)
    for peer, query in ((("10.0.0.1", 5683), b"ep=lamp"), (("10.0.0.1", 5684), None), (("::1", 7), b"ep=\xff")):
        options = [(int(Option.OBSERVE), b"")] + ([(int(Option.URI_QUERY), query)] if query is not None else [])
        answer = house.ask(Code.GET, "ps/data/a", options=options, peer=peer)
        assert (answer.code, answer.observe is not None) == (Code.CONTENT, True)
    answer = house.ask(
        Code.PUT, "ps/data/a", b"1", options=[(Option.URI_QUERY, b"ep=switch")], type=Type.NON_CONFIRMABLE
    )
    assert answer.code == Code.CREATED
    assert [end.to for end in book.ends] == ["coap:lamp", "coap:10.0.0.1:5684", "coap:\N{REPLACEMENT CHARACTER}"]
    (message,) = book.taken
    assert message.origin is not None
    assert message.origin.label == "coap:switch"


def test_a_value_that_answers_a_registration_is_a_delivery() -> None:
    house = House()
    book = Pages(house.engine)
    house.put("a", b"kept")
    house.ask(Code.GET, "ps/data/a")
    assert book.ends == []
    house.observe("a", peer=("10.0.0.1", 5683))
    assert book.ends == [End(b"kept", "coap:10.0.0.1:5683", Outcome.SENT)]


def test_what_a_client_may_not_publish_is_refused_by_name() -> None:
    house = House(decide=lambda question: Verdict(not isinstance(question, Permission), restricted=True))
    book = Pages(house.engine)
    assert house.put("a", b"1", peer=("10.0.0.1", 1)).code == Code.FORBIDDEN
    assert house.put("$SYS", b"2", peer=("10.0.0.1", 1)).code == Code.FORBIDDEN
    assert book.turned_away == [(payload, "coap:10.0.0.1:1", Reason.NOT_PERMITTED) for payload in (b"1", b"2")]
    house.observe("a", peer=("10.0.0.1", 1))
    assert len(book.turned_away) == 2
