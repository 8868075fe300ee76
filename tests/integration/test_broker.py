"""`oriole broker` as a user starts it, with Mosquitto's clients and paho: both versions, its end, its complaints."""

from __future__ import annotations

import json
import queue
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from oriole.wire.mqtt import V5, V311, Connect, Disconnect, Packet, Publish, ReasonCode, Splitter, decode, encode

WAIT_S = 10.0


class Broker:
    """A broker process on a port of the system's choice; its stderr goes to a file."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.stderr = folder / "stderr"
        with self.stderr.open("w") as stderr:
            command = [sys.executable, "-m", "oriole", "broker", "--listen", "mqtt://127.0.0.1:0", *options]
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True)
        assert self.process.stdout is not None
        self.ready = self.process.stdout.readline()
        found = re.search(r"mqtt://127\.0\.0\.1:(\d+)", self.ready)
        assert found, (self.ready, self.stderr.read_text())
        self.port = int(found[1])

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        status = self.process.wait(WAIT_S)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    broker = Broker(tmp_path_factory.mktemp("broker"))
    yield broker
    assert broker.stop() == 0
    assert "Traceback" not in broker.stderr.read_text()


class Raw:
    """A client of bytes, for what no well-behaved client does."""

    def __init__(self, broker: Broker, connect: Connect | None = None) -> None:
        self.socket = socket.create_connection(("127.0.0.1", broker.port), timeout=WAIT_S)
        self.splitter = Splitter()
        self.version = V5 if connect is None else connect.version
        if connect is not None:
            self.socket.sendall(encode(connect, connect.version))
            self.next()

    def next(self) -> Packet:
        """The next packet."""
        return next(self._packets())

    def rest(self) -> list[Packet]:
        """Everything until the broker closes."""
        with self.socket:
            return list(self._packets())

    def _packets(self) -> Iterator[Packet]:
        while data := self.socket.recv(1 << 16):
            for first, body in self.splitter.split(data):
                yield decode(first, body, self.version)


def mosquitto_sub(broker: Broker, version: str, *options: str) -> subprocess.Popen[str]:
    """A running `mosquitto_sub` that has subscribed."""
    command = ["stdbuf", "-oL", "mosquitto_sub", "-p", str(broker.port), "-V", version, "-W", "10", "-d", *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if "SUBACK" in line or "Subscribed" in line:
            return process
    raise AssertionError("mosquitto_sub did not subscribe")


def mosquitto_pub(broker: Broker, version: str, *options: str, text: str = "") -> None:
    command = ["mosquitto_pub", "-p", str(broker.port), "-V", version, *options]
    subprocess.run(command, input=text, text=True, check=True, timeout=WAIT_S)


@pytest.mark.interop("mosquitto_pub", "mosquitto_sub")
@pytest.mark.parametrize("qos", ["0", "1", "2"])
@pytest.mark.parametrize(("ours", "theirs"), [("311", "5"), ("5", "311"), ("5", "5")])
def test_mosquittos_clients_meet_here(broker: Broker, qos: str, ours: str, theirs: str) -> None:
    topic = f"t/{qos}/{ours}/{theirs}"
    with mosquitto_sub(broker, theirs, "-t", topic, "-q", qos, "-C", "200") as reader:
        mosquitto_pub(broker, ours, "-t", topic, "-q", qos, "-l", text="".join(f"line {n}\n" for n in range(200)))
        output, _ = reader.communicate(timeout=WAIT_S)
    assert [line for line in output.splitlines() if line.startswith("line")] == [f"line {n}" for n in range(200)]


@pytest.mark.interop("mosquitto_pub", "mosquitto_sub")
def test_a_retained_value_with_properties_and_a_session_that_waits(broker: Broker) -> None:
    mosquitto_pub(broker, "5", "-t", "r", "-m", "kept", "-r", "-q", "1", "-D", "publish", "content-type", "text/x")
    shown = subprocess.run(
        ["mosquitto_sub", "-p", str(broker.port), "-V", "5", "-t", "r", "-C", "1", "-W", "10", "-F", "%j"],
        capture_output=True, text=True, check=True, timeout=WAIT_S,
    )  # fmt: skip
    told = json.loads(shown.stdout)
    assert (told["payload"], told["retain"], told["properties"]["content-type"]) == ("kept", 1, "text/x")

    away = ["-i", "sleeper", "-c", "-t", "s", "-q", "1"]
    with mosquitto_sub(broker, "311", *away, "-E"):
        pass
    mosquitto_pub(broker, "311", "-t", "s", "-m", "while away", "-q", "1")
    command = ["mosquitto_sub", "-p", str(broker.port), "-V", "311", "-W", "10", *away, "-C", "1"]
    assert subprocess.run(command, capture_output=True, check=True, timeout=WAIT_S).stdout == b"while away\n"


@pytest.mark.parametrize("version", [MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5])
def test_paho_publishes_and_hears_every_qos(broker: Broker, version: MQTTProtocolVersion) -> None:
    heard: queue.Queue[tuple[int, bytes]] = queue.Queue()
    ready: queue.Queue[object] = queue.Queue()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=version)
    client.on_socket_open = lambda _, __, sock: sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    client.on_subscribe = lambda *about: ready.put(about)
    client.on_message = lambda client, data, message: heard.put((message.qos, message.payload))
    client.connect("127.0.0.1", broker.port)
    client.loop_start()
    client.subscribe(f"paho/{version}/#", 2)
    ready.get(timeout=WAIT_S)
    for number in range(200):
        for qos in range(3):
            client.publish(f"paho/{version}/{qos}", b"%d" % number, qos)
    seen: dict[int, list[bytes]] = {0: [], 1: [], 2: []}
    for _ in range(600):
        qos, payload = heard.get(timeout=WAIT_S)
        seen[qos].append(payload)
    client.disconnect()
    client.loop_stop()
    assert seen == {qos: [b"%d" % number for number in range(200)] for qos in range(3)}


def test_paho_reads_why_it_was_refused(broker: Broker) -> None:
    outcome: queue.Queue[object] = queue.Queue()
    client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5, reconnect_on_failure=False)
    client.on_connect = lambda client, data, flags, reason, properties: outcome.put(reason)
    asked = Properties(PacketTypes.CONNECT)
    asked.AuthenticationMethod = "SCRAM-SHA-1"
    client.connect("127.0.0.1", broker.port, properties=asked)
    client.loop_start()
    assert str(outcome.get(timeout=WAIT_S)) == "Bad authentication method"
    client.disconnect()
    client.loop_stop()


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", []),
        (bytes.fromhex("30ffffff7f"), []),
        (encode(Connect("x"), V5) + b"\0\0", [ReasonCode.SUCCESS, ReasonCode.MALFORMED_PACKET]),
        (encode(Connect("x"), V5) * 2, [ReasonCode.SUCCESS, ReasonCode.PROTOCOL_ERROR]),
    ],
)
def test_bad_input_is_answered_and_closed(broker: Broker, data: bytes, answer: list[ReasonCode]) -> None:
    client = Raw(broker)
    client.socket.sendall(data)
    assert [packet.reason_code for packet in client.rest()] == answer  # type: ignore[union-attr]


def test_a_thousand_clients_that_come_and_go_leave_no_memory_behind(broker: Broker) -> None:
    def resident_kib() -> int:
        status = Path(f"/proc/{broker.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", status)[1])  # type: ignore[index]

    def visit(number: int) -> None:
        client = Raw(broker, Connect(f"visitor-{number}", keep_alive=65_535))
        client.socket.sendall(encode(Publish(b"t/%d" % number, bytes(1000)), V5) * 5)
        client.socket.close()

    for number in range(500):
        visit(number)
    before = resident_kib()
    for number in range(500, 1500):
        visit(number)
    assert resident_kib() - before < 4096


# -- the process -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_says_goodbye_to_everyone(tmp_path: Path, number: signal.Signals) -> None:
    broker = Broker(tmp_path)
    new, old = Raw(broker, Connect("new")), Raw(broker, Connect("old", V311))
    assert broker.stop(number) == 0
    assert new.rest() == [Disconnect(ReasonCode.SERVER_SHUTTING_DOWN)]
    assert old.rest() == []


def run(*options: str) -> tuple[int, str]:
    """`oriole broker` with options that it cannot serve: its exit status and complaint."""
    command = [sys.executable, "-m", "oriole", "broker", *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=WAIT_S)
    assert done.stdout == ""
    return done.returncode, done.stderr


def test_a_taken_port(broker: Broker) -> None:
    status, complaint = run("--listen", f"mqtt://127.0.0.1:{broker.port}")
    assert status == 2
    assert f"cannot listen on mqtt://127.0.0.1:{broker.port}: " in complaint.splitlines()[-1]
    assert "Traceback" not in complaint


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--colour"], "--colour"),
        (["--listen", "ftp://x"], "ftp"),
        (["--listen", "mqtt://127.0.0.1:99999"], "99999"),
        (["--listen", "mqtt://no.such.host.invalid"], "no.such.host.invalid"),
        (["--config", "/does/not/exist.yaml"], "/does/not/exist.yaml"),
        (["--data", "/proc/oriole"], "/proc/oriole"),
    ],
)
def test_what_cannot_be_served_is_said_in_a_line(options: list[str], words: str) -> None:
    status, complaint = run(*options)
    assert status == 2
    assert words in complaint
    assert "Traceback" not in complaint


def test_a_bad_file_is_named_with_its_line(tmp_path: Path) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text("allow_anonymous: true\nlimits:\n  max_packet_byte: 5\n")
    status, complaint = run("--config", str(file))
    assert status == 2
    assert f"{file}, line 3" in complaint
    assert "max_packet_byte" in complaint


def test_a_data_folder_belongs_to_one_process(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = Broker(tmp_path, "--data", str(data))
    status, complaint = run("--data", str(data), "--listen", "mqtt://127.0.0.1:0")
    assert (status, str(data) in complaint) == (2, True)
    assert "strict: what is acknowledged is on disk" in first.stderr.read_text()
    assert first.stop() == 0
    second = Broker(tmp_path, "--data", str(data))
    assert second.stop() == 0


def test_only_this_machine_may_come_in_without_a_name(tmp_path: Path) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text("users:\n  lamp: s3cret\n")
    broker = Broker(tmp_path, "--config", str(file))
    for username, password, code in (
        (None, None, ReasonCode.SUCCESS),
        ("lamp", b"s3cret", ReasonCode.SUCCESS),
        ("lamp", b"wrong", ReasonCode.BAD_USER_NAME_OR_PASSWORD),
    ):
        client = Raw(broker)
        client.socket.sendall(encode(Connect("x", username=username, password=password), V5))
        assert client.next().reason_code == code  # type: ignore[union-attr]
        client.socket.close()
    assert broker.stop() == 0


def test_a_connection_that_says_nothing_is_closed(tmp_path: Path) -> None:
    file = tmp_path / "broker.yaml"
    file.write_text("limits:\n  connect_timeout_s: 1\n")
    broker = Broker(tmp_path, "--config", str(file))
    started = time.monotonic()
    assert Raw(broker).rest() == []
    assert 0.9 < time.monotonic() - started < 5
    assert broker.stop() == 0


@pytest.mark.parametrize(
    ("options", "warnings"),
    [
        (["--listen", "mqtt://0.0.0.0:0"], ["only clients on this machine are let in"]),
        (["--listen", "coap://0.0.0.0:0"], ["CoAP clients have no names"]),
        (["--listen", "mqtt://0.0.0.0:0", "--listen", "coap://0.0.0.0:0", "--allow-anonymous"], []),
        ([], []),
    ],
)
def test_a_listener_that_lets_in_nobody_is_told_of(tmp_path: Path, options: list[str], warnings: list[str]) -> None:
    broker = Broker(tmp_path, *options)
    assert broker.stop() == 0
    lines = [line for line in broker.stderr.read_text().splitlines() if " warning " in line]
    assert len(lines) == len(warnings)
    assert all(warning in line for warning, line in zip(warnings, lines, strict=True))
