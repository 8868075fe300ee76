"""A session moved whole: as records and bytes to another engine, where its client gets exactly what it is owed."""

from __future__ import annotations

from typing import Any

import pytest
from unit.broker.mqtt.harness import Bench, Client, move

from oriole.wire.mqtt import V5, V311, ConnAck, Properties, PubAck, PubComp, Publish, PubRec, PubRel, Will

KEPT: dict[str, Any] = {"session_expiry_interval": 600}


def moved(old: Bench) -> Bench:
    """The session of `a` on a new bench, whose clock reads something else."""
    new = Bench(receive_maximum=4, max_queue_messages=20)
    new.now = 5
    move("a", old, new)
    return new


def busy_session() -> tuple[Bench, Client]:
    """Every kind of thing that a session can be owed or owe."""
    bench = Bench(receive_maximum=4)
    will = Will(b"w", b"gone", 1, True, Properties(will_delay_interval=30, content_type="c"))
    client = bench.member("a", username="u", will=will, **KEPT)
    client.subscribe("t/#", 2, identifier=7, retain_as_published=True)
    client.subscribe("own", 1, no_local=True)
    client.send(Publish(b"x", b"mine", 2, packet_identifier=11))
    publisher = bench.member("p", V311)
    for number in range(1, 8):
        publisher.send(Publish(b"t/1", b"%d" % number, 1 + number % 2, number == 5, packet_identifier=number))
    other = bench.member("q")
    told: dict[str, Any] = {"content_type": "c", "user_property": [("k", "v")], "correlation_data": b"\0\xff"}
    other.publish("t/2", b"told", 1, message_expiry_interval=60, **told)
    other.publish("t/2", b"short", 1, message_expiry_interval=5)
    client.take()
    client.send(PubRec(1), PubAck(2), PubAck(4))
    client.take()
    return bench, client


@pytest.mark.parametrize("version", [V311, V5])
@pytest.mark.parametrize("connected", [True, False])
def test_the_client_resumes_elsewhere_as_it_would_here(version: int, connected: bool) -> None:
    """The same packets, byte for byte, from the old engine and from the new one."""

    def resume(bench: Bench) -> bytes:
        bench.advance(6_000)
        client = bench.join(
            "a", version, clean_start=False, **({"receive_maximum": 4, **KEPT} if version == V5 else {})
        )
        seen = bytes(client.channel.sent)
        for _ in range(4):
            for packet in client.take():
                if isinstance(packet, Publish):
                    client.send((PubAck if packet.qos == 1 else PubRec)(packet.packet_identifier))
                elif isinstance(packet, PubRel):
                    client.send(PubComp(packet.packet_identifier))
            seen += bytes(client.channel.sent)
        client.send(Publish(b"x", b"mine", 2, dup=True, packet_identifier=11), PubRel(11))
        bench.member("n").publish("t/9", b"new", 1, True)
        client.publish("own", b"not for me")
        return seen + bytes(client.channel.sent)

    here, client = busy_session()
    if not connected:
        client.lose()
    there = moved(here)
    if connected:
        client.lose()
    assert resume(there) == resume(here)
    assert there.service.sessions["a"].inflight.keys() == here.service.sessions["a"].inflight.keys()


def test_what_is_left_of_lifetimes_goes_on_elsewhere() -> None:
    bench, client = busy_session()
    client.lose()
    bench.advance(10_000)
    there = moved(bench)
    watcher = there.subscriber("watcher", "w")
    there.advance(19_999)
    assert watcher.payloads() == []
    there.advance(1)
    (will,) = watcher.take()
    assert (will.payload, will.properties.content_type) == (b"gone", "c")  # type: ignore[union-attr]
    there.advance(600_000 - 30_000 - 1)
    assert "a" in there.service.sessions
    there.advance(1)
    assert "a" not in there.service.sessions
    assert there.router.routes.subscription_count == 1


def test_who_comes_back_elsewhere_in_time_is_not_dead_there() -> None:
    bench, _ = busy_session()
    there = moved(bench)
    watcher = there.subscriber("watcher", "w")
    connack = there.join("a", clean_start=False, **KEPT).take()[0]
    assert isinstance(connack, ConnAck)
    assert connack.session_present
    there.advance(100_000)
    assert watcher.payloads() == []


def test_a_session_that_does_not_expire() -> None:
    bench = Bench(max_session_expiry_s=0xFFFF_FFFF)
    bench.member("a", session_expiry_interval=0xFFFF_FFFF).lose()
    there = moved(bench)
    there.advance(10**10)
    assert "a" in there.service.sessions


def test_a_queue_that_is_full_here_is_full_there() -> None:
    bench = Bench(max_queue_messages=20)
    bench.subscriber("a", "t", 1, **KEPT).lose()
    publisher = bench.member("p")
    for _ in range(20):
        publisher.publish("t", b"x", 1)
    there = moved(bench)
    assert (there.service.sessions["a"].full, there.router.full_sinks) == (True, 1)
    assert there.service.sessions["a"].queue.bytes == bench.service.sessions["a"].queue.bytes
