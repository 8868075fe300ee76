"""`oriole journal` on the folders of real brokers: checked, compacted, exported and imported, while they run or not."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from integration.test_broker import WAIT_S, Broker, Raw
from integration.test_control import oriole
from integration.test_durable import Client, until
from integration.test_edge import Peer, Program
from integration.test_fleet_worlds import need_root

from oriole.control import Control
from oriole.wire.mqtt import (
    V5,
    ConnAck,
    Connect,
    Packet,
    Properties,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    Subscription,
    Will,
    encode,
)

STAYS = Properties(session_expiry_interval=600)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def broker(tmp_path: Path, data: Path) -> Iterator[Broker]:
    broker = Broker(tmp_path, "--data", str(data))
    yield broker
    if broker.process.poll() is None:
        assert broker.stop() == 0
    assert "Traceback" not in broker.stderr.read_text()


def done(*arguments: str | Path) -> str:
    """What a command says that succeeds."""
    ran = oriole("journal", *arguments)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def refused(*arguments: str | Path, status: int = 1) -> str:
    """Why a command cannot be done."""
    ran = oriole("journal", *arguments)
    assert (ran.returncode, ran.stdout) == (status, ""), ran
    assert ran.stderr.startswith("oriole journal: ")
    assert "Traceback" not in ran.stderr
    return ran.stderr


def facts(data: Path, client: str) -> dict[str, Any]:
    """What a node says of a session."""
    with Control(data) as node:
        (row,) = node.ask("sessions", clients=[client])
    return row  # type: ignore[no-any-return]


def history(broker: Broker, count: int = 150) -> None:
    """Some MiB that nobody needs any more."""
    writer = Client("filler").join(broker)
    sent = [writer.paho.publish("filler", b"%d" % number + bytes(50_000), 1, retain=True) for number in range(count)]
    sent[-1].wait_for_publish(WAIT_S)
    writer.leave()


class Talk(Raw):
    """A client of bytes that reads every packet, also of several that come at once."""

    def __init__(self, broker: Broker, client: str, *, comes_back: bool = False, will: Will | None = None) -> None:
        super().__init__(broker)
        self.packets = self._packets()
        connect = Connect(client, clean_start=not comes_back, properties=STAYS, will=will)
        self.socket.sendall(encode(connect, V5))
        answer = self.next()
        assert isinstance(answer, ConnAck)
        assert answer.session_present == comes_back

    def next(self) -> Packet:
        return next(self.packets)

    def say(self, *packets: Packet) -> None:
        self.socket.sendall(b"".join(encode(packet, V5) for packet in packets))

    def subscribe(self, filter: str) -> None:
        self.say(Subscribe(1, [Subscription(filter, 2)]))
        assert isinstance(self.next(), SubAck)

    def got(self) -> tuple[bytes, int, bool]:
        """The next message: payload, packet identifier, DUP."""
        packet = self.next()
        assert isinstance(packet, Publish)
        return packet.payload, packet.packet_identifier, packet.dup


def test_an_imported_node_has_all_that_the_exported_one_had(tmp_path: Path, broker: Broker, data: Path) -> None:
    """Sessions, what is queued and in flight by its packet identifiers, QoS 2 both ways, retained values, wills."""
    reader = Talk(broker, "reader")
    reader.subscribe("t/#")
    writer = Talk(broker, "writer")
    writer.say(Publish(b"t/1", b"in", 2, packet_identifier=7))
    assert writer.next() == PubRec(7)
    assert reader.got() == (b"in", 1, False)
    reader.say(PubRec(1))
    assert reader.next() == PubRel(1)
    writer.say(Publish(b"t/2", b"flying", 2, retain=True, packet_identifier=8))
    assert writer.next() == PubRec(8)
    assert reader.got() == (b"flying", 2, False)
    reader.socket.close()
    until(lambda: not facts(data, "reader")["peer"])
    for number in range(3):
        writer.say(Publish(b"t/3", b"%d" % number, 1, packet_identifier=9))
        writer.next()

    export = tmp_path / "copy.tar"
    told = oriole("journal", "export", "--data", data, export)
    assert (told.returncode, told.stdout) == (0, "")
    assert told.stderr.startswith("exported ")
    assert [path.name for path in data.iterdir() if path.name.startswith("export-")] == []
    assert export.stat().st_mode & 0o777 == 0o600
    writer.say(Publish(b"t/4", b"later", 1, packet_identifier=9))
    writer.next()
    broker.stop(signal.SIGKILL)
    writer.socket.close()

    new = tmp_path / "new"
    assert done("import", "--data", new, export).endswith(f"start it with --data {new}\n")
    assert (new / "identity.json").read_text() != (data / "identity.json").read_text()
    again = Broker(tmp_path, "--data", str(new))
    reader = Talk(again, "reader", comes_back=True)
    assert reader.next() == PubRel(1)
    assert [reader.got() for _ in range(4)] == [
        (b"flying", 2, True),
        (b"0", 3, False),
        (b"1", 4, False),
        (b"2", 5, False),
    ]
    writer = Talk(again, "writer", comes_back=True)
    writer.say(Publish(b"t/1", b"in", 2, dup=True, packet_identifier=7), PubRel(7))
    assert [writer.next(), writer.next()] == [PubRec(7), PubComp(7)]
    writer.say(Publish(b"t/5", b"new", 1, packet_identifier=10))
    assert reader.got() == (b"new", 6, False), "what came by no. 7 before is known, and does not come again"
    late = Client("late").join(again)
    late.subscribe("t/#", 0)
    until(lambda: late.got)
    assert late.got == [("t/2", b"flying", 0, True)]
    late.leave()
    assert again.stop() == 0
    for raw in (reader, writer):
        raw.socket.close()
    assert not done("check", "--data", new).count("DAMAGED")


def test_a_will_whose_delay_ran_is_sent_by_the_imported_node(tmp_path: Path, broker: Broker, data: Path) -> None:
    watcher = Client("watcher").join(broker)
    watcher.subscribe("will", 1)
    watcher.leave()
    will = Will(b"will", b"gone", 1, properties=Properties(will_delay_interval=1))
    Talk(broker, "writer", will=will).socket.close()
    until(lambda: not facts(data, "writer")["peer"])
    done("export", "--data", data, tmp_path / "copy")
    broker.stop(signal.SIGKILL)
    done("import", "--data", tmp_path / "new", tmp_path / "copy")
    again = Broker(tmp_path, "--data", str(tmp_path / "new"))
    watcher.join(again)
    until(lambda: watcher.got)
    assert watcher.got == [("will", b"gone", 1, False)]
    watcher.leave()
    assert again.stop() == 0


def test_exports_under_load_are_of_one_moment(tmp_path: Path, broker: Broker, data: Path) -> None:
    """What was acknowledged before is in it; what is in it has no holes; the node goes on, and lets go of history."""
    reader = Client("reader").join(broker)
    reader.subscribe("t", 1)
    reader.leave()
    over, acknowledged = threading.Event(), 0
    writer = Client("writer").join(broker)

    def publish() -> None:
        nonlocal acknowledged
        while not over.is_set():
            writer.publish("t", b"%d" % acknowledged, 1)
            acknowledged += 1
            writer.paho.publish("filler", bytes(20_000), 1, retain=True)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        counts = []
        for number in range(4):
            until(lambda: acknowledged > 20 * (number + 1))  # noqa: B023
            if number == 2:
                compacting = subprocess.Popen(
                    [sys.executable, "-m", "oriole", "journal", "compact", "--data", str(data)], stdout=subprocess.PIPE
                )
            before = acknowledged
            done("export", "--data", data, tmp_path / f"copy{number}")
            counts.append((before, acknowledged))
            assert "whole" in done("check", "--data", data)
        assert compacting.communicate(timeout=WAIT_S)[0].endswith(b"to be written over\n")
    finally:
        over.set()
        thread.join()
    writer.leave()
    assert broker.stop() == 0
    for number, (before, after) in enumerate(counts):
        folder = tmp_path / f"new{number}"
        done("import", "--data", folder, tmp_path / f"copy{number}")
        again = Broker(tmp_path, "--data", str(folder))
        reader.got.clear()
        reader.join(again)
        until(lambda: len(reader.got) >= before)  # noqa: B023
        until(lambda: not facts(folder, "reader")["queued"])  # noqa: B023
        until(lambda: not facts(folder, "reader")["in_flight"])  # noqa: B023
        payloads = [int(payload) for topic, payload, _, _ in reader.got if topic == "t"]
        assert payloads == [*range(len(payloads))]
        assert before <= len(payloads) <= after + 1
        reader.leave()
        assert again.stop() == 0


def test_a_journal_is_compacted_where_the_node_runs_and_where_it_does_not(
    tmp_path: Path, broker: Broker, data: Path
) -> None:
    reader = Client("reader").join(broker)
    reader.subscribe("t", 1)
    reader.leave()
    writer = Client("writer").join(broker)
    writer.publish("t", b"kept", 1, retain=True)
    writer.leave()
    batches = []
    for is_running in (True, False):
        again = broker if is_running else Broker(tmp_path, "--data", str(data))
        history(again)
        if not is_running:
            assert again.stop() == 0
        before = done("check", "--data", data)
        assert "MiB)" in before.splitlines()[2]
        assert done("compact", "--data", data).endswith(" are kept to be written over\n")
        after = done("check", "--data", data)
        batches.append(after.splitlines()[2])
        assert "KiB), positions " in batches[-1], after
        if is_running:
            broker.stop(signal.SIGKILL)
    again = Broker(tmp_path, "--data", str(data))
    reader.join(again)
    until(lambda: reader.got)
    assert [payload for _, payload, _, _ in reader.got] == [b"kept"]
    late = Client("late").join(again)
    late.subscribe("#", 1)
    until(lambda: len(late.got) >= 2)
    assert sorted(topic for topic, *_ in late.got) == ["filler", "t"]
    for client in (reader, late):
        client.leave()
    assert again.stop() == 0


def test_damage_is_found_and_told_also_in_copies(tmp_path: Path, broker: Broker, data: Path) -> None:
    reader = Client("reader").join(broker)
    reader.subscribe("t", 1)
    reader.leave()
    writer = Client("writer").join(broker)
    for number in range(20):
        writer.publish("t", b"number %02d" % number, 1)
    writer.leave()
    assert broker.stop() == 0
    segment = data / "journal" / "00000001.segment"
    content = bytearray(segment.read_bytes())
    content[content.index(b"number 07")] ^= 1
    segment.write_bytes(content)
    for folder in (data, shutil.copytree(data, tmp_path / "copied")):
        checked = oriole("journal", "check", "--data", folder)
        assert checked.returncode == 1
        assert "journal: damaged" in checked.stdout
        assert "DAMAGED   00000001.segment at byte " in checked.stdout
        assert "1 batches are missing" in checked.stdout
        assert segment.read_bytes() == content, "nothing is changed"
        assert [path.name for path in (folder / "journal").iterdir()] == ["00000001.segment"]
    exported = oriole("journal", "export", "--data", data, tmp_path / "copy")
    assert exported.returncode == 1
    assert "some of it was damaged before, and is so in the copy:\n  DAMAGED   00000001.segment" in exported.stderr
    imported = oriole("journal", "import", "--data", tmp_path / "new", tmp_path / "copy")
    assert imported.returncode == 1
    assert "some of it was damaged before it was exported, and is missing" in imported.stderr
    again = Broker(tmp_path, "--data", str(tmp_path / "new"))
    reader.join(again)
    until(lambda: len(reader.got) >= 19)
    assert b"number 07" not in [payload for _, payload, _, _ in reader.got]
    reader.leave()
    assert again.stop() == 0


def test_what_cannot_be_done_is_refused_in_words(tmp_path: Path, broker: Broker, data: Path) -> None:
    nothing = tmp_path / "nothing"
    for command in (["check"], ["compact"], ["export", tmp_path / "x"]):
        assert f"{nothing}: no such folder" in refused(*command, "--data", nothing, status=2)
        assert f"{tmp_path}: there is no journal in it" in refused(*command, "--data", tmp_path, status=2)
    assert not (tmp_path / "x").exists()
    assert "No such file or directory" in refused("export", "--data", data, nothing / "x")
    done("export", "--data", data, tmp_path / "copy")
    assert "there is a journal already: move it away" in refused("import", "--data", data, tmp_path / "copy")
    assert "nothing was imported" in refused("import", "--data", tmp_path / "new", Path(sys.executable))
    assert "No such file" in refused("import", "--data", tmp_path / "new", nothing)
    cut = tmp_path / "cut"
    cut.write_bytes((tmp_path / "copy").read_bytes()[:1500])
    assert "it ends too early" in refused("import", "--data", tmp_path / "new", cut)
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["identity.json", "lock"]
    broker.process.send_signal(signal.SIGSTOP)
    (data / "control").rename(data / "gone")
    try:
        assert "a node runs there, and could not do it" in refused("compact", "--data", data)
    finally:
        (data / "gone").rename(data / "control")
        broker.process.send_signal(signal.SIGCONT)
    done("import", "--data", tmp_path / "new", tmp_path / "copy")


def test_a_node_that_holds_the_folder_is_left_alone_by_an_import(tmp_path: Path, broker: Broker, data: Path) -> None:
    done("export", "--data", data, tmp_path / "copy")
    journal = data / "journal"
    journal.rename(data / "aside")
    try:
        assert "in use by another Oriole" in refused("import", "--data", data, tmp_path / "copy")
    finally:
        (data / "aside").rename(journal)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_what_is_interrupted_is_not_taken_for_whole(tmp_path: Path, broker: Broker, data: Path, number: int) -> None:
    history(broker)
    done("export", "--data", data, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()

    def interrupt(*arguments: str | Path, half: bytes = b"") -> None:
        command = [sys.executable, "-m", "oriole", "journal", *map(str, arguments)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        if half:
            process.stdin.write(half)
            process.stdin.flush()
            until(lambda: [*(tmp_path / "new").glob("journal.new/*")])
        else:
            process.stdout.read(100_000)  # and no more: it waits in the middle
        process.send_signal(number)
        process.communicate(timeout=WAIT_S)
        assert process.returncode == (130 if number == signal.SIGINT else -number)

    interrupt("export", "--data", data, "-")
    until(lambda: [path.name for path in data.iterdir() if path.name.startswith("export-")] == [])
    interrupt("import", "--data", tmp_path / "new", "-", half=whole[: len(whole) // 2])
    assert not (tmp_path / "new" / "journal").exists()
    done("import", "--data", tmp_path / "new", tmp_path / "whole")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["identity.json", "journal", "lock"]


def test_a_node_that_was_killed_during_a_copy_clears_it_away(tmp_path: Path, broker: Broker, data: Path) -> None:
    with Control(data) as control:
        (copy,) = [row["folder"] for row in [next(control.ask("copy journal"))]]
        assert (data / copy).is_dir()
        broker.stop(signal.SIGKILL)
    assert (data / copy).is_dir()
    again = Broker(tmp_path, "--data", str(data))
    assert not (data / copy).exists()
    assert again.stop() == 0


def test_a_full_disk_leaves_nothing_half_made(tmp_path: Path, broker: Broker, data: Path) -> None:
    need_root()
    history(broker)
    done("export", "--data", data, tmp_path / "whole")
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "small", str(small)], check=True)
    try:
        assert "No space left on device" in refused("export", "--data", data, small / "copy")
        assert [*small.iterdir()] == []
        words = refused("import", "--data", small / "new", tmp_path / "whole")
        assert "No space left on device: nothing was imported" in words
        assert sorted(path.name for path in (small / "new").iterdir()) == ["identity.json", "lock"]
    finally:
        subprocess.run(["umount", "-l", str(small)], check=True)


def test_a_pipe_from_one_to_the_other(tmp_path: Path, broker: Broker, data: Path) -> None:
    writer = Client("writer").join(broker)
    writer.publish("t", b"kept", 1, retain=True)
    writer.leave()
    new = tmp_path / "new"
    journal = f"{sys.executable} -m oriole journal"
    command = f"{journal} export --data {data} - | {journal} import --data {new} -"
    subprocess.run(command, shell=True, check=True, timeout=WAIT_S, capture_output=True)
    assert "1 retained" in done("check", "--data", new)
    broken = subprocess.run(
        ["bash", "-o", "pipefail", "-c", f"{journal} export --data {data} - | true"],
        check=False,
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert (broken.returncode, "Traceback" in broken.stderr) in ((1, False), (0, False))


def test_an_edge_that_goes_on_from_an_old_copy_loses_nothing_new(tmp_path: Path) -> None:
    """It gives numbers again that its centre knows, and its messages are not taken for repeats."""
    centre = Program("broker", "--data", str(tmp_path / "centre"))
    data, new = tmp_path / "edge", tmp_path / "new"
    options = ("--name", "attic", "--uplink", f"mqtt://127.0.0.1:{centre.port}")
    edge = Program("edge", "--data", str(data), *options)
    heard = Peer(centre.port, "t")
    sender = Peer(edge.port)
    sender.say("t", b"before")
    until(lambda: heard.heard == [("t", b"before")])
    done("export", "--data", data, tmp_path / "copy")
    done("compact", "--data", data)
    sent = [b"%d" % number for number in range(5)]
    for payload in sent:
        sender.say("t", payload)
    until(lambda: len(heard.heard) == 6)
    edge.kill()
    sender.close()
    assert "start the edge, and compact it while it runs" in refused("compact", "--data", data)
    done("import", "--data", new, tmp_path / "copy")
    again = Program("edge", "--data", str(new), *options)
    sender = Peer(again.port)
    later = [b"later %d" % number for number in range(5)]
    for payload in later:
        sender.say("t", payload)
    until(lambda: {("t", payload) for payload in later} <= {*heard.heard})
    payloads = [payload for _, payload in heard.heard]
    assert payloads[:6] == [b"before", *sent]
    assert [*dict.fromkeys(payloads[6:])] in (later, [b"before", *later])
    for peer in (sender, heard):
        peer.close()
    again.stop()
    centre.stop()
