"""Pushes on a serial line: the envelope is the payload, in both directions."""

from __future__ import annotations

from dataclasses import replace

from unit.broker.coap.house import Recipient
from unit.edge_node.devices.harness import Node, Plug, relay

from broker.core.message import Header
from oriole.wire import push
from oriole.wire.push import Envelope

HEADER = push.Header(b"id", lifetime_ms=90_000, collapse_key="k")
PUSH = push.encode(Envelope(HEADER, b"body"))


def test_a_device_publishes_an_envelope_and_gets_one() -> None:
    node = Node()
    someone = Recipient()
    node.router.subscribe(b"t", someone, someone, node.now)
    plug = Plug(node, relay())
    plug.subscribe("t")
    plug.publish("t", PUSH)
    (message,) = someone.messages
    assert (message.payload, message.expires_at) == (b"body", node.now + 90_000)
    assert message.header == Header(user_property=(("oriole-id", "aWQ"),), collapse_key="k")
    assert plug.payloads == [PUSH]


def test_the_lifetime_counts_down_while_the_device_is_away() -> None:
    node = Node()
    device, other = relay(), Plug(node, relay(b"boot-2", "relay-2"), "port2")
    plug = Plug(node, device)
    plug.subscribe("t")
    plug.pull()
    other.publish("t", PUSH)
    node.run(60_000)
    assert Plug(node, device).payloads == [push.encode(Envelope(replace(HEADER, lifetime_ms=30_000), b"body"))]
