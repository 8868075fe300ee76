"""What a peer can do wrong: the connection closes with the specification's reason, and nobody else notices anything."""

from __future__ import annotations

import sys
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.broker.mqtt.harness import Bench

from broker.core.questions import Admission, Verdict
from oriole.wire.mqtt import (
    V5,
    V311,
    Auth,
    ConnAck,
    Connect,
    Disconnect,
    PingReq,
    PubAck,
    Publish,
    PubRec,
    PubRel,
    ReasonCode,
    Subscribe,
    Subscription,
    Unsubscribe,
    Will,
    encode,
)

MALFORMED, PROTOCOL = ReasonCode.MALFORMED_PACKET, ReasonCode.PROTOCOL_ERROR
MAX = 1000

AFTER_CONNECT: dict[str, tuple[int, str, ReasonCode]] = {
    # what: version, bytes, reason in MQTT 5
    "packet type 0": (V5, "0000", MALFORMED),
    "AUTH without a method": (V5, "f000", PROTOCOL),
    "AUTH in 3.1.1": (V311, "f000", MALFORMED),
    "CONNACK from a client (CVE-2021-28166)": (V5, "2003000000", PROTOCOL),
    "SUBACK from a client": (V5, "9004000100 00", PROTOCOL),
    "PINGRESP from a client": (V5, "d000", PROTOCOL),
    "QoS 3": (V5, "36060001740001 00", MALFORMED),
    "QoS 3 in 3.1.1": (V311, "360500017400 01", MALFORMED),
    "DUP with QoS 0": (V5, "3804000174 00", MALFORMED),
    "SUBSCRIBE with flags 0": (V5, "8007000100 00017400", MALFORMED),
    "PUBREL with flags 0": (V5, "60020001", MALFORMED),
    "PUBACK with flags": (V5, "42020001", MALFORMED),
    "PINGREQ with a body": (V5, "c00100", MALFORMED),
    "DISCONNECT with flags": (V5, "e100", MALFORMED),
    "empty PUBLISH": (V5, "3000", MALFORMED),
    "PUBLISH of one byte": (V5, "300100", MALFORMED),
    "PUBLISH of nothing, in a long length": (V311, "308000", MALFORMED),
    "topic of length 0 (CVE-2021-34432)": (V5, "3003000000", PROTOCOL),
    "topic of length 0 in 3.1.1": (V311, "30020000", MALFORMED),
    "topic longer than its packet": (V311, "3003000274", MALFORMED),
    "topic longer than its packet, with more behind": (V311, "300300037430030001 7478", MALFORMED),
    "topic reaching into the properties": (V5, "30030001 74", MALFORMED),
    "properties longer than the packet": (V5, "30040001 74ff", MALFORMED),
    "packet identifier missing": (V311, "3203000174", MALFORMED),
    "packet identifier 0": (V5, "3206000174000000", PROTOCOL),
    "packet identifier 0 in PUBREL": (V5, "62020000", PROTOCOL),
    "packet identifier 0 in PUBREC": (V311, "50020000", PROTOCOL),
    "packet identifier 0 in SUBSCRIBE": (V311, "820600000001 7400", PROTOCOL),
    "topic with +": (V5, "30040001 2b00", MALFORMED),
    "topic with #": (V311, "3003000123", MALFORMED),
    "topic with NUL": (V5, "3004000100 00", MALFORMED),
    "topic that is not UTF-8": (V5, "30040001ff00", MALFORMED),
    "topic with half a surrogate pair": (V5, "30060003eda08000", MALFORMED),
    "topic alias, none was offered": (V5, "30080000 03230001" + "7878", ReasonCode.TOPIC_ALIAS_INVALID),
    "subscription identifier from a client": (V5, "30070001 74 020b01 78", PROTOCOL),
    "unknown property": (V5, "30060001 74 027f01", PROTOCOL),
    "SUBSCRIBE without a filter": (V5, "8203000100", PROTOCOL),
    "SUBSCRIBE with QoS 3": (V5, "8207000100 00017403", PROTOCOL),
    "SUBSCRIBE with reserved options": (V311, "82060001000174 04", MALFORMED),
    "UNSUBSCRIBE without a filter": (V311, "a2020001", PROTOCOL),
    "filter with # inside": (V5, "8209000100 0003232f61 00", MALFORMED),
    "filter a+": (V5, "8208000100 0002612b 00", MALFORMED),
    "128 levels of topic (CVE-2019-11779)": (V5, "3083010080" + "2f" * 128 + "00", ReasonCode.TOPIC_NAME_INVALID),
    "length of five bytes": (V5, "30ffffffff01", MALFORMED),
    "PUBLISH over the limit, by its header": (V5, "30e907", ReasonCode.PACKET_TOO_LARGE),
    "PUBLISH over the limit, whole": (V5, "30e607" + "0001740000" + "78" * 993, ReasonCode.PACKET_TOO_LARGE),
    "SUBSCRIBE over the limit, whole": (V5, "82e607" + "00" * 998, ReasonCode.PACKET_TOO_LARGE),
    "256 MiB announced": (V5, "30ffffff7f", ReasonCode.PACKET_TOO_LARGE),
    "PUBACK with an unknown reason": (V5, "40030001 42", PROTOCOL),
    "PUBACK cut short": (V5, "400100", MALFORMED),
    "PUBACK with a tail in 3.1.1": (V311, "4003000100", MALFORMED),
}


