"""Which retained value is the newer one: tables, and any interleaving of two sides and a centre."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.core.message import Message
from edge_node.uplink import convergence
from edge_node.uplink.convergence import Convergence, Ruling

T = b"t"


def value(payload: bytes = b"x") -> Message:
    return Message(T, payload, 1, retain=True)


@pytest.mark.parametrize(
    ("known", "pending", "order", "ruling"),
    [
        (0, False, 5, Ruling.KEEP),
        (5, False, 5, Ruling.KNOWN),
        (5, False, 4, Ruling.KNOWN),
        (5, False, 6, Ruling.KEEP),
        (5, True, 6, Ruling.WAIT),
        (5, True, 5, Ruling.KNOWN),
        (0, False, 0, Ruling.KEEP),
        (0, True, 0, Ruling.KNOWN),
    ],
)
def test_a_value_that_arrives(known: int, pending: bool, order: int, ruling: Ruling) -> None:
    sides = Convergence()
    if known:
        sides.arrived(value(), known)
    if pending:
        sides.published(T)
    assert sides.arrived(value(), order) is ruling


@pytest.mark.parametrize(("place", "wins"), [(4, True), (6, False), (0, True)])
def test_a_contender_waits_for_the_place_of_what_was_set_here(place: int, wins: bool) -> None:
    sides = Convergence()
    sides.published(T)
    contender = value()
    sides.arrived(contender, 5)
    assert sides.confirmed(T, place) is (contender if wins else None)


def test_it_waits_for_the_last_of_several() -> None:
    sides = Convergence()
    sides.published(T)
    sides.published(T)
    sides.arrived(value(), 5)
    assert sides.confirmed(T, 4) is None
    assert sides.confirmed(T, 6) is None


def test_a_snapshot_says_nothing_about_what_is_newer_than_it() -> None:
    sides = Convergence()
    sides.arrived(value(), 5)
    begun = sides.event()
    assert sides.missing(T, begun, 9)
    assert not sides.missing(T, begun, 4)
    sides.arrived(value(), 7)
    assert not sides.missing(T, begun, 9)


def test_a_snapshot_says_nothing_about_what_is_on_its_way_up() -> None:
    sides = Convergence()
    sides.published(T)
    assert not sides.missing(T, sides.event(), 9)


def test_a_deleted_topic_keeps_its_place_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(convergence, "MOST_FORGOTTEN", 2)
    sides = Convergence()
    sides.arrived(value(b""), 5)
    sides.forget(T)
    assert sides.arrived(value(), 4) is Ruling.KNOWN
    sides.forget(T)
    for number in range(2):
        topic = b"other%d" % number
        sides.arrived(Message(topic, b"", retain=True), number)
        sides.forget(topic)
    assert sides.arrived(value(), 4) is Ruling.KEEP


def test_what_was_let_go_is_news_when_it_comes_again() -> None:
    sides = Convergence()
    sides.arrived(value(), 5)
    sides.let_go(T)
    assert sides.arrived(value(), 5) is Ruling.KEEP
    sides.published(T)
    sides.let_go(T)
    assert sides.arrived(value(), 5) is Ruling.WAIT


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(["edge sets", "centre sets", "up", "down"]), max_size=40))
def test_any_interleaving_converges(steps: list[str]) -> None:
    sides = Convergence()
    up: deque[Message] = deque()
    down: deque[tuple[int, Message | None]] = deque()  # a place, with a value or as an acknowledgement
    edge = centre = b""
    order = 0
    for number, step in enumerate([*steps, *["up", "down"] * 41]):
        payload = b"%d" % number
        if step == "edge sets":
            edge = payload
            sides.published(T)
            up.append(value(payload))
        elif step == "centre sets":
            centre = payload
            order += 1
            down.append((order, value(payload)))
        elif step == "up" and up:
            centre = up.popleft().payload
            order += 1
            down.append((order, None))
        elif step == "down" and down:
            place, message = down.popleft()
            if message is None:
                contender = sides.confirmed(T, place)
                edge = contender.payload if contender is not None else edge
            elif sides.arrived(message, place) is Ruling.KEEP:
                edge = message.payload
    assert not up
    assert not down
    assert edge == centre
