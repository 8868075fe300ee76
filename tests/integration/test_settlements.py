"""`--settlements` as a user has it: a broker and an edge that are killed and stopped, and files that add up."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import paho.mqtt.client as paho
import pytest

from oriole.settlements import (
    Accepted,
    Ended,
    Line,
    Queued,
    Snapshot,
    Start,
    Stop,
    Waiting,
    digest_of,
)

WAIT_S = 10.0
decode = msgspec.json.Decoder(Line).decode


class Program:
    """A broker or an edge that writes settlements to `path`."""

    def __init__(self, path: Path, *command: str, port: int = 0) -> None:
        self.path = path
        options = ("--listen", f"mqtt://127.0.0.1:{port}", "--settlements", str(path), "--log-level", "error")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "oriole", *command, *options], stdout=subprocess.PIPE, text=True
        )
        assert self.process.stdout is not None
        found = re.search(r"mqtt://127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        assert found
        self.port = int(found[1])

    def end(self, number: int) -> None:
        self.process.send_signal(number)
        assert self.process.wait(WAIT_S) == (0 if number == signal.SIGTERM else -number)
        assert self.process.stdout is not None
        self.process.stdout.close()

    def lines(self) -> list[Line]:
        return [decode(line) for line in self.path.read_bytes().splitlines()]

    def publish(self, topic: str, payload: str, *options: str) -> None:
        command = ["mosquitto_pub", "-p", str(self.port), "-t", topic, "-m", payload, *options]
        subprocess.run(command, check=True, timeout=WAIT_S)


class Life:
    """What a node wrote from one start to the next."""

    def __init__(self) -> None:
        self.owed: Counter[tuple[str, str, str]] = Counter()
        self.ended: Counter[tuple[str, str, str]] = Counter()
        self.queued: Counter[tuple[str, str, str]] = Counter()
        self.outcomes: Counter[tuple[str, str]] = Counter()
        self.is_complete = False

    @property
    def adds_up(self) -> bool:
        """Whether all that was owed has ended or is queued."""
        return self.owed == self.ended + self.queued


def lives(lines: list[Line]) -> list[Life]:
    """The lives of a node, in order."""
    found: list[Life] = []
    for line in lines:
        if isinstance(line, Start):
            found.append(Life())
        life = found[-1]
        if isinstance(line, Accepted):
            life.owed.update((line.topic, line.digest, to) for to in line.owed)
        elif isinstance(line, Ended):
            life.outcomes[line.to, line.reason or line.outcome] += 1
            if not line.stored:
                life.ended[line.topic, line.digest, line.to] += 1
        elif isinstance(line, Queued) and not isinstance(line, Waiting):
            life.queued[line.topic, line.digest, line.to] += 1
        life.is_complete = isinstance(line, Stop)
    return found


def wait_until(done: Callable[[], object]) -> None:
    until = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.01)


@pytest.fixture
def closing() -> Iterator[contextlib.ExitStack]:
    with contextlib.ExitStack() as stack:
        yield stack


def start(closing: contextlib.ExitStack, path: Path, *command: str, port: int = 0) -> Program:
    program = Program(path, *command, port=port)
    closing.callback(lambda: program.process.poll() is None and program.process.kill())
    return program


def listen(closing: contextlib.ExitStack, port: int, name: str, topic: str, qos: int) -> paho.Client:
    """A subscriber with a session that outlives it."""
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, name, clean_session=False)
    ready: list[int] = []
    client.on_subscribe = lambda *_: ready.append(1)
    client.on_connect = lambda client, *_: client.subscribe(topic, qos)
    client.connect("127.0.0.1", port)
    client.loop_start()
    closing.callback(client.loop_stop)
    wait_until(lambda: ready)
    return client


@pytest.mark.interop("mosquitto_pub")
def test_two_nodes_that_are_killed_and_stopped_account_for_every_message(
    tmp_path: Path, closing: contextlib.ExitStack
) -> None:
    broker = start(closing, tmp_path / "centre.jsonl", "broker")
    edge = start(closing, tmp_path / "edge.jsonl", "edge", "--name=house", f"--uplink=mqtt://127.0.0.1:{broker.port}")
    above = listen(closing, broker.port, "above", "#", 1)
    below = listen(closing, edge.port, "below", "#", 2)
    wait_until(lambda: edge.publish("probe", "up", "-q", "0") or b"node:house" in broker.path.read_bytes())
    wait_until(lambda: broker.publish("probe", "down", "-q", "0") or b'"from":"uplink"' in edge.path.read_bytes())

    # Both ways, every QoS; then what nobody fetches, asked for by SIGUSR1.
    for qos in ("0", "1", "2"):
        edge.publish("t/up", qos, "-q", qos, "-i", "lamp")
        broker.publish("t/down", qos, "-q", qos, "-r")
    last = digest_of(b"2")
    wait_until(
        lambda: (
            {("t/up", last, "client:above"), ("t/down", last, "node:house")} <= lives(broker.lines())[-1].ended.keys()
        )
    )
    above.disconnect()
    wait_until(lambda: not above.is_connected())
    edge.publish("t/up", "nobody is there", "-q", "1")
    waited = digest_of(b"nobody is there")
    wait_until(lambda: waited in broker.path.read_text())
    broker.process.send_signal(signal.SIGUSR1)
    wait_until(lambda: any(isinstance(line, Waiting) for line in broker.lines()))
    snapshot, waiting = [line for line in broker.lines() if isinstance(line, Snapshot | Waiting)]
    assert isinstance(snapshot, Snapshot)
    assert snapshot.waiting == 1
    assert isinstance(waiting, Waiting)
    assert (waiting.topic, waiting.digest, waiting.to) == ("t/up", waited, "client:above")

    # A power cut: what the publisher was told is accepted is in the file.
    for number in range(20):
        broker.publish("t/cut", f"cut {number}", "-q", "1")
    broker.end(signal.SIGKILL)
    edge.publish("t/up", "while it was away", "-q", "1")
    again = start(closing, broker.path, "broker", port=broker.port)
    above.reconnect()
    wait_until(lambda: digest_of(b"while it was away") in again.path.read_text())
    below.disconnect()
    wait_until(lambda: not below.is_connected())
    again.publish("t/down", "kept for below", "-q", "1")
    kept = ("t/down", digest_of(b"kept for below"), "client:below")
    wait_until(lambda: kept[1] in edge.path.read_text())
    edge.end(signal.SIGTERM)
    again.end(signal.SIGTERM)

    killed, restarted = lives(again.lines())
    (house,) = lives(edge.lines())
    assert (killed.is_complete, restarted.is_complete, house.is_complete) == (False, True, True)
    assert killed.owed >= killed.ended
    assert all(killed.owed["t/cut", digest_of(b"cut %d" % number), "client:above"] == 1 for number in range(20))
    assert (killed.owed - killed.ended)["t/up", waited, "client:above"] == 1
    assert restarted.adds_up
    assert house.adds_up
    assert house.queued == {kept: 1}
    assert house.outcomes["uplink", "acknowledged"] >= 4


def test_a_file_that_cannot_be_written_does_not_keep_a_broker_from_serving(
    tmp_path: Path, closing: contextlib.ExitStack
) -> None:
    broker = start(closing, tmp_path / "missing" / "centre.jsonl", "broker")
    client = listen(closing, broker.port, "somebody", "t", 1)
    heard: list[bytes] = []
    client.on_message = lambda _, __, message: heard.append(message.payload)
    client.publish("t", b"1", 1)
    wait_until(lambda: heard)
    broker.path.parent.mkdir()
    client.publish("t", b"2", 1)
    wait_until(lambda: broker.path.exists() and digest_of(b"2") in broker.path.read_text())
    broker.end(signal.SIGTERM)
