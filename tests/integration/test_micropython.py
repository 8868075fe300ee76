"""The reference device on a real MicroPython, at a real edge: noise, pulled cables, nothing lost, nothing twice.

MicroPython is the npm package of `micropython/package.json`, under Node; the board is made there too. Between board and
edge is a cable of two pseudo-terminals that the test damages and pulls.
"""

from __future__ import annotations

import json
import os
import random
import re
import select
import signal
import subprocess
import sys
import threading
import time
import tty
from collections.abc import Callable, Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest

HERE = Path(__file__).parent / "micropython"
PATIENCE_S = 20.0
REPORT_MS = 500

pytestmark = pytest.mark.interop("node", "npm")


class Cable:
    """Between a board's UART and the USB adapter of an edge: what either writes arrives at the other, if plugged in.

    The adapter is the port that is named `port`, and is gone while the cable is unplugged; the UART, `uart`, is always
    there. A thread carries the bytes.
    """

    def __init__(self, port: Path) -> None:
        self.port = port
        self._board, slave = os.openpty()
        tty.setraw(slave)
        self.uart = os.ttyname(slave)
        self._keep = slave  # so that the board's end outlives a board that is switched off
        self._edge: tuple[int, int] | None = None
        self._damage_bytes = {True: 0, False: 0}
        self._chance = random.Random(1)
        self._lock = threading.Lock()
        self._ending = False
        self.one_way = False  # the wire from the board is broken: it hears, and is not heard
        self.up = b""  # everything that the board wrote
        self.down = b""  # everything that the edge wrote
        self.lost = b""  # what of either arrived nowhere, since the cable was pulled
        self.plug()
        self._thread = threading.Thread(target=self._carry)
        self._thread.start()

    def plug(self) -> None:
        with self._lock:
            master, slave = os.openpty()
            tty.setraw(slave)
            self.port.symlink_to(os.ttyname(slave))
            self._edge = master, slave
            self.one_way = False

    def unplug(self) -> None:
        with self._lock:
            assert self._edge
            self.port.unlink()
            self.lost = b""
            for file in self._edge:
                os.close(file)
            self._edge = None

    def damage(self, size_bytes: int) -> None:
        """The next bytes are not what was written, on either way."""
        with self._lock:
            self._damage_bytes = {True: size_bytes, False: size_bytes}

    def noise(self, size_bytes: int) -> None:
        """Bytes that nobody wrote, at both ends."""
        with self._lock:
            assert self._edge
            os.write(self._board, self._chance.randbytes(size_bytes))
            os.write(self._edge[0], self._chance.randbytes(size_bytes))

    def close(self) -> None:
        self._ending = True
        self._thread.join(PATIENCE_S)
        if self._edge:
            self.unplug()
        os.close(self._board)
        os.close(self._keep)

    def _carry(self) -> None:
        while not self._ending:
            with self._lock:
                ends = [self._board, *(self._edge or ())[:1]]
                for end in select.select(ends, [], [], 0)[0]:
                    data = os.read(end, 4096)
                    up = end == self._board
                    if up:
                        self.up += data
                    else:
                        self.down += data
                    if not self._edge or (up and self.one_way):
                        self.lost += data
                    else:
                        os.write(self._edge[0] if up else self._board, self._damaged(data, up))
            time.sleep(0.002)

    def _damaged(self, data: bytes, up: bool) -> bytes:
        size = min(len(data), self._damage_bytes[up])
        self._damage_bytes[up] -= size
        return self._chance.randbytes(size) + data[size:]


class Edge:
    """A real edge with one serial port, and an MQTT client at it that remembers what came."""

    def __init__(self, port: Path) -> None:
        command = [sys.executable, "-m", "oriole", "edge", "--name", "house", "--listen", "mqtt://127.0.0.1:0"]
        self.process = subprocess.Popen([*command, "--serial", f"serial://{port}"], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        found = re.search(r"mqtt://127\.0\.0\.1:(\d+)", self.process.stdout.readline())
        assert found
        self.heard: list[tuple[str, str]] = []
        listening = threading.Event()
        self.client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        self.client.on_message = lambda _, __, message: self.heard.append((message.topic, message.payload.decode()))
        self.client.on_connect = lambda client, *_: client.subscribe("relay-1/#", 1)
        self.client.on_subscribe = lambda *_: listening.set()
        self.client.connect("127.0.0.1", int(found[1]))
        self.client.loop_start()
        assert listening.wait(PATIENCE_S)

    def order(self, payload: str) -> None:
        self.client.publish("relay-1/set", payload, 1).wait_for_publish(PATIENCE_S)

    def of(self, topic: str) -> list[str]:
        return [payload for where, payload in list(self.heard) if where == topic]

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()
        self.process.send_signal(signal.SIGTERM)
        try:
            assert self.process.wait(PATIENCE_S) == 0
        finally:
            self.process.kill()
            self.process.communicate()


@pytest.fixture(scope="module")
def package() -> None:
    """MicroPython itself, of the version and with the checksum that package-lock.json names."""
    if not (HERE / "node_modules" / ".package-lock.json").exists():
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=HERE, check=True, timeout=PATIENCE_S)


