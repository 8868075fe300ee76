"""An edge that is killed, and its devices: what it had taken is known when it comes again."""

from __future__ import annotations

import pytest
from unit.broker.mqtt.harness import recollected
from unit.edge_node.devices.harness import Node, Plug, relay

from broker.journal.codec import encode


def reborn(node: Node) -> Node:
    """The next life of `node`: it knows what the journal knows."""
    recollection = recollected({1: encode(node.journal.records, 1, {})})
    next_life = Node(make_boot_id=lambda: b"next life")
    next_life.devices.recall(recollection.marks, next_life.now)
    assert not recollection.marks
    return next_life


@pytest.mark.parametrize("is_written_anew", [False, True])
def test_what_was_taken_and_not_acknowledged_is_taken_once(is_written_anew: bool) -> None:
    node, device = Node(), relay()
    node.listen("#", persistent=True)
    node.journal.late = True
    plug = Plug(node, device)
    plug.publish("a", b"1")
    plug.publish("a", b"2")
    plug.pull()  # both are on the disk, and the device has not heard of it
    if is_written_anew:
        node.commit()
        node.journal.records = list(node.devices.records())
    node = reborn(node)
    above = node.listen("#", persistent=True)
    plug = Plug(node, device)
    plug.publish("a", b"3")
    node.run(5_000)
    assert [message.payload for message in above.got] == [b"3"]
    assert len(device._session.outbox) == 0


def test_what_was_not_written_down_comes_again_and_only_that() -> None:
    node, device = Node(), relay()
    node.listen("#", persistent=True)
    node.journal.late = True
    plug = Plug(node, device)
    plug.publish("a", b"1")
    safe = len(node.journal.records)
    plug.publish("a", b"2")
    del node.journal.records[safe:]
    plug.pull()
    node = reborn(node)
    above = node.listen("#", persistent=True)
    Plug(node, device)
    node.run(5_000)
    assert [message.payload for message in above.got] == [b"2"]


def test_a_device_that_lost_its_memory_meanwhile_begins_with_1_again() -> None:
    node = Node()
    node.listen("#", persistent=True)
    plug = Plug(node, relay(b"boot-1"))
    plug.publish("a", b"before")
    plug.pull()
    node = reborn(node)
    above = node.listen("#", persistent=True)
    Plug(node, relay(b"boot-2")).publish("a", b"after")
    node.run(5_000)
    assert [message.payload for message in above.got] == [b"after"]
