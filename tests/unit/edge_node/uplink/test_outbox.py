"""What waits for the uplink: in order, and bounded."""

from broker.core.message import Message
from edge_node.uplink.outbox import Outbox


def messages(count: int) -> list[Message]:
    return [Message(b"t", b"%d" % number, 1) for number in range(count)]


def test_bytes_count_until_a_message_has_ended() -> None:
    outbox = Outbox(max_bytes=2 * Message(b"t", b"0", 1).size)
    one, two, *_ = sent = messages(4)
    outbox.add(one)
    assert not outbox.full
    outbox.add(two)
    assert outbox.full
    assert not outbox.overflowing
    assert outbox.next() is one
    assert outbox.full
    for message in sent[2:]:
        outbox.add(message)
    assert outbox.overflowing
    for message in sent:
        outbox.settle(message)
    assert outbox.bytes == 0


def test_what_was_put_back_goes_first_and_in_its_order() -> None:
    outbox = Outbox(1 << 20)
    for message in messages(4):
        outbox.add(message)
    refused = [outbox.next(), outbox.next()]
    for message in refused:
        assert message is not None
        outbox.put_back(message)
    assert outbox.held_up
    assert len(outbox) == 4
    outbox.retry()
    assert not outbox.held_up
    assert [message.payload for message in iter(outbox.next, None)] == [b"0", b"1", b"2", b"3"]
