"""`oriole broker --data`: what was acknowledged is there again, whatever ended the process; and a disk that is full."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from integration.test_broker import WAIT_S, Broker
from integration.test_fleet_worlds import need_root
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

Deliveries = list[tuple[str, bytes, int, bool]]


class Client:
    """A paho client whose session stays: what it got, and what was acknowledged to it."""

    def __init__(self, name: str, version: int = MQTTProtocolVersion.MQTTv5) -> None:
        self.got: Deliveries = []
        self.refused: list[str] = []
        self.present: bool | None = None
        self.is_5 = version == MQTTProtocolVersion.MQTTv5
        session = {} if self.is_5 else {"clean_session": False}
        self.paho = paho.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=version, **session)  # type: ignore[arg-type]
        self.paho.on_connect = self._connected
        self.paho.on_message = lambda _, __, message: self.got.append(
            (message.topic, message.payload, message.qos, message.retain)
        )
        self.paho.on_publish = lambda _, __, ___, code, ____: (
            self.refused.append(str(code)) if code.is_failure else None
        )
        self.subscribed = threading.Event()
        self.paho.on_subscribe = lambda *_: self.subscribed.set()

    def _connected(self, _: Any, __: Any, flags: Any, ___: Any, ____: Any) -> None:
        self.present = flags.session_present

    def join(self, broker: Broker) -> Client:
        properties: dict[str, Any] = {}
        if self.is_5:
            properties["properties"] = Properties(PacketTypes.CONNECT)
            properties["properties"].SessionExpiryInterval = 600
            properties["clean_start"] = False
        self.present = None
        self.paho.connect("127.0.0.1", broker.port, **properties)
        self.paho.loop_start()
        until(lambda: self.present is not None)
        return self

    def leave(self) -> None:
        self.paho.disconnect()
        self.abandon()

    def abandon(self) -> None:
        """Its broker is gone: do not try again."""
        self.paho.loop_stop()
        self.paho._reset_sockets()  # paho would leave that to the garbage collector, which complains

    def subscribe(self, topic: str, qos: int) -> None:
        self.subscribed.clear()
        self.paho.subscribe(topic, qos)
        assert self.subscribed.wait(WAIT_S)

    def publish(self, topic: str, payload: bytes, qos: int, retain: bool = False) -> None:
        """Until it is acknowledged."""
        sent = self.paho.publish(topic, payload, qos, retain)
        sent.wait_for_publish(WAIT_S)
        assert sent.is_published()


def until(done: Callable[[], object], within_s: float = WAIT_S) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.01)


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_what_was_acknowledged_is_there_again(tmp_path: Path, number: int, version: int) -> None:
    data = ("--data", str(tmp_path / "data"))
    broker = Broker(tmp_path, *data)
    reader = Client("reader", version).join(broker)
    reader.subscribe("t/#", 2)
    reader.leave()
    writer = Client("writer", version).join(broker)
    expected = []
    for count in range(30):
        qos = 1 + count % 2
        topic, payload = f"t/{count % 3}", b"%d" % count
        writer.publish(topic, payload, qos, retain=count == 29)
        expected.append((topic, payload, qos))
    broker.stop(number)
    writer.abandon()
    broker = Broker(tmp_path, *data)
    assert "restored" in broker.stderr.read_text()
    reader.join(broker)
    assert reader.present
    until(lambda: len(reader.got) >= 30)
    assert sorted((topic, payload, qos) for topic, payload, qos, _ in reader.got) == sorted(expected)
    for qos in (1, 2):
        order = [int(payload) for _, payload, at, _ in reader.got if at == qos]
        assert order == sorted(order)
    late = Client("late", version).join(broker)
    late.subscribe("#", 1)
    until(lambda: late.got)
    assert late.got == [("t/2", b"29", 1, True)]
    reader.leave()
    late.leave()
    assert broker.stop() == 0
    broker = Broker(tmp_path, *data)
    reader.got.clear()
    reader.join(broker)
    again = Client("again", version).join(broker)
    again.publish("t/0", b"new", 1)
    until(lambda: reader.got)
    assert reader.got == [("t/0", b"new", 1, False)], "what was confirmed does not come again"
    for client in (reader, again):
        client.leave()
    assert broker.stop() == 0


def test_another_process_is_told_what_it_means(tmp_path: Path) -> None:
    """The start-up line and `$SYS` say what an acknowledgement is worth."""
    for options, words in (
        ((), "memory: messages do not survive a restart"),
        (("--data", str(tmp_path / "a")), "strict: what is acknowledged is on disk"),
        (("--data", str(tmp_path / "b"), "--durability", "relaxed"), "relaxed: what is acknowledged is on disk within"),
    ):
        broker = Broker(tmp_path, *options)
        client = Client("c").join(broker)
        client.subscribe("$SYS/broker/durability", 0)
        until(lambda: client.got)  # noqa: B023
        assert client.got[0][1].decode().startswith(words)
        assert words in broker.stderr.read_text()
        client.leave()
        assert broker.stop() == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 120 MiB."""
    need_root()
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=120m", "small", str(disk)], check=True)
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_refuses_and_nothing_acknowledged_is_lost(tmp_path: Path, small_disk: Path) -> None:
    data = ("--data", str(small_disk / "data"))
    broker = Broker(tmp_path, *data)
    reader = Client("reader").join(broker)
    reader.subscribe("t", 1)
    reader.leave()
    writer = Client("writer").join(broker)
    acknowledged = []
    numbers = itertools.count()

    def send() -> bool:
        """A number for the reader, and much that is replaced by the next; whether the number was taken."""
        if not writer.paho.is_connected():
            return False
        writer.refused.clear()
        number = next(numbers)
        sent = writer.paho.publish("t", b"%d" % number, 1)
        filler = writer.paho.publish("filler", bytes(100_000), 1, retain=True)
        try:
            sent.wait_for_publish(1)
            filler.wait_for_publish(1)
        except (RuntimeError, ValueError):  # the connection ended
            return False
        if sent.is_published() and filler.is_published() and not writer.refused:
            acknowledged.append(number)
            return True
        return False

    for _ in range(5):
        assert send()
    disk = os.statvfs(small_disk)
    (small_disk / "ballast").write_bytes(bytes(disk.f_bavail * disk.f_frsize))
    until(lambda: "nothing more is acknowledged" in broker.stderr.read_text() or (send() and False), 60)
    until(writer.paho.is_connected)
    assert not send(), "there is no room"
    assert broker.process.poll() is None
    (small_disk / "ballast").unlink()
    until(lambda: "takes messages again" in broker.stderr.read_text())
    until(send, 30)
    broker.stop(signal.SIGKILL)
    writer.abandon()
    broker = Broker(tmp_path, *data)
    reader.join(broker)
    until(lambda: {*acknowledged} <= {int(payload) for _, payload, _, _ in reader.got})
    reader.leave()
    assert broker.stop() == 0