@pytest.mark.parametrize("one_by_one", [False, True], ids=["whole", "bytewise"])
@pytest.mark.parametrize(("version", "data", "reason"), AFTER_CONNECT.values(), ids=AFTER_CONNECT)
def test_after_connect(version: int, data: str, reason: ReasonCode, one_by_one: bool) -> None:
    """[MQTT-4.13.1-1]; 3.1.1 closes without a word."""
    bench = Bench(max_packet_bytes=MAX)
    watcher = bench.subscriber("watcher", "#")
    client = bench.member("a", version)
    client.publish("t", b"good", 1)
    client.take()
    raw = bytes.fromhex(data)
    for piece in [raw[i : i + 1] for i in range(len(raw))] if one_by_one else [raw]:
        client.send(piece)
    assert client.reason() == (reason if version == V5 else None)
    assert bench.service.connected == 1
    assert watcher.payloads() == [b"good"]
    assert watcher.channel.gone is False


BEFORE_CONNECT: dict[str, tuple[str, int | None]] = {
    # what: bytes, and the first byte after the flags of the CONNACK that answers it, if one does
    "PUBLISH": ("3003000174", None),
    "PINGREQ": ("c000", None),
    "HTTP": ("474554202f20485454502f312e310d0a", None),
    "TLS": ("1603010200010001fc0303", None),
    "CONNECT with flags": ("1100", None),
    "CONNECT over the limit, by its header": ("10e907", None),
    "length of five bytes": ("10ffffffff01", None),
    "an empty CONNECT": ("1000", None),
    "protocol MQXX": ("100c00044d51585804020000000000", None),
    "reserved flag in 3.1.1": ("100c00044d51545404030000 0000", None),
    "reserved flag in 5": ("100d00044d51545405030000 00 0000", MALFORMED),
    "3.1": ("100e00064d514973647003020000 0000", 1),
    "version 3": ("100c00044d51545403020000 0000", 1),
    "version 6": ("100d00044d51545406020000 00 0000", 0x84),
    "will QoS 3": ("101300044d515454051e0000 00 0000 00 000174 000178", MALFORMED),
    "will to a wildcard": ("101300044d51545405060000 00 0000 00 000123 0000", MALFORMED),
    "name that is not UTF-8": ("100e00044d51545405020000 00 0001ff", MALFORMED),
    "receive maximum 0": ("101000044d51545405020000 03210000 0000", PROTOCOL),
}


@pytest.mark.parametrize(("data", "code"), BEFORE_CONNECT.values(), ids=BEFORE_CONNECT)
def test_before_connect(data: str, code: int | None) -> None:
    bench = Bench(max_packet_bytes=MAX)
    client = bench.client()
    client.send(bytes.fromhex(data))
    assert client.closed
    sent = bytes(client.channel.sent)
    assert (sent[3] if sent else None) == code
    assert sent[:1] in (b"", b"\x20")
    assert (len(bench.service.sessions), bench.engine.deadlines.next_at() is None) == (0, False)
    bench.advance(100_000)
    assert bench.engine.deadlines.next_at() is None


