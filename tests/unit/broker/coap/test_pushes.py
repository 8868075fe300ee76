"""Pushes over CoAP: an envelope in, an envelope out, its lifetime as Max-Age."""

from __future__ import annotations

from dataclasses import replace

from unit.broker.coap.house import House, Recipient

from broker.core.message import Header, Message
from oriole.wire import push
from oriole.wire.coap import Block, Code, Option, encode_uint
from oriole.wire.push import Envelope

CBOR = encode_uint(60)
HEADER = push.Header(b"id", lifetime_ms=90_000, collapse_key="k", content_type="text/plain")
PUSH = push.encode(Envelope(HEADER, b"body"))
WITHOUT_LIFETIME = push.encode(Envelope(replace(HEADER, lifetime_ms=None), b"body"))


def test_a_put_envelope_is_opened_for_others() -> None:
    house = House()
    someone = Recipient()
    house.router.subscribe(b"#", someone, someone, house.now)
    house.put("t", PUSH)
    (message,) = someone.messages
    assert (message.payload, message.expires_at) == (b"body", house.now + 90_000)
    assert message.header == Header("text/plain", user_property=(("oriole-id", "aWQ"),), collapse_key="k")


def test_a_push_is_read_and_observed_in_its_envelope() -> None:
    house = House()
    house.put("t", PUSH)
    house.wait(30_000)
    answer = house.ask(Code.GET, "ps/data/t")
    assert (answer.payload, answer.option(Option.CONTENT_FORMAT)) == (WITHOUT_LIFETIME, CBOR)
    assert answer.option(Option.MAX_AGE) == encode_uint(60)
    house.observe("t", b"o")
    header = Header("text/plain", user_property=(("oriole-id", "aWQ"), ("other", "lost")), collapse_key="k")
    house.router.publish(Message(b"t", b"body", 0, True, header, expires_at=house.now + 5_000), house.now)
    house.turn()
    (notification,) = house.taken()
    assert (notification.payload, notification.option(Option.MAX_AGE)) == (WITHOUT_LIFETIME, encode_uint(5))


def test_an_etag_and_the_blocks_name_one_value_while_its_lifetime_counts_down() -> None:
    house = House()
    body = bytes(range(256)) * 8
    house.ask(Code.PUT, "ps/data/t", push.encode(Envelope(HEADER, body)))
    answers = []
    for number in range(3):
        block = (int(Option.BLOCK2), Block(number, False, 6).encode())
        answers.append(house.ask(Code.GET, "ps/data/t", options=[block]))
        house.wait(1_234)
    assert len({answer.option(Option.ETAG) for answer in answers}) == 1
    whole = b"".join(answer.payload for answer in answers)
    assert push.decode(whole) == Envelope(replace(HEADER, lifetime_ms=None), body)


def test_a_push_that_does_not_expire_is_answered_from_ready_made_bytes_too() -> None:
    house = House()
    house.put("t", WITHOUT_LIFETIME)
    assert [house.ask(Code.GET, "ps/data/t").payload for _ in range(3)] == [WITHOUT_LIFETIME] * 3
