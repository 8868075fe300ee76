"""Observers: who is told what, when it is confirmed, and how an observation ends."""

from __future__ import annotations

from collections import Counter

import pytest
from unit.broker.book import Pages
from unit.broker.coap.house import House

from broker.coap.settings import CoapSettings
from broker.core.settlement import Outcome, Reason
from oriole.wire.coap import Block, Code, Option, Options, Type, encode_uint
from oriole.wire.coap import Message as CoapMessage

HOUR = 3_600_000


def number(message: CoapMessage) -> int:
    observe = message.observe
    assert observe is not None
    return observe


def test_an_observer_gets_the_value_and_then_each_change() -> None:
    house = House()
    house.put("a", b"1")
    first = house.observe("a", b"tok")
    assert (first.code, first.payload) == (Code.CONTENT, b"1")
    house.put("a", b"2")
    (notification,) = house.taken()
    assert (notification.code, notification.token, notification.payload) == (Code.CONTENT, b"tok", b"2")
    assert number(notification) > number(first)


def test_a_topic_without_a_value_can_be_observed() -> None:
    house = House()
    first = house.observe("a")
    assert (first.code, first.payload, first.uint(Option.MAX_AGE)) == (Code.CONTENT, b"", 0)
    house.publish("a", b"1")
    assert [(message.payload, message.type) for message in house.taken()] == [(b"1", Type.NON_CONFIRMABLE)]


def test_strictly_it_cannot() -> None:
    house = House(CoapSettings(strict=True))
    assert house.observe("a").code == Code.NOT_FOUND
    house.publish("a", b"1")
    assert (house.taken(), house.service.observer_count) == ([], 0)


@pytest.mark.parametrize("retain", [False, True])
@pytest.mark.parametrize(("qos", "type"), [(0, Type.NON_CONFIRMABLE), (1, Type.CONFIRMABLE), (2, Type.CONFIRMABLE)])
def test_what_others_publish_notifies_with_the_care_it_was_published_with(qos: int, type: Type, retain: bool) -> None:
    house = House()
    house.observe("a")
    house.publish("a", b"x", qos, retain)
    assert [(message.payload, message.type) for message in house.taken()] == [(b"x", type)]


def test_a_burst_ends_with_a_value_that_is_known_to_have_arrived() -> None:
    house = House()
    house.observe("a")
    for value in range(10):
        house.publish("a", b"%d" % value, 1, retain=True)
    burst = house.taken()
    assert [message.payload for message in burst] == [b"%d" % value for value in range(10)]
    assert [message.type for message in burst] == [Type.CONFIRMABLE] + [Type.NON_CONFIRMABLE] * 9
    house.acknowledge(burst[0])
    house.wait(1_000)
    (last,) = house.taken()
    assert (last.payload, last.type) == (b"9", Type.CONFIRMABLE)
    assert number(last) > number(burst[-1])
    house.acknowledge(last)
    house.wait(10_000)
    assert house.taken() == []


def test_events_are_not_repeated() -> None:
    house = House()
    house.observe("a")
    for _ in range(2):
        house.publish("a", b"ring", 1)
    house.acknowledge(house.taken()[0])
    house.wait(10_000)
    assert house.taken() == []


def test_an_event_does_not_stand_in_for_the_state_that_is_owed() -> None:
    house = House()
    house.observe("a")
    for value in (b"old", b"new"):
        house.publish("a", value, 1, retain=True)
    house.acknowledge(house.taken()[0])
    house.now += 250
    house.publish("a", b"ring", 1)
    house.acknowledge(house.taken()[0])
    house.wait(1_000)
    assert [message.payload for message in house.taken()] == [b"new"]


def test_a_retransmission_shows_the_newest_state_but_the_same_event() -> None:
    house = House()
    house.put("event", b"a value from before")
    house.observe("state")
    house.observe("event", peer="other")
    house.publish("state", b"old", 1, retain=True)
    house.publish("event", b"old", 1)
    house.publish("state", b"new", 0, retain=True)
    house.publish("event", b"new", 0)
    house.taken()
    house.wait(3_100)
    again = {message.payload for message in house.taken() if message.type == Type.CONFIRMABLE}
    assert again == {b"new", b"old"}


def test_many_observers_share_one_value_and_hear_it_each() -> None:
    house = House()
    for peer in range(20):
        house.observe("a", bytes((peer,)), peer=peer)
    house.publish("a", b"x")
    sent = house.channel.sent
    assert [(address, message.token) for address, message in sent] == [(peer, bytes((peer,))) for peer in range(20)]
    assert len({(message.observe, message.payload) for _, message in sent}) == 1
    assert house.engine.settlement.sent == 20


def test_deregistering_ends_it_with_a_last_answer() -> None:
    house = House()
    house.put("a", b"1")
    house.observe("a")
    answer = house.ask(Code.GET, "ps/data/a", options=[(Option.OBSERVE, encode_uint(1))])
    assert (answer.code, answer.payload, answer.observe) == (Code.CONTENT, b"1", None)
    house.publish("a", b"2")
    assert (house.taken(), house.service.observer_count) == ([], 0)
    assert house.port.endpoint.peer("peer").idle


def test_deregistering_needs_the_same_token() -> None:
    house = House()
    house.observe("a", b"one")
    house.ask(Code.GET, "ps/data/a", options=[(Option.OBSERVE, encode_uint(1))], token=b"two")
    assert house.service.observer_count == 1


