"""What is whole is read, what is not is said, whatever happened to the files."""

from __future__ import annotations

import os
import random
from pathlib import Path
from tempfile import TemporaryDirectory
from zlib import crc32

import pytest
from hypothesis import given
from hypothesis import strategies as st
from unit.broker.journal.disks import WHO, read, tried

from broker.journal.bases import write_base
from broker.journal.files import HEADER_BYTES, OtherFormatError, create, new_header, publish, write
from broker.journal.frames import HEAD, head, mark
from broker.journal.reading import Damage, Reading, last_batch

BLOBS = [bytes([65 + number]) * (10 * number + 1) for number in range(6)]
ALL = list(enumerate(BLOBS, 1))


def segment(folder: Path, number: int, first: int, blobs: list[bytes], size: int = 0, commit: int = 0) -> Path:
    """Write a segment; each batch is a commit, but where all belong to one."""
    content = b"".join(
        head(mark("segment", number), position, commit or position, 5, blob) + blob
        for position, blob in enumerate(blobs, first)
    )
    header = new_header(number, first, *WHO.values())
    file = create(folder, "segment", header, size)
    write(file, content, HEADER_BYTES)
    publish(folder, "segment", header, file)
    os.close(file)
    return folder / f"{number:08}.segment"


def three(folder: Path) -> list[Path]:
    """Three segments with two batches each."""
    return [segment(folder, number, 2 * number - 1, BLOBS[2 * number - 2 : 2 * number], 400) for number in (1, 2, 3)]


def offset_of(index: int) -> int:
    """Of a batch in the segments of `three`."""
    return HEADER_BYTES + (HEAD.size + len(BLOBS[index - 1]) if index % 2 else 0)


def flip(path: Path, offset: int, bit: int = 1) -> None:
    content = bytearray(path.read_bytes())
    content[offset] ^= bit
    path.write_bytes(content)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_an_empty_folder_holds_nothing(tmp_path: Path) -> None:
    assert read(tmp_path) == ([], [])