@pytest.fixture
def cable(tmp_path: Path) -> Iterator[Cable]:
    cable = Cable(tmp_path / "usb-adapter")
    yield cable
    cable.close()


@pytest.fixture
def edge(cable: Cable) -> Iterator[Edge]:
    edge = Edge(cable.port)
    yield edge
    edge.close()


@pytest.fixture
def board(cable: Cable, edge: Edge, package: None) -> Iterator[subprocess.Popen[str]]:
    board = subprocess.Popen(
        ["node", "run.mjs", cable.uart, str(REPORT_MS)], cwd=HERE, stderr=subprocess.PIPE, text=True
    )
    yield board
    board.kill()
    assert board.communicate()[1] == ""


FRAMES = """
from oriole_frames import decode_frame, encode_frame
for name, frame, wire, decode_only in {vectors!r}:
    assert decode_frame(wire[:-1]) == frame, name
    assert decode_only or encode_frame(*frame) == wire, name
for name, wire in {noise!r}:
    assert decode_frame(wire[:-1]) is None, name
print("every vector")
"""


def test_the_vectors(package: None) -> None:
    """Numbers of 64 bits, CRC, text: where MicroPython is not quite Python."""
    vectors = json.loads((HERE.parents[2] / "docs" / "serial-vectors.json").read_text())
    frames = []
    for vector in vectors["frames"]:
        fields = {"sequence": 0, **vector["fields"]}
        if vector["type"] == "publish":
            fields.setdefault("retain", False)
        values = [bytes.fromhex(value["hex"]) if isinstance(value, dict) else value for value in fields.values()]
        wire = bytes.fromhex(vector["wire"])
        type_ = bytes.fromhex(vector["body"])[0]  # they are below 24
        frames.append((vector["name"], [type_, *values], wire, vector.get("decode_only", False)))
    noise = [(vector["name"], bytes.fromhex(vector["wire"])) for vector in vectors["noise"]]
    script = FRAMES.format(vectors=frames, noise=noise)
    command = ["node", "script.mjs"]
    done = subprocess.run(command, cwd=HERE, input=script, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.stdout, done.stderr) == ("every vector\n", "")


def wait_until(done: Callable[[], object]) -> None:
    until = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < until, "it did not come true in time"
        time.sleep(0.01)


def readings(size: int) -> list[str]:
    """What the board's thermometer says, one after the other: machine.py counts, main.py converts."""
    volts = [(14001 + number) * 3.3 / 65535 for number in range(size)]
    return [f"{27 - (one - 0.706) / 0.001721:.2f}" for one in volts]


def test_the_reference_device(cable: Cable, edge: Edge, board: subprocess.Popen[str]) -> None:
    states, temperatures = "relay-1/state", "relay-1/temperature"
    wait_until(lambda: edge.of(states) == ["off"] and edge.of(temperatures))
    confirmed = ["off"]

    def obeys(*orders: str) -> None:
        """Each order is obeyed and confirmed, once and in order."""
        for order in orders:
            edge.order(order)
        confirmed.extend(orders)
        wait_until(lambda: len(edge.of(states)) >= len(confirmed))
        assert edge.of(states) == confirmed

    obeys("on")
    assert b"relay is 1\r\n" in cable.up  # its console is on the same line

    for _ in range(3):  # noise, and damage to whatever comes next
        cable.noise(200)
        cable.damage(30)
        obeys("off", "on")

    for size in (1, 3):  # pulled and plugged in again, with messages on their way
        cable.one_way = True
        sent = cable.down.count(b"relay-1/set")
        edge.order("off")
        wait_until(lambda sent=sent: cable.down.count(b"relay-1/set") > sent + 1)  # obeyed, but the edge cannot know
        cable.unplug()
        for _ in range(size):
            edge.order("on")
        wait_until(lambda: b"relay-1/temperature" in cable.lost)
        cable.plug()
        confirmed.append("off")
        confirmed += ["on"] * size
        obeys("off")

    seen = len(edge.of(temperatures))
    wait_until(lambda: len(edge.of(temperatures)) > seen + 2)
    heard = edge.of(temperatures)
    assert heard == readings(len(heard))
    assert board.poll() is None
