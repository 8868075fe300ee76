"""The settlements file: what is in it, when it is written, and what happens where it cannot be."""

from __future__ import annotations

import errno
import logging
import os
from pathlib import Path

import msgspec
import pytest
from unit.broker.mqtt.harness import START, Bench, Wire

from broker.settlements import SettlementsFile
from oriole.link.uplink import Greeting
from oriole.settlements import (
    Accepted,
    Ended,
    Line,
    Missing,
    Queued,
    Refused,
    Snapshot,
    Start,
    Stop,
    Waiting,
    digest_of,
)
from oriole.wire.mqtt import PubAck


def kept_in(path: Path, bench: Bench) -> SettlementsFile:
    """The settlements of a bench in a file."""
    file = SettlementsFile(path, "here", "broker", "life", lambda: bench.now)
    bench.engine.settlement.book = file
    return file


def lines_of(path: Path) -> list[Line]:
    return [msgspec.json.decode(line, type=Line) for line in path.read_bytes().splitlines()]


def test_a_line_for_each_thing_that_happens(tmp_path: Path) -> None:
    bench = Bench()
    path = tmp_path / "settlements"
    file = kept_in(path, bench)
    reader = bench.subscriber("reader", "t", 1, session_expiry_interval=100)
    bench.subscriber("house", "t", 0, user_property=Greeting("edge-a", "epoch", life="life").pairs())
    publisher = bench.member("p")
    publisher.publish("t", b"1", 1, retain=True)
    reader.send(PubAck(1))
    publisher.publish("$SYS/x", b"2", 0)
    bench.subscriber("late", "#", 0)
    file.close((), bench.now)
    one = {"topic": "t", "digest": digest_of(b"1")}
    start, *lines, stop = lines_of(path)
    assert isinstance(start, Start)
    assert (start.node, start.kind, start.epoch, start.at) == ("here", "broker", "life", START)
    assert lines == [
        Accepted(at=START, **one, qos=1, retain=True, publisher="client:p", owed=["client:reader", "node:edge-a"]),
        Ended(at=START, **one, to="node:edge-a", outcome="sent"),
        Ended(at=START, **one, to="client:reader", outcome="acknowledged"),
        Refused(at=START, topic="$SYS/x", digest=digest_of(b"2"), qos=0, publisher="client:p", reason="not permitted"),
        Ended(at=START, **one, to="client:late", outcome="sent", stored=True),
    ]
    assert isinstance(stop, Stop)
    assert stop.queued == 0


def test_lines_are_written_once_a_turn_and_before_what_they_speak_of_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench()
    path = tmp_path / "settlements"
    kept_in(path, bench)
    bench.subscriber("reader", "t", 0)
    publisher = bench.member("p")
    known: list[int] = []
    flush = Wire.flush

    def watched(wire: Wire) -> None:
        known.append(len(lines_of(path)))
        flush(wire)

    writes: list[int] = []
    write = os.write
    monkeypatch.setattr(os, "write", lambda file, data: writes.append(len(data)) or write(file, data))
    monkeypatch.setattr(Wire, "flush", watched)
    for payload in (b"1", b"2"):
        publisher.channel.feed(b"\x30\x05\0\1t\0" + payload)
    bench.turn()
    assert set(known) == {5}
    assert len(writes) == 1


def test_a_restarted_node_goes_on_in_the_same_file_behind_what_a_crash_left(tmp_path: Path) -> None:
    path = tmp_path / "settlements"
    path.write_bytes(b'{"event":"acc')
    for _ in range(2):
        file = kept_in(path, Bench())
        file.close((), START)
    first, *lines = path.read_bytes().splitlines()
    assert first == b'{"event":"acc'
    assert [type(msgspec.json.decode(line, type=Line)) for line in lines] == [Start, Stop, Start, Stop]


def test_a_folder_that_is_gone_costs_lines_and_no_message(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench = Bench()
    folder = tmp_path / "folder"
    path = folder / "settlements"
    kept_in(path, bench)
    reader = bench.subscriber("reader", "t", 0)
    publisher = bench.member("p")
    for number in range(3):
        publisher.publish("t", b"%d" % number)
    assert reader.payloads() == [b"0", b"1", b"2"]
    assert [record.getMessage() for record in caplog.records] == ["cannot be written, messages go on without"]
    folder.mkdir()
    publisher.publish("t", b"3")
    path.unlink()
    folder.rmdir()
    publisher.publish("t", b"4")
    folder.mkdir()
    publisher.publish("t", b"5")
    start, missing, accepted, ended = lines_of(path)
    assert isinstance(start, Start)
    assert missing == Missing(at=START, lines=2)
    assert accepted == Accepted(
        at=START, topic="t", digest=digest_of(b"5"), qos=0, publisher="client:p", owed=["client:reader"]
    )
    assert isinstance(ended, Ended)
    assert [record.getMessage() for record in caplog.records].count("written again") == 2


def test_a_file_that_is_moved_away_is_begun_anew(tmp_path: Path) -> None:
    bench = Bench()
    path = tmp_path / "settlements"
    kept_in(path, bench)
    publisher = bench.member("p")
    publisher.publish("t", b"1")
    path.rename(tmp_path / "yesterday")
    publisher.publish("t", b"2")
    for name, payload in (("yesterday", b"1"), ("settlements", b"2")):
        start, accepted = lines_of(tmp_path / name)
        assert isinstance(start, Start)
        assert isinstance(accepted, Accepted)
        assert (start.epoch, accepted.digest) == ("life", digest_of(payload))


def test_a_full_disk_leaves_no_half_of_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench()
    path = tmp_path / "settlements"
    kept_in(path, bench)
    publisher = bench.member("p")
    publisher.publish("t", b"1")
    before = path.read_bytes()
    write = os.write
    left = 10

    def full(file: int, data: bytes) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken, left = min(left, len(data)), 0
        return write(file, data[:taken])

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        publisher.publish("t", b"2")
    assert path.read_bytes() == before
    publisher.publish("t", b"3")
    lines = lines_of(path)
    assert [type(line) for line in lines] == [Start, Accepted, Start, Missing, Accepted]


def test_what_everybody_is_owed_in_between_and_at_the_end(tmp_path: Path) -> None:
    bench = Bench()
    path = tmp_path / "settlements"
    file = kept_in(path, bench)
    reader = bench.subscriber("reader", "t", 1, session_expiry_interval=100, receive_maximum=1)
    publisher = bench.member("p")
    for number in range(2):
        publisher.publish("t", b"%d" % number, 1)
    file.snapshot(bench.service.owed(), bench.now)
    reader.send(PubAck(1))
    bench.service.close(bench.now)
    file.close(bench.service.owed(), bench.now)
    first, second = ({"topic": "t", "digest": digest_of(b"%d" % number), "to": "client:reader"} for number in range(2))
    assert lines_of(path)[3:-1] == [
        Snapshot(at=START, waiting=2),
        Waiting(at=START, **first, sent=True),
        Waiting(at=START, **second),
        Ended(at=START, **first, outcome="acknowledged"),
        Queued(at=START, **second, sent=True),
    ]
    stop = lines_of(path)[-1]
    assert isinstance(stop, Stop)
    assert stop.queued == 1