def test_batches_come_in_order_with_the_header_of_their_file(tmp_path: Path) -> None:
    three(tmp_path)
    reading = Reading(tmp_path)
    assert [(frame.position, reading.header.number) for frame in reading] == [(n, (n + 1) // 2) for n in range(1, 7)]
    assert (reading.position, reading.damages) == (6, [])
    header = reading.header
    assert (header.node, header.epoch, header.position) == (*WHO.values(), 5)
    assert header.boot != bytes(16)
    assert header.boottime_ms > 0
    assert header.wall_ms > 1_700_000_000_000
    assert read(tmp_path, before=3) == (ALL[:4], [])


def test_a_torn_end_is_cut_off_wherever_it_was_torn(tmp_path: Path) -> None:
    paths = three(tmp_path)
    content = paths[-1].read_bytes()
    begin, end = offset_of(5), offset_of(5) + HEAD.size + len(BLOBS[5])
    for cut in range(begin, end):
        paths[-1].write_bytes(content[:cut])
        assert read(tmp_path) == (ALL[:5], []), cut
        paths[-1].write_bytes(content[:cut] + bytes(400 - cut))
        assert read(tmp_path) == (ALL[:5], []), cut
        is_seen = cut >= begin + 4
        assert last_batch(tmp_path, "segment", 3) == (5, begin, is_seen), cut


def test_a_commit_torn_in_any_order_is_cut_off(tmp_path: Path) -> None:
    path = segment(tmp_path, 1, 1, BLOBS, commit=1)
    flip(path, HEADER_BYTES + HEAD.size + len(BLOBS[0]))
    assert read(tmp_path) == (ALL[:1], [])
    assert last_batch(tmp_path, "segment", 1)[0] == 1
    assert names(tmp_path) == [path.name]


@pytest.mark.parametrize("index", [0, 1, 2, 3, 4])
def test_damage_in_the_middle_costs_what_it_hit(tmp_path: Path, index: int) -> None:
    paths = three(tmp_path)
    path = paths[index // 2]
    flip(path, offset_of(index) + HEAD.size)
    before = path.read_bytes()
    rest = ALL[:index] + ALL[index + 1 :]
    batches, (damage,) = read(tmp_path)
    assert batches == rest
    assert (damage.file, damage.offset, damage.reason) == (path.name, offset_of(index), "1 batches are missing")
    assert (tmp_path / f"{path.name}.damaged").read_bytes() == before
    batches, (damage,) = read(tmp_path)
    assert batches == rest, "what is whole is still under the old name"
    assert damage.bytes == 0, "and the hole is known as one"
    assert len(names(tmp_path)) == 4, "set aside once"


@given(st.data())
def test_flipped_bits_cost_no_batch_that_they_did_not_hit(data: st.DataObject) -> None:
    with TemporaryDirectory() as folder:
        paths = three(Path(folder))
        hit = set()
        for _ in range(data.draw(st.integers(1, 4))):
            number, offset = data.draw(st.integers(0, 2)), data.draw(st.integers(0, 399))
            flip(paths[number], offset, 1 << data.draw(st.integers(0, 7)))
            for index in (2 * number, 2 * number + 1):
                if offset_of(index) <= offset < offset_of(index) + HEAD.size + len(BLOBS[index]):
                    hit.add(index)
        batches, damages = read(Path(folder))
        assert {(n, BLOBS[n - 1]) for n, _ in batches} == set(batches), "nothing that was not written"
        assert [n for n, _ in batches] == sorted({n for n, _ in batches})
        lost = {n for n, _ in ALL} - {n for n, _ in batches}
        assert lost <= {index + 1 for index in hit}, "a bit that is flipped twice is none"
        assert damages or lost <= {5, 6}, "the end of the last file may be taken for a torn one"
        assert read(Path(folder))[0] == batches, "reading again gives the same"


def test_a_garbled_header_costs_no_batch(tmp_path: Path) -> None:
    paths = three(tmp_path)
    for number, path in enumerate(paths, 1):
        flip(path, 20)
        batches, damages = read(tmp_path)
        assert batches == ALL
        assert damages == [Damage(path.name, 0, HEADER_BYTES, "the header is garbled")]
        assert read(tmp_path) == (ALL, []), "a new one was made"
        assert len([name for name in names(tmp_path) if name.endswith(".damaged")]) == number


def test_a_missing_segment_is_said(tmp_path: Path) -> None:
    paths = three(tmp_path)
    paths[1].unlink()
    batches, damages = read(tmp_path)
    assert batches == ALL[:2] + ALL[4:]
    assert damages == [Damage(paths[1].name, 0, 0, "the file is missing")]


@pytest.mark.parametrize("length", [0, 1, HEADER_BYTES - 1, HEADER_BYTES, HEADER_BYTES + 5])
def test_a_truncated_segment_is_said(tmp_path: Path, length: int) -> None:
    paths = three(tmp_path)
    paths[1].write_bytes(paths[1].read_bytes()[:length])
    batches, damages = read(tmp_path)
    assert batches == ALL[:2] + ALL[4:]
    assert damages[-1].file == paths[1].name
    assert damages[-1].reason == "2 batches are missing"


def test_rubbish_is_no_segment(tmp_path: Path) -> None:
    paths = three(tmp_path)
    paths[0].write_bytes(random.Random(1).randbytes(5000))
    batches, damages = read(tmp_path)
    assert batches == ALL[2:]
    assert [damage.reason for damage in damages] == ["the header is garbled", "2 batches are missing"]


def test_names_taken_by_earlier_damage_are_not_written_over(tmp_path: Path) -> None:
    path = three(tmp_path)[0]
    for _ in range(3):
        flip(path, 20)
        read(tmp_path)
    aside = [name for name in names(tmp_path) if name.endswith(".damaged")]
    assert aside == [f"{path.name}.2.damaged", f"{path.name}.3.damaged", f"{path.name}.damaged"]


def test_a_check_changes_nothing(tmp_path: Path) -> None:
    flip(three(tmp_path)[0], offset_of(0))
    reading = Reading(tmp_path, set_aside=False)
    assert [frame.position for frame in reading] == [2, 3, 4, 5, 6]
    assert len(reading.damages) == 1
    assert len(names(tmp_path)) == 3


def test_batches_of_a_failed_commit_are_not_read(tmp_path: Path) -> None:
    segment(tmp_path, 1, 1, [b"safe", b"void", b"void"])
    segment(tmp_path, 2, 2, [b"next"])
    assert read(tmp_path) == ([(1, b"safe"), (2, b"next")], [])


def test_what_is_left_of_another_file_is_not_read(tmp_path: Path) -> None:
    old = segment(tmp_path, 1, 1, BLOBS)
    old.rename(tmp_path / "00000001.spare")
    segment(tmp_path, 2, 7, [b"new"], 400)
    assert names(tmp_path) == ["00000002.segment"]
    reading = Reading(tmp_path)
    assert [frame.blob for frame in reading] == [b"new"]


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    path = three(tmp_path)[0]
    content = bytearray(path.read_bytes())
    content[8] = 2
    content[HEADER_BYTES - 4 : HEADER_BYTES] = crc32(content[: HEADER_BYTES - 4]).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(OtherFormatError, match=r"00000001\.segment: format 2, and this version knows format 1"):
        read(tmp_path)


# ---- Bases


def test_a_base_stands_for_what_was_before(tmp_path: Path) -> None:
    three(tmp_path)
    write_base(tmp_path, 2, 4, [b"x", b"y"], **WHO)
    assert names(tmp_path) == ["00000001.spare", "00000002.base", "00000002.spare", "00000003.segment"]
    assert read(tmp_path) == ([(4, b"x"), (4, b"y"), *ALL[4:]], [])
    write_base(tmp_path, 3, 6, [], **WHO)
    assert names(tmp_path) == ["00000001.spare", "00000002.spare", "00000003.base", "00000003.spare"]
    assert read(tmp_path) == ([], [])
    reading = Reading(tmp_path)
    assert (list(reading), reading.position) == ([], 6)


def test_batches_that_a_base_holds_are_not_read_again(tmp_path: Path) -> None:
    three(tmp_path)
    write_base(tmp_path, 2, 5, [b"x"], **WHO)
    assert read(tmp_path) == ([(5, b"x"), ALL[5]], [])


def test_a_base_for_which_there_is_no_room_takes_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    three(tmp_path)
    before = names(tmp_path)
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        write_base(tmp_path, 2, 4, [b"x"], **WHO)
    assert names(tmp_path) == before
    assert read(tmp_path) == (ALL, [])


def test_a_base_that_was_cut_short_is_said(tmp_path: Path) -> None:
    three(tmp_path)
    write_base(tmp_path, 2, 4, [b"x", b"y"], **WHO)
    path = tmp_path / "00000002.base"
    content = path.read_bytes()
    short = Damage(path.name, 0, 0, "the file ends too early")
    path.write_bytes(content[: -HEAD.size])
    assert read(tmp_path) == ([(4, b"x"), (4, b"y"), *ALL[4:]], [short])
    path.write_bytes(content[: -HEAD.size - 1])
    assert read(tmp_path) == ([(4, b"x"), *ALL[4:]], [short])


def test_a_garbled_base_gives_what_is_whole(tmp_path: Path) -> None:
    three(tmp_path)
    write_base(tmp_path, 2, 4, [b"x", b"y"], **WHO)
    flip(tmp_path / "00000002.base", HEADER_BYTES)
    batches, damages = read(tmp_path)
    assert batches == [(4, b"y"), *ALL[4:]]
    assert damages == [Damage("00000002.base", HEADER_BYTES, HEAD.size + 1, "garbled")]
    assert (tmp_path / "00000002.base.damaged").exists()
    assert read(tmp_path) == (batches, [])


def test_a_segment_that_a_copy_holds_is_not_written_over(tmp_path: Path) -> None:
    path = three(tmp_path)[0]
    copy = tmp_path / "copy"
    copy.hardlink_to(path)
    write_base(tmp_path, 1, 2, [b"x"], **WHO)
    assert not list(tmp_path.glob("*.spare"))
    assert copy.stat().st_nlink == 1


def test_the_largest_segments_are_kept_to_be_written_over(tmp_path: Path) -> None:
    sizes = [500, 900, 800, 400, 700, 600]
    for number, size in enumerate(sizes, 1):
        segment(tmp_path, number, number, [b"x"], size)
    write_base(tmp_path, 6, 6, [], **WHO)
    assert names(tmp_path) == [*(f"{number:08}.spare" for number in (2, 3, 5)), "00000006.base", "00000006.spare"]


def test_an_unfinished_base_is_nothing(tmp_path: Path) -> None:
    three(tmp_path)
    (tmp_path / "00000003.base.new").write_bytes(b"half of")
    assert read(tmp_path) == (ALL, [])
    with tried(tmp_path) as life:
        assert life.journal.committed == 6
    assert "00000003.base.new" not in names(tmp_path)
