"""What was asked of the centre and is not answered."""

from edge_node.uplink.enquiries import Enquiries


def test_what_was_not_answered_is_lost_with_the_connection() -> None:
    enquiries = Enquiries()
    enquiries.subscribe(1, [b"a", b"b"], 1)
    enquiries.subscribe(2, [b"c"], 2)
    enquiries.unsubscribe(3, [b"d"])
    assert enquiries.answered(2) == [b"c"]
    assert enquiries.lost() == [b"a", b"b", b"d"]
    assert enquiries.lost() == []


def test_a_snapshot_counts_from_its_first_beginning_to_its_first_end() -> None:
    enquiries = Enquiries()
    enquiries.subscribe(1, [b"a"], 1)
    enquiries.subscribe(2, [b"a"], 7)
    assert enquiries.awaiting_snapshot
    assert enquiries.ended(b"a") == 1
    assert enquiries.ended(b"a") is None
    assert not enquiries.awaiting_snapshot


def test_a_filter_given_up_and_asked_for_again_may_get_the_end_of_its_first_snapshot() -> None:
    enquiries = Enquiries()
    enquiries.subscribe(1, [b"a"], 1)
    enquiries.unsubscribe(2, [b"a"])
    enquiries.subscribe(3, [b"a"], 7)
    assert enquiries.ended(b"a") == 1


def test_a_centre_that_forgot_sends_no_answer_and_no_snapshot() -> None:
    enquiries = Enquiries()
    enquiries.subscribe(1, [b"b"], 2)
    enquiries.restart()
    assert not enquiries.awaiting_snapshot
    assert enquiries.lost() == []
