"""Publisher and subscriber against a scripted broker: bytes in, bytes out, nothing else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_sim.load import LoadError
from firmware_sim.load.latency import Latency
from firmware_sim.load.ledger import Ledger, Tally
from firmware_sim.load.publisher import Publisher
from firmware_sim.load.stream import Stream
from firmware_sim.load.subscriber import Subscriber
from oriole.wire.mqtt import V5, V311

SIZE = 16


class Pair:
    """Two publishers that have published 20 messages each, and a subscriber that hears both."""

    def __init__(self, qos: int, version: int = V311) -> None:
        self.latency = Latency(publishers=2, deliveries=40)
        self.streams = {
            number: Stream(number, f"bench/{number}", qos=qos, size=SIZE, version=version) for number in range(2)
        }
        self.sent = bytearray()
        self.publishers = [
            Publisher(stream, window=64, latency=self.latency, send=self.sent.extend)
            for stream in self.streams.values()
        ]
        for publisher in self.publishers:
            publisher.publish(20, 0)
        self.tally = Tally()
        self.answers = bytearray()
        self.subscriber = Subscriber(
            self.streams,
            qos=qos,
            size=SIZE,
            ledger=Ledger(self.tally),
            latency=self.latency,
            send=self.answers.extend,
        )

    def packet(self, publisher: int, sequence: int, identifier: int = 0) -> bytes:
        stream = self.streams[publisher]
        packet = stream.packets(sequence, 1)
        if identifier:
            packet[stream.identifier_at : stream.identifier_at + 2] = identifier.to_bytes(2)
        return bytes(packet)


@settings(deadline=None)  # a busy machine is no failure
@given(data=st.data(), qos=st.integers(0, 2))
def test_a_subscriber_takes_any_mixture_cut_anywhere(data: st.DataObject, qos: int) -> None:
    pair = Pair(qos)
    order = data.draw(st.permutations([0] * 20 + [1] * 20))
    due = [0, 0]
    stream, identifiers = b"", []
    for publisher in order:
        identifiers.append(data.draw(st.integers(1, 65_535)) if qos else 0)
        stream += pair.packet(publisher, due[publisher], identifiers[-1])
        due[publisher] += 1
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=5)))
    partial = b""
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        partial += stream[start:end]
        partial = partial[pair.subscriber.receive(partial, 1000) :]
    assert partial == b""
    assert pair.tally == Tally(received=40)
    assert len(pair.latency.samples) == 40
    acknowledgement = {0: b"", 1: b"\x40\x02", 2: b"\x50\x02"}[qos]
    expected = b"".join(acknowledgement + identifier.to_bytes(2) for identifier in identifiers) if qos else b""
    assert pair.answers == expected


def test_lost_doubled_and_reordered_in_the_middle_of_a_run() -> None:
    pair = Pair(qos=0)
    pair.subscriber.receive(b"".join(pair.packet(0, sequence) for sequence in (0, 1, 1, 5, 4, 6)), 0)
    assert pair.tally == Tally(received=5, doubled=1, reordered=1)


@pytest.mark.parametrize("index", [0, 2, 5, -SIZE, -SIZE + 5, -1])
def test_a_changed_byte_is_no_message(index: int) -> None:
    pair = Pair(qos=0)
    packet = bytearray(pair.packet(0, 1))
    packet[index] ^= 0x01
    pair.subscriber.receive(pair.packet(0, 0) + packet + pair.packet(0, 2), 0)
    assert pair.tally.altered == 1
    assert pair.tally.received == 2


def test_a_message_from_the_future_is_no_message() -> None:
    pair = Pair(qos=0)
    pair.subscriber.receive(pair.packet(0, 20), 0)
    assert pair.tally == Tally(altered=1)


def test_a_message_of_a_publisher_that_is_not_heard_is_no_message() -> None:
    pair = Pair(qos=0)
    del pair.streams[1]
    stranger = Stream(1, "bench/1", qos=0, size=SIZE, version=V311)
    pair.subscriber.receive(bytes(stranger.packets(0, 1)), 0)
    assert pair.tally == Tally(altered=1)


def test_a_packet_too_short_for_an_identity_is_no_message() -> None:
    pair = Pair(qos=0)
    assert pair.subscriber.receive(b"\x30\x03\x00\x01x", 0) == 5
    assert pair.tally == Tally(altered=1)


def test_qos_2_is_completed() -> None:
    pair = Pair(qos=2)
    pair.subscriber.receive(b"\x62\x02\x00\x07\x62\x02\x00\x08\x62\x02\x00", 0)
    assert pair.answers == b"\x70\x02\x00\x07\x70\x02\x00\x08"


def test_the_window_and_the_send_ahead_bound_what_may_be_published() -> None:
    publisher = Pair(qos=1).publishers[0]
    packet_bytes = publisher.stream.packet_bytes
    assert publisher.room(0, 65_536) == 64 - 20
    assert publisher.room(0, packet_bytes * 3) == 3
    assert publisher.room(packet_bytes * 3, packet_bytes * 3) == 0
    assert Pair(qos=0).publishers[0].room(0, 65_536) > 64


def test_acknowledgements_settle_messages() -> None:
    publisher = Pair(qos=1, version=V5).publishers[0]
    assert publisher.receive(b"\x40\x02\x00\x01" * 3 + b"\x40\x03\x00\x04\x10" + b"\x40", 0) == 17
    assert (publisher.in_flight, publisher.refused) == (16, 0)


def test_a_failure_is_counted_and_ends_the_message() -> None:
    pair = Pair(qos=2, version=V5)
    publisher = pair.publishers[0]
    pair.sent.clear()
    publisher.receive(b"\x50\x03\x00\x01\x97" + b"\x50\x02\x00\x02" + b"\x50\x03\x00\x03\x00", 0)
    assert (publisher.in_flight, publisher.refused) == (19, 1)
    assert pair.sent == b"\x62\x02\x00\x02\x62\x02\x00\x03"
    publisher.receive(b"\x70\x02\x00\x02", 0)
    assert publisher.in_flight == 18


def test_more_acknowledgements_than_messages_end_the_run() -> None:
    with pytest.raises(LoadError, match="more than was published"):
        Pair(qos=1).publishers[0].receive(b"\x40\x02\x00\x01" * 21, 0)


@pytest.mark.parametrize("role", ["publisher", "subscriber"])
@pytest.mark.parametrize(("packet", "name"), [(b"\xe0\x00", "DISCONNECT"), (b"\x00\x00", "type 0")])
def test_what_a_broker_has_no_reason_to_send_ends_the_run(role: str, packet: bytes, name: str) -> None:
    pair = Pair(qos=1)
    receiver = pair.subscriber if role == "subscriber" else pair.publishers[0]
    with pytest.raises(LoadError, match=f"{name}.*{role}"):
        receiver.receive(packet, 0)
