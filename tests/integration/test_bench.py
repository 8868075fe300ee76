"""The load generator and `oriole bench` against real brokers, and against one that breaks every promise in turn."""

import json
import socket
import socketserver
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from firmware_sim.bench.brokers import BROKERS, EDGE
from firmware_sim.bench.measure import measure
from firmware_sim.bench.rows import ROWS
from firmware_sim.load import Generator, LoadError, Report, Workload
from firmware_sim.load.native import compiled
from oriole import __version__
from oriole.wire.mqtt import V311, ConnAck, Connect, Publish, ReasonCode, Splitter, SubAck, Subscribe, decode, encode

LOOPS = [
    pytest.param(False, id="Python"),
    pytest.param(True, id="C", marks=pytest.mark.skipif(compiled() is None, reason="needs a C compiler, `cc`")),
]

Fault = Callable[[int, bytes], list[bytes]]
"""From the number of a PUBLISH and its bytes to what the subscriber gets."""


class FaultyBroker(socketserver.ThreadingTCPServer):
    """Enough of a broker for one publisher and one subscriber at QoS 0, with a fault."""

    daemon_threads = True

    def __init__(self, fault: Fault) -> None:
        super().__init__(("127.0.0.1", 0), _FaultyConnection)
        self.fault = fault
        self.subscriber: Any = None
        self.published = 0


class _FaultyConnection(socketserver.BaseRequestHandler):
    server: FaultyBroker

    def handle(self) -> None:
        splitter = Splitter()
        try:
            while data := self.request.recv(1 << 16):
                for first, body in splitter.split(data):
                    self._answer(first, body)
        except OSError:
            pass  # the generator has what it wanted to know

    def _answer(self, first: int, body: bytes) -> None:
        match decode(first, body, V311):
            case Connect():
                self.request.sendall(encode(ConnAck(), V311))
            case Subscribe(packet_identifier=identifier):
                self.server.subscriber = self.request
                self.request.sendall(encode(SubAck(identifier, [ReasonCode.GRANTED_QOS_0]), V311))
            case Publish() as packet:
                for delivery in self.server.fault(self.server.published, encode(packet, V311)):
                    self.server.subscriber.sendall(delivery)
                self.server.published += 1