def test_history_goes_and_what_lives_stays(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    broker = Broker(tmp_path, *data)
    reader = Client("reader").join(broker)
    reader.subscribe("t/#", 2)
    reader.leave()
    writer = Client("writer").join(broker)
    for count in range(20):
        writer.publish("t", b"%d" % count, 1 + count % 2, retain=True)
    sent = [writer.paho.publish("filler", b"%d:" % count + bytes(200_000), 1, retain=True) for count in range(400)]
    sent[-1].wait_for_publish(30)
    journal = tmp_path / "data" / "journal"
    assert len([*journal.glob("*.segment")]) >= 4
    until(lambda: len([*journal.glob("*.segment")]) <= 2, 20)
    broker.stop(signal.SIGKILL)
    writer.abandon()
    broker = Broker(tmp_path, *data)
    reader.join(broker)
    until(lambda: len(reader.got) >= 20)
    assert sorted(int(payload) for _, payload, _, _ in reader.got) == [*range(20)]
    late = Client("late").join(broker)
    late.subscribe("#", 1)
    until(lambda: len(late.got) >= 2)
    assert {(topic, payload.partition(b":")[0]) for topic, payload, _, _ in late.got} == {
        ("t", b"19"),
        ("filler", b"399"),
    }
    reader.leave()
    late.leave()
    assert broker.stop() == 0


def payloads(reader: Client) -> list[bytes]:
    """What came, in order; what was not confirmed in time comes once more."""
    return [*dict.fromkeys(payload for _, payload, *_ in reader.got)]


def fill(writer: Client, qos: int, count: int, first: int = 0) -> list[bytes]:
    """Publish until all is acknowledged: more than stays in memory for who is away."""
    payloads = [b"%06d:" % number + bytes(500) for number in range(first, first + count)]
    sent = [writer.paho.publish("t", payload, qos) for payload in payloads]
    for each in sent:
        each.wait_for_publish(30)
    return payloads


@pytest.mark.parametrize(("durability", "qos"), [("strict", 1), ("relaxed", 2)])
def test_what_waits_on_the_disk_comes_in_order_in_this_life_and_the_next(
    tmp_path: Path, durability: str, qos: int
) -> None:
    data = ("--data", str(tmp_path / "data"), "--durability", durability)
    broker = Broker(tmp_path, *data)
    readers = [Client(f"reader{number}").join(broker) for number in range(3)]
    for reader in readers:
        reader.subscribe("t", 1)
        reader.leave()
    writer = Client("writer").join(broker)
    expected = fill(writer, qos, 400)
    readers[0].join(broker)
    until(lambda: len(readers[0].got) >= 400)
    assert payloads(readers[0]) == expected
    readers[0].leave()
    if durability == "relaxed":
        time.sleep(1.2)  # what a kill may lose
    broker.stop(signal.SIGKILL)
    writer.abandon()
    broker = Broker(tmp_path, *data)
    readers[1].join(broker)
    writer = Client("writer").join(broker)
    expected += fill(writer, qos, 100, 400)
    until(lambda: len(readers[1].got) >= 500)
    assert payloads(readers[1]) == expected
    readers[1].leave()
    writer.leave()
    assert broker.stop() == 0
    broker = Broker(tmp_path, *data)
    for reader in readers:
        reader.join(broker)
        until(lambda reader=reader: expected[-1] in payloads(reader))  # type: ignore[misc]
        reader.leave()
        assert payloads(reader) == expected
    assert broker.stop() == 0


def test_what_waits_on_the_disk_is_still_there_when_history_has_gone(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    broker = Broker(tmp_path, *data)
    reader = Client("reader").join(broker)
    reader.subscribe("t", 1)
    reader.leave()
    writer = Client("writer").join(broker)
    expected = fill(writer, 2, 3000)
    sent = [writer.paho.publish("filler", b"%d:" % count + bytes(200_000), 1, retain=True) for count in range(400)]
    sent[-1].wait_for_publish(30)
    journal = tmp_path / "data" / "journal"
    until(lambda: [*journal.glob("*.base")], 30)
    reader.join(broker)
    until(lambda: len(reader.got) >= 1500)
    broker.stop(signal.SIGKILL)
    reader.abandon()
    writer.abandon()
    broker = Broker(tmp_path, *data)
    reader.join(broker)
    until(lambda: reader.got[-1][1] == expected[-1])
    assert payloads(reader) == expected
    reader.leave()
    assert broker.stop() == 0


def test_messages_whose_file_is_damaged_are_lost_and_named_and_the_others_come(tmp_path: Path) -> None:
    data = ("--data", str(tmp_path / "data"))
    broker = Broker(tmp_path, *data)
    reader = Client("reader").join(broker)
    reader.subscribe("t", 1)
    reader.leave()
    writer = Client("writer").join(broker)
    expected = [payload for number in range(200) for payload in fill(writer, 1, 1, number)]
    segment = tmp_path / "data" / "journal" / "00000001.segment"
    content = segment.read_bytes()
    damaged = expected[120]
    with segment.open("r+b") as file:
        file.seek(content.index(damaged))
        file.write(b"x")
    reader.join(broker)
    until(lambda: len(reader.got) >= 199)
    assert [payload for _, payload, *_ in reader.got] == [each for each in expected if each != damaged]
    until(lambda: "garbled since it was written" in broker.stderr.read_text())
    reader.got.clear()
    after = fill(writer, 1, 1, 1000)
    until(lambda: reader.got)
    assert [payload for _, payload, *_ in reader.got] == after
    reader.leave()
    writer.leave()
    assert broker.stop() == 0
