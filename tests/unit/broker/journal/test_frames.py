"""One batch in a file."""

from __future__ import annotations

from io import BytesIO

from hypothesis import given
from hypothesis import strategies as st

from broker.journal.frames import HEAD, Frame, head, mark, scan, without_torn

MARK = mark("segment", 7)


def encoded(*frames: Frame, begins: bytes = MARK) -> bytes:
    return b"".join(
        head(begins, frame.position, frame.commit, frame.boottime_ms, frame.blob) + frame.blob for frame in frames
    )


def found(content: bytes, begin: int = 0) -> list[tuple[int, Frame]]:
    return list(scan(BytesIO(content), MARK, begin, len(content)))


@given(st.lists(st.binary(max_size=300), max_size=8), st.binary(max_size=100))
def test_what_was_written_is_found_whatever_follows(blobs: list[bytes], rubbish: bytes) -> None:
    frames = [Frame(position, 1, 2**40, blob) for position, blob in enumerate(blobs, 1)]
    assert [frame for _, frame in found(encoded(*frames) + rubbish)] == frames


def test_each_file_has_a_mark_of_its_own() -> None:
    marks = {mark(kind, number) for kind in ("segment", "base") for number in range(1, 3000)}
    assert len(marks) == 2 * 2999
    assert found(encoded(Frame(1, 1, 0, b"of another file"), begins=mark("segment", 8))) == []


def test_a_frame_behind_damage_is_found_however_far() -> None:
    first, second = Frame(1, 1, 5, b"a" * 100), Frame(2, 2, 6, b"b")
    for length in (1, HEAD.size, (1 << 20) - 2, (1 << 20) + 1):
        content = encoded(first) + b"x" * length + encoded(second)
        assert found(content) == [(0, first), (first.size + length, second)]


def test_a_length_beyond_the_file_is_not_believed() -> None:
    raw = encoded(Frame(1, 1, 5, b"a" * 100))
    assert found(raw[:-1]) == []


def test_behind_a_hole_in_the_last_commit_nothing_was_safe() -> None:
    frames = [(position, Frame(position, commit, 0, b"")) for position, commit in ((1, 1), (2, 2), (4, 2), (5, 2))]
    assert list(without_torn(iter(frames), 0)) == frames[:2]
    assert list(without_torn(iter(frames[2:]), 0)) == frames[2:], "nothing is known of what was before"


def test_behind_a_hole_in_an_earlier_commit_all_was_safe() -> None:
    frames = [(position, Frame(position, commit, 0, b"")) for position, commit in ((1, 1), (3, 1), (4, 4), (6, 4))]
    assert list(without_torn(iter(frames), 0)) == frames[:3]
