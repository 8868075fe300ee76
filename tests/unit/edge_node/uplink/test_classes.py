"""Which class a topic belongs to."""

from __future__ import annotations

from edge_node.uplink.classes import ALARM, BULK, CLASSES, MOST_KNOWN, NORMAL, Classes


def test_alarms_go_first_and_bulk_last() -> None:
    assert CLASSES == ("alarm", "normal", "bulk")
    assert (CLASSES[ALARM], CLASSES[NORMAL], CLASSES[BULK]) == CLASSES


def test_without_filters_all_is_normal() -> None:
    assert Classes().of(b"alarm") == NORMAL


def test_filters_tell_the_class() -> None:
    classes = Classes(["+/alarm", "fire"], ["log/#"])
    assert classes.of(b"house/alarm") == ALARM
    assert classes.of(b"fire") == ALARM
    assert classes.of(b"log/kernel/usb") == BULK
    assert classes.of(b"house/lamp") == NORMAL
    assert classes.of("größe".encode()) == NORMAL


def test_what_is_for_both_is_an_alarm() -> None:
    assert Classes(["log/alarm"], ["log/#"]).of(b"log/alarm") == ALARM


def test_a_topic_keeps_its_class_however_many_others_come() -> None:
    """The order within a topic depends on it."""
    classes = Classes(["a/#"], ["b/#"])
    for _ in range(2):
        for number in range(MOST_KNOWN):
            assert classes.of(b"%c/%d" % (b"abc"[number % 3], number)) == (ALARM, BULK, NORMAL)[number % 3]
    assert len(classes._known) == MOST_KNOWN
    assert classes.of(b"one more") == NORMAL
    assert len(classes._known) == MOST_KNOWN
