"""Packet identifiers: all of them, each in one use at a time, and little memory for who needs few."""

import sys

from oriole.link.mqtt.identifiers import PacketIdentifiers

ALL = 65_535


def test_all_are_given_out_once_and_then_none() -> None:
    identifiers = PacketIdentifiers()
    assert [identifiers.take() for _ in range(ALL)] == list(range(1, ALL + 1))
    assert identifiers.take() is None
    identifiers.free(40_000)
    assert identifiers.take() == 40_000
    assert identifiers.take() is None


def test_one_that_is_free_again_is_not_given_out_before_its_turn() -> None:
    identifiers = PacketIdentifiers()
    for expected in [*range(1, ALL + 1), 1, 2]:
        identifier = identifiers.take()
        assert identifier == expected
        identifiers.free(identifier)


def test_a_client_that_says_little_holds_little() -> None:
    identifiers = PacketIdentifiers()
    for _ in range(50):
        identifiers.take()
    assert sys.getsizeof(identifiers._used) < 200
