"""Duplicates are known for their time, in bounded memory."""

from oriole.link.coap.replies import OVERHEAD_BYTES, Replies


def test_a_message_is_known_until_its_time_is_over() -> None:
    replies = Replies(1_000, 10, 10_000)
    assert replies.get(("a", 1), 0) is None
    replies.begin(("a", 1), 0)
    assert replies.get(("a", 1), 0) == b""
    replies.finish(("a", 1), b"yes", 0)
    assert replies.get(("a", 1), 999) == b"yes"
    assert replies.get(("a", 1), 1_000) is None
    assert replies.get(("b", 1), 0) is None
    replies.begin(("a", 2), 1_000)
    assert len(replies) == 1


def test_the_oldest_makes_room_by_count_and_by_bytes() -> None:
    replies = Replies(1_000, 3, 2_000)
    for number in range(5):
        replies.begin(("a", number), number)
    assert [replies.get(("a", number), 5) for number in range(5)] == [None, None, b"", b"", b""]
    replies.finish(("a", 4), b"x" * 1_200, 5)
    assert [replies.get(("a", number), 5) is None for number in range(2, 5)] == [True, False, False]
    assert replies.bytes == 2 * OVERHEAD_BYTES + 1_200


def test_bytes_return_to_nothing_but_the_newest() -> None:
    replies = Replies(10, 1_000, 1_000_000)
    for number in range(500):
        replies.begin(("a", number % 50), number * 7)
        replies.finish(("a", number % 50), bytes(number), number * 7)
    replies.begin(("b", 0), 1_000_000)
    assert (len(replies), replies.bytes) == (1, OVERHEAD_BYTES)


def test_a_reply_to_what_was_forgotten_is_not_kept() -> None:
    replies = Replies(10, 1, 1_000_000)
    replies.begin(("a", 1), 0)
    replies.begin(("a", 2), 0)
    replies.finish(("a", 1), b"late", 0)
    assert replies.get(("a", 1), 0) is None
    assert replies.bytes == OVERHEAD_BYTES
