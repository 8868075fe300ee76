"""A push changes its carrier: an envelope for MQTT 3.1.1, properties for MQTT 5, and every fact survives both."""

from __future__ import annotations

import sys
from dataclasses import replace
from subprocess import run

import pytest
from unit.broker.mqtt.harness import Bench, Client, move

from oriole.wire import push
from oriole.wire.mqtt import V5, V311, Properties, Publish, Will
from oriole.wire.push import Envelope, Header, Priority

HEADER = Header(
    b"\x01\x02",
    lifetime_ms=90_000,
    priority=Priority.HIGH,
    collapse_key="state",
    created_ms=1_700_000_000_000,
    content_type="text/plain",
    sender="phone",
    reply_to="answers/1",
    correlation=b"\0\1",
    extra={77: "kept"},
)
PUSH = push.encode(Envelope(HEADER, b"body"))


def only(client: Client) -> Publish:
    (packet,) = client.take()
    assert isinstance(packet, Publish)
    return packet


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_from_3_1_1_to_5_and_back(qos: int) -> None:
    bench = Bench()
    modern, old = bench.subscriber("modern", "t", qos), bench.subscriber("old", "t", qos, V311)
    publisher = bench.member("p", V311)
    publisher.publish("t", PUSH, qos)
    packet = only(modern)
    assert packet.payload == b"body"
    properties = packet.properties
    assert properties.message_expiry_interval == 90
    assert (properties.content_type, properties.response_topic) == ("text/plain", "answers/1")
    assert dict(properties.user_property)["oriole-id"] == "AQI"
    assert only(old).payload == PUSH
    echo = bench.member("echo")
    echo.send(Publish(b"t", packet.payload, qos, packet_identifier=qos and 1, properties=properties))
    assert only(old).payload == PUSH
    assert only(modern) == replace(packet, packet_identifier=qos and 2)


def test_many_in_a_row_are_looked_at_one_by_one() -> None:
    """The burst of plain packets ends where one may be an envelope."""
    bench = Bench()
    modern = bench.subscriber("modern", "t", 1)
    payloads = [b"x" * len(PUSH), PUSH, PUSH, b"\x82" + b"y" * (len(PUSH) - 1), b"x" * len(PUSH)]
    bench.member("p", V311).send(*(Publish(b"t", payload, 1, packet_identifier=7) for payload in payloads))
    assert modern.payloads() == [payloads[0], b"body", b"body", payloads[3], payloads[4]]


def test_the_lifetime_counts_down_while_it_waits() -> None:
    bench = Bench()
    old = bench.member("old", V311, clean_start=False)
    old.subscribe("t", 1)
    old.lose()
    publisher = bench.member("p", V311)
    publisher.publish("t", PUSH, 1)
    bench.advance(60_000)
    old = bench.join("old", V311, clean_start=False)
    packet = old.take()[-1]
    assert isinstance(packet, Publish)
    assert push.decode(packet.payload) == Envelope(replace(HEADER, lifetime_ms=30_000), b"body")
    old.lose()
    publisher.publish("t", PUSH, 1)
    bench.advance(90_000)
    old = bench.join("old", V311, clean_start=False)
    assert [packet.payload for packet in old.take() if isinstance(packet, Publish) and not packet.dup] == []


def test_retained_and_wills() -> None:
    bench = Bench()
    publisher = bench.member("p", V311, will=Will(b"will", PUSH, 1))
    publisher.publish("t", PUSH, 0, retain=True)
    publisher.lose()
    bench.advance(1000)
    modern, old = bench.member("modern"), bench.member("old", V311)
    for client in (modern, old):
        client.subscribe("t")
    assert (modern.payloads(), old.payloads()) == ([b"body"], [push.encode(push.aged(Envelope(HEADER, b"body"), 1000))])  # type: ignore[arg-type]
    watcher = bench.subscriber("w", "will")
    bench.member("p2", V311, will=Will(b"will", PUSH, 1)).lose()
    assert watcher.payloads() == [b"body"]


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x82",
        b"\x82\xa1",
        PUSH[:-1],
        PUSH + b"\0",
        push.encode(Envelope(Header(b"x", extra={5000: 1}), b""))[:-1],
    ],
)
@pytest.mark.parametrize("qos", [0, 1])
def test_what_is_no_envelope_passes_untouched(payload: bytes, qos: int) -> None:
    bench = Bench()
    modern, old = bench.subscriber("modern", "t", 1), bench.subscriber("old", "t", 1, V311)
    bench.member("p", V311).publish("t", payload, qos)
    packet = only(modern)
    assert (packet.payload, packet.properties) == (payload, Properties())
    assert only(old).payload == payload


def test_between_mqtt_5_clients_a_payload_is_never_opened() -> None:
    bench = Bench()
    modern, old = bench.subscriber("modern", "t", 1), bench.subscriber("old", "t", 1, V311)
    bench.member("p").publish("t", PUSH, 1)
    packet = only(modern)
    assert (packet.payload, packet.properties) == (PUSH, Properties())
    assert only(old).payload == PUSH


@pytest.mark.parametrize("id", ["", "!", "A" * 100])
def test_an_id_that_is_none_makes_no_envelope(id: str) -> None:
    bench = Bench()
    old = bench.subscriber("old", "t", 1, V311)
    bench.member("p").publish("t", b"body", 1, user_property=[("oriole-id", id)])
    assert only(old).payload == b"body"


def test_an_empty_body_does_not_delete_a_retained_value() -> None:
    bench = Bench()
    publisher = bench.member("p", V311)
    publisher.publish("t", b"value", retain=True)
    empty = push.encode(Envelope(Header(b"x"), b""))
    publisher.publish("t", empty, retain=True)
    reader = bench.member("r")
    reader.subscribe("t")
    assert reader.payloads() == [empty]


@pytest.mark.parametrize("version", [V311, V5])
def test_a_form_that_grows_over_the_client_s_limit_is_settled_not_sent(version: int) -> None:
    """A header costs more as properties than in its envelope."""
    bench = Bench()
    asked = {"maximum_packet_size": 60} if version == V5 else {}
    reader = bench.subscriber("r", "t", 1, version, **asked)
    bench.member("p", V311).publish("t", PUSH, 1)
    assert len(reader.payloads()) == (0 if version == V5 else 1)


def test_a_broker_that_meets_no_push_does_not_load_the_codec() -> None:
    code = "import broker.app, broker.coap.service, sys; print('cbor2' in sys.modules)"
    assert run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


def test_a_deletion_stays_one_whatever_it_says_of_itself() -> None:
    bench = Bench()
    old = bench.subscriber("old", "t", 1, V311)
    bench.member("p").publish("t", b"", 1, retain=True, user_property=[("oriole-id", "aWQ")])
    assert only(old).payload == b""


@pytest.mark.parametrize("version", [V311, V5])
def test_a_will_that_moves_with_its_session_is_opened_by_who_it_came_from(version: int) -> None:
    bench, there = Bench(), Bench()
    kept = {"session_expiry_interval": 60} if version == V5 else {}
    properties = Properties(will_delay_interval=10) if version == V5 else Properties()
    bench.member("a", version, clean_start=False, will=Will(b"will", PUSH, 1, False, properties), **kept)
    watcher = there.subscriber("w", "will", 1)
    move("a", bench, there)
    there.advance(11_000)
    assert watcher.payloads() == [b"body" if version == V311 else PUSH]