PACKETS = [
    Connect("a"),
    Connect("b", V311, False, 10, "u", b"p", Will(b"w", b"x", 1, True)),
    Publish(b"t", b"x"),
    Publish(b"t", b"x", 2, True, False, 3),
    PubAck(1),
    PubRec(3),
    PubRel(3),
    Subscribe(1, [Subscription("#", 2)]),
    Unsubscribe(2, ["#"]),
    PingReq(),
    Disconnect(),
    Auth(),
]


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([V311, V5]), st.binary(max_size=60), st.lists(st.sampled_from(PACKETS), max_size=4), st.data())
def test_any_bytes(version: int, noise: bytes, packets: list[Publish], data: st.DataObject) -> None:
    """Random bytes, and packets with one byte changed: nothing but the connection itself ever breaks."""
    bench = Bench()
    witness = bench.subscriber("witness", "only/for/me")
    stream = bytearray(b"".join(encode(p, version) for p in packets if version == V5 or not isinstance(p, Auth)))
    if stream:
        stream[data.draw(st.integers(0, len(stream) - 1))] = data.draw(st.integers(0, 255))
    for first in (b"", encode(Connect("a", version), version)):
        client = bench.client(version)
        client.send(first)
        client.send(bytes(stream))
        client.send(noise)
        client.lose()
    bench.advance(20_000)
    bench.member("p").publish("only/for/me", b"still here")
    assert witness.payloads()[-1:] == [b"still here"]
    assert bench.service.connected == 2


def test_a_client_that_breaks_rules_for_a_living_costs_nothing() -> None:
    bench = Bench()
    bench.member("keeper")
    for data, _ in BEFORE_CONNECT.values():
        bench.client().send(bytes.fromhex(data))
    sizes = []
    for _ in range(3):
        for _ in range(200):
            client = bench.member("a")
            client.send(Publish(b"t", b"x", 2, packet_identifier=1), b"\x00\x00")
        bench.advance(10_000)
        sizes.append((len(bench.service.sessions), len(bench.engine._answers), len(bench.engine.promises.made)))
    assert sizes == [(1, 0, 0)] * 3


def test_a_packet_that_comes_byte_by_byte_costs_its_size_and_no_more() -> None:
    """A bytes object for each byte would be forty times that."""
    bench = Bench()
    reader = bench.subscriber("reader", "t")
    client = bench.member("a")
    packet = encode(Publish(b"t", bytes(200_000)), V5)
    most = 0
    for position in range(len(packet)):
        client.channel.feed(bytes(bytearray(packet[position : position + 1])))
        if position % 1000 == 0:
            chunks = client.connection._chunks
            most = max(most, sum(map(sys.getsizeof, chunks)) + sys.getsizeof(chunks))
    bench.turn()
    assert reader.payloads() == [bytes(200_000)]
    assert most < 400_000


class Searched(bytes):
    """Bytes that count how often somebody compared a part of them."""

    comparisons = 0

    def startswith(self, *prefix: Any) -> bool:
        Searched.comparisons += 1
        return super().startswith(*prefix)


@pytest.mark.parametrize("kind", [b"\x40", b"\x50", b"\x62", b"\x70"])
def test_acknowledgements_of_nothing_cost_their_number_and_no_more(kind: bytes) -> None:
    """64 KiB of them once kept everybody else waiting for seconds."""
    count = 2048
    client = Bench().member("a", V311)
    Searched.comparisons = 0
    client.channel.feed(Searched(b"".join(kind + b"\2" + number.to_bytes(2) for number in range(1, count + 1))))
    assert Searched.comparisons <= 64 * count


def test_many_small_packets_behind_a_question_are_not_too_large() -> None:
    """What waits for a verdict may be more than one packet may be."""
    bench = Bench(
        decide=lambda q: Verdict(True, restricted=True) if isinstance(q, Admission) else None, max_packet_bytes=128
    )
    client = bench.member("a")
    client.send(*[Publish(b"t", bytes(50), 1, packet_identifier=number) for number in range(1, 50)])
    bench.settle(Verdict(True))
    assert client.take() == [PubAck(number) for number in range(1, 50)]


def test_connack_is_the_first_and_only_one() -> None:
    """[MQTT-3.2.0-1] [MQTT-3.2.0-2]"""
    client = Bench().client()
    client.send(Connect("a"), PingReq(), Connect("a"))
    packets = client.take()
    assert isinstance(packets[0], ConnAck)
    assert sum(isinstance(packet, ConnAck) for packet in packets) == 1