def test_a_second_registration_with_the_token_renews_the_first() -> None:
    house = House()
    house.put("a", b"1")
    first = house.observe("a")
    again = house.observe("a")
    assert number(again) > number(first)
    assert house.service.observer_count == 1
    house.observe("b")
    house.publish("a", b"2")
    assert (house.taken(), house.service.observer_count) == ([], 1)


def test_a_reset_ends_it() -> None:
    house = House()
    house.observe("a")
    house.publish("a", b"1")
    house.reset(house.taken()[0])
    house.publish("a", b"2")
    assert (house.taken(), house.service.observer_count) == ([], 0)
    assert house.router.routes.subscription_count == 0


def test_silence_after_a_confirmable_notification_ends_it() -> None:
    house = House()
    house.observe("a")
    house.publish("a", b"1", 1)
    house.wait(100_000)
    assert len(house.taken()) == 5
    assert house.service.observer_count == 0
    assert house.engine.settlement.dropped == {Reason.OFFLINE: 1}


def test_within_the_hour_everyone_shows_that_he_is_there() -> None:
    house = House()
    house.put("a", b"1")
    for peer in range(100):
        house.observe("a", peer=peer)
    alive, rounds = {}, HOUR // 60_000 + 1
    for _ in range(rounds):
        house.wait(60_000)
        for address, message in house.channel.sent:
            assert (message.type, message.payload) == (Type.CONFIRMABLE, b"1")
            if address != 7:
                alive[address] = message
                house.acknowledge(message, address)
        house.channel.sent.clear()
    house.wait(100_000)
    assert len(alive) == 99
    assert house.service.observer_count == 99


@pytest.mark.parametrize("count", [1, 12, 59, 61, 121])
def test_few_observers_are_asked_no_more_often_than_many(count: int) -> None:
    house = House()
    house.put("a", b"1")
    for peer in range(count):
        house.observe("a", peer=peer)
    asked: set[tuple[object, int]] = set()
    for _ in range(3 * HOUR // 1_000 + 1):
        house.wait(1_000)
        for address, message in house.channel.sent:
            asked.add((address, message.message_id))
            house.acknowledge(message, address)
        house.channel.sent.clear()
    counts = Counter(address for address, _ in asked)
    assert counts.keys() == set(range(count))
    assert set(counts.values()) <= {3, 4}, "a round more or less has begun"


def test_deleting_tells_observers_and_ends_their_observations() -> None:
    house = House()
    house.put("a", b"1")
    house.observe("a")
    house.ask(Code.DELETE, "ps/data/a", peer="publisher")
    (last,) = house.taken()
    assert (last.code, last.type, last.observe) == (Code.NOT_FOUND, Type.CONFIRMABLE, None)
    assert house.service.observer_count == 0
    house.put("a", b"2")
    assert house.taken() == []
    house.wait(3_000)
    assert [message.code for message in house.taken()] == [Code.NOT_FOUND]


def test_clearing_by_mqtt_is_deleting() -> None:
    house = House()
    house.put("a", b"1")
    house.observe("a")
    house.publish("a", b"", 0, retain=True)
    assert [message.code for message in house.taken()] == [Code.NOT_FOUND]


def test_more_observers_than_allowed_are_answered_without_observe() -> None:
    house = House(CoapSettings(max_observers=1))
    house.put("a", b"1")
    assert house.observe("a", peer=1).observe is not None
    answer = house.observe("a", peer=2)
    assert (answer.code, answer.payload, answer.observe) == (Code.CONTENT, b"1", None)
    assert house.observe("a", peer=1).observe is not None


def test_one_client_cannot_take_all_observations() -> None:
    house = House(CoapSettings(max_observers_per_client=2))
    granted = [house.observe("a", bytes((token,))).observe is not None for token in range(4)]
    assert granted == [True, True, False, False]
    assert house.observe("a", peer="another").observe is not None


def test_a_large_value_is_announced_by_its_first_block() -> None:
    house = House()
    house.observe("a")
    house.publish("a", b"x" * 2_000, retain=True)
    (notification,) = house.taken()
    assert len(notification.payload) == 1_024
    assert Block.decode(notification.option(Option.BLOCK2) or b"") == Block(0, True, 6)
    second: Options = [(Option.OBSERVE, b""), (Option.BLOCK2, Block(1, False, 6).encode())]
    rest = house.ask(Code.GET, "ps/data/a", options=second, token=b"other")
    assert (rest.observe, house.service.observer_count) == (None, 1)
    assert rest.option(Option.ETAG) == notification.option(Option.ETAG)
    assert notification.payload + rest.payload == b"x" * 2_000


def test_each_delivery_is_settled_once() -> None:
    house = House()
    book = Pages(house.engine)
    house.observe("a")
    house.publish("a", b"1", 1, retain=True)
    house.publish("a", b"2", 0, retain=True)
    house.acknowledge(house.taken()[0])
    house.publish("a", b"3", 0, retain=True)
    house.wait(300)
    house.publish("a", b"4", 1, retain=True)
    house.publish("a", b"5", 0, retain=True)
    house.wait(3_100)
    house.publish("a", b"6", 1, retain=True)
    assert [(end.payload, end.outcome) for end in book.ends] == [
        (b"2", Outcome.SENT),
        (b"1", Outcome.ACKNOWLEDGED),
        (b"3", Outcome.SENT),
        (b"5", Outcome.SENT),
        (b"4", Outcome.COLLAPSED),
        (b"6", Outcome.SENT),
    ]
    assert house.engine.settlement.counts()["collapsed"] == 1
    book.check(house.service.owed())
