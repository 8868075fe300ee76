"""A push crosses the uplink as MQTT 5 properties, whoever stands at either end."""

from __future__ import annotations

from dataclasses import replace

from unit.edge_node.uplink.world import Centre, Edge, World

from oriole.wire import push
from oriole.wire.mqtt import V311, Publish
from oriole.wire.push import Envelope, Header

HEADER = Header(b"id", lifetime_ms=90_000, collapse_key="k", sender="door")
PUSH = push.encode(Envelope(HEADER, b"body"))


def test_from_a_3_1_1_device_to_both_kinds_at_the_centre_and_back() -> None:
    centre, edge = Centre(), Edge()
    world = World(centre, edge)
    modern, old = centre.subscriber("modern", "up", 1), centre.subscriber("old", "up", 1, V311)
    device = edge.subscriber("device", "down", 1, V311)
    world.connect(edge, centre)
    device.publish("up", PUSH, 1)
    world.advance(1000)
    (packet,) = modern.take()
    assert isinstance(packet, Publish)
    assert (packet.payload, packet.properties.message_expiry_interval) == (b"body", 90)
    assert dict(packet.properties.user_property) == {
        "oriole-id": "aWQ",
        "oriole-collapse-key": "k",
        "oriole-sender": "door",
    }
    assert old.payloads() == [PUSH]
    device.take()
    centre.member("p").send(replace(packet, topic=b"down", packet_identifier=1))
    world.settle()
    (answer,) = device.take()
    assert isinstance(answer, Publish)
    assert answer.payload == PUSH
