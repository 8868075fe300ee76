"""What is in a journal is counted; what is being written at the time is no damage, and damage is."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from unit.broker.journal.disks import WHO, tried

from broker.core.message import Message
from broker.core.records import Accepted, Ended, Opened, Owes, Progressed, Record, Stream, Subscribed
from broker.journal.bases import write_base
from broker.journal.codec import encode
from broker.upkeep import survey as module
from broker.upkeep.survey import Survey, lines, survey


def accepted(payload: bytes, *owed: tuple[int, int], is_kept: bool = False) -> Accepted:
    message = Message(b"topic", payload, 1)
    message.order = 1
    return Accepted([message], is_kept, [(session, 1, False, (), number) for session, number in owed])


def journal(folder: Path, *batches: list[Record]) -> Path:
    folder.mkdir()
    with tried(folder) as written:
        for position, batch in enumerate(batches, 1):
            written.write(encode(batch, position, {}))
    return folder


def test_what_lives_is_counted(tmp_path: Path) -> None:
    folder = journal(
        tmp_path / "journal",
        [
            Opened(1, "a", None, 600, 10, None),
            Opened(2, "b", None, 600, 10, None),
            Subscribed(1, b"topic", 1, 0, False),
        ],
        [accepted(b"one", (1, 1), (2, 1)), accepted(b"two", (2, 2), is_kept=True)],
        [Progressed(2, 0x40, [1])],
        [Opened(3, "c", None, 600, 10, None), Ended(3)],
    )
    found = survey(folder, is_written=False)
    assert (found.batches, found.first, found.last) == (4, 1, 4)
    assert found.records == {"Opened": 3, "Subscribed": 1, "Accepted": 2, "Progressed": 1, "Ended": 1}
    assert (found.sessions, found.queued, found.retained, found.damages) == (2, 2, 1, [])
    assert not found.is_of_an_edge
    shown = [*lines(folder, found)]
    assert shown[0] == f"{folder}: whole"
    assert shown[-2] == "  lives     2 sessions that are owed 2 messages (44 B), 1 retained (22 B)"


def test_what_an_edge_owes_its_centre_is_counted(tmp_path: Path) -> None:
    folder = journal(
        tmp_path / "journal", [Stream(7, "normal", 1)], [accepted(b"one", (7, 1))], [accepted(b"two", (7, 2))]
    )
    found = survey(folder, is_written=False)
    assert found.is_of_an_edge
    assert "0 sessions and a centre that are owed 2 messages" in "\n".join(lines(folder, found))


def test_records_that_nobody_knows_are_damage(tmp_path: Path) -> None:
    folder = tmp_path / "journal"
    folder.mkdir()
    with tried(folder) as written:
        written.write(encode([Ended(1)], 1, {}), b"no records", encode([Ended(2)], 3, {}))
    found = survey(folder, is_written=False)
    assert [damage.file for damage in found.damages] == ["position 2"]
    assert found.records == {"Ended": 2}
    assert [*lines(folder, found)][-1].startswith(
        "  DAMAGED   position 2 at byte 0, 10 bytes: no records that this version knows"
    )


def test_an_empty_journal(tmp_path: Path) -> None:
    found = survey(tmp_path, is_written=False)
    assert [*lines(tmp_path, found)][1:4] == ["  files     none", "  batches   0 (0 B)", "  records   none"]


def test_a_journal_that_is_written_and_cleaned_meanwhile_is_whole(tmp_path: Path) -> None:
    with tried(tmp_path, segment_bytes=5000) as written:

        def write() -> None:
            for number in range(400):
                upto = written.journal.end_segment() if number % 20 == 19 else 0
                position = written.write(*(encode([accepted(bytes(100), (1, 1))], 1, {}) for _ in range(9)))
                if upto:
                    write_base(tmp_path, upto, position - 9, (), **WHO)

        writer = threading.Thread(target=write)
        writer.start()
        surveys = 0
        while writer.is_alive():
            assert survey(tmp_path, is_written=True).damages == []
            surveys += 1
        writer.join()
        assert surveys > 10


def test_damage_that_stays_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = journal(
        tmp_path / "journal", *([Owes(Message(b"t", b"%d" % n, 1), (1, 1, False, (), n))] for n in range(9))
    )
    path = folder / "00000001.segment"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    (real,) = survey(folder, is_written=True).damages
    readings = iter([Survey(damages=[real]), Survey(damages=[])])
    monkeypatch.setattr(module, "_read", lambda _: next(readings))
    assert survey(folder, is_written=True).damages == []