@contextmanager
def faulty(fault: Fault) -> Iterator[tuple[str, int]]:
    with FaultyBroker(fault) as broker:
        threading.Thread(target=broker.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield ("127.0.0.1", broker.server_address[1])
        broker.shutdown()


def at_7(deliveries: Callable[[bytes], list[bytes]]) -> Callable[[], Fault]:
    return lambda: lambda number, packet: deliveries(packet) if number == 7 else [packet]


def swapped() -> Fault:
    kept: list[bytes] = []

    def fault(number: int, packet: bytes) -> list[bytes]:
        if number == 7:
            kept.append(packet)
            return []
        return [packet, *kept] if number == 8 else [packet]

    return fault


def altered(packet: bytes) -> list[bytes]:
    return [packet[:-1] + b"!"]


@pytest.mark.parametrize("native", LOOPS)
@pytest.mark.parametrize(
    ("fault", "found"),
    [
        (at_7(lambda packet: [packet]), {}),
        (at_7(lambda packet: []), {"lost": 1}),
        (at_7(lambda packet: [packet, packet]), {"doubled": 1}),
        (swapped, {"reordered": 1}),
        (at_7(altered), {"lost": 1, "altered": 1}),
        (at_7(lambda packet: [packet, b"\x30\x05\0\x01xyz"]), {"altered": 1}),
    ],
    ids=["none", "lost", "doubled", "reordered", "altered", "foreign"],
)
def test_what_a_broker_does_to_a_message_is_found(
    native: bool, fault: Callable[[], Fault], found: dict[str, int]
) -> None:
    with faulty(fault()) as address:
        report = Generator(address, Workload.parse(["count=200", "max=0.5"]), native=native).run()
    faults = {name: getattr(report, name) for name in ("lost", "doubled", "reordered", "altered", "refused")}
    assert {name: count for name, count in faults.items() if count} == found
    assert report.correct is (not found)
    assert report.loop == ("C" if native else "Python")


@pytest.mark.parametrize("native", LOOPS)
@pytest.mark.parametrize(
    ("packet", "complaint"),
    [
        (b"\xe0\0", "DISCONNECT to a subscriber"),
        (b"\x30\xff\xff\xff\xff\x01", "no packet: the remaining length"),
        (b"\x30\xff\xff\xff\x7f" + bytes(3 << 20), "larger than any"),
    ],
    ids=["disconnect", "over-long header", "over-long packet"],
)
def test_what_ends_a_run_is_named(native: bool, packet: bytes, complaint: str) -> None:
    with faulty(at_7(lambda _: [packet])()) as address, pytest.raises(LoadError, match=complaint):
        Generator(address, Workload.parse(["count=20", "max=0.5"]), native=native).run()


def test_nobody_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = server.getsockname()
    with pytest.raises(LoadError, match="cannot connect"):
        Generator(address, Workload()).run()


@pytest.mark.interop("mosquitto")
@pytest.mark.parametrize("native", LOOPS)
@pytest.mark.parametrize(
    "words",
    [
        "pubs=3 subs=6 count=999",
        "topics=one pubs=2 subs=5 qos=1 count=1000 v=5",
        "topics=wild pubs=12 subs=3 qos=2 count=1200 window=5",
        "pubs=2 subs=2 qos=2 count=1000 v=5 persistent=1 size=3000",
        "pubs=4 subs=4 qos=1 count=400 rate=2000 filters=250 hold=0.1",
        "count=300 size=100000",
    ],
)
def test_mosquitto_delivers_every_message(words: str, native: bool) -> None:
    with BROKERS["mosquitto"].run() as running:
        report = Generator(running.address, Workload.parse(words.split()), running.pid, native=native).run()
    assert report.correct
    assert report.delivered == report.expected
    assert report.us_cpu_per_delivery > 0
    assert 0 < report.p50_us <= report.p99_us


def test_the_command_line_of_the_generator() -> None:
    command = [sys.executable, "-m", "firmware_sim.load"]
    with BROKERS["oriole"].run() as running:
        host, port = running.address
        words = [host, str(port), f"pid={running.pid}", "count=500", "qos=1", "loop=Python"]
        finished = subprocess.run([*command, *words], capture_output=True, text=True, timeout=60, check=False)
    assert finished.returncode == 0, finished.stderr
    report = msgspec.json.decode(finished.stdout, type=Report)
    assert report.correct
    assert report.loop == "Python"
    refused = subprocess.run([*command, host, str(port), "qos=4"], capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "qos" in refused.stderr
    gone = subprocess.run([*command, host, str(port)], capture_output=True, text=True, check=False)
    assert gone.returncode == 1
    assert "cannot connect" in gone.stderr


@pytest.mark.interop("mosquitto")
def test_bench_prints_a_table_and_writes_json(tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    options = [
        "--rows",
        "steady,qos-1",
        "--brokers",
        "oriole,mosquitto",
        "--repeat",
        "1",
        "--quick",
        "--json",
        str(file),
    ]
    finished = subprocess.run(
        [sys.executable, "-m", "oriole", "bench", *options], capture_output=True, text=True, timeout=120, check=False
    )
    assert finished.returncode == 0, finished.stderr
    assert "mosquitto" in finished.stdout
    results = json.loads(file.read_text())
    assert [(verdict["row"], verdict["broker"]) for verdict in results["verdicts"]] == [
        ("steady", "oriole"),
        ("steady", "mosquitto"),
        ("qos-1", "oriole"),
        ("qos-1", "mosquitto"),
    ]
    assert all(verdict["correct"] and verdict["ratio"] > 0 for verdict in results["verdicts"])
    assert results["quick"]


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "oriole").mkdir()
    for name in ("oriole/__init__.py", "random.py", "firmware_sim.py"):
        (tmp_path / name).write_text("raise ImportError('from the current folder')")
    monkeypatch.chdir(tmp_path)
    assert BROKERS["oriole"].find_version() == EDGE.find_version() == __version__
    with EDGE.run():
        pass
    (measurement,) = measure([ROWS["qos-1"]], [BROKERS["oriole"]], repeat=1, divisor=100, tell=lambda _: None)
    assert measurement.correct, measurement.failures


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--rows", "nope"], "unknown row `nope`"),
        (["--brokers", "oriole,nope"], "unknown broker `nope`"),
        (["--repeat", "0"], "above 0"),
        (["--json", "/dev/null/results.json"], "cannot write"),
        (["--json", "/tmp"], "cannot write /tmp: Is a directory"),
    ],
)
def test_bench_refuses_bad_options(options: list[str], complaint: str) -> None:
    finished = subprocess.run(
        [sys.executable, "-m", "oriole", "bench", *options], capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.returncode == 2
    assert complaint in finished.stderr
