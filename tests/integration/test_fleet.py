"""`oriole fleet` against a real broker, and through a relay that drops and doubles: then the verdict has to be red."""

import asyncio
import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from oriole.wire.mqtt import Splitter

ORIOLE = [sys.executable, "-m", "oriole"]
PUBLISH = 0x30

SCENARIO = """
name: small
length: 3s
settle: 200ms
drain: 1500ms
nodes: {{broker: {{kind: foreign, addresses: ["{mqtt}", "{coap}"]}}}}
links: {{dsl: {{delay_ms: 10}}}}
profiles:
  bulb: {{kind: lamp, every: 2s}}
  wrist: {{kind: watch, every: 1500ms, awake: 500ms}}
  heating: {{kind: thermostat, every: 1s, reads: home/lamp-1/state}}
  wall: {{kind: remote, every: 100ms, mqtt: "3.1.1"}}
  pocket: {{kind: remote, every: 300ms, qos: 2}}
populations:
  lamp: {{profile: bulb, at: broker, count: 4}}
  watch: {{profile: wrist, at: broker, count: 2}}
  thermostat: {{profile: heating, at: broker, count: 2}}
  switch: {{profile: wall, at: broker, commands: [lamp, watch]}}
  phone: {{profile: pocket, at: broker, link: dsl, way: away, commands: [lamp, thermostat]}}
faults:
  - {{at: 1s, cut: dsl, lasts: 500ms}}
"""


@pytest.fixture(scope="module")
def broker() -> Iterator[tuple[str, str]]:
    """The addresses, MQTT and CoAP, of a broker."""
    listen = ["--listen", "mqtt://127.0.0.1:0", "--listen", "coap://127.0.0.1:0"]
    process = subprocess.Popen([*ORIOLE, "broker", *listen], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    mqtt, coap = process.stdout.readline().split()[-2:]
    yield mqtt, coap
    process.terminate()
    process.wait(10)
    process.stdout.close()


def run(tmp_path: Path, mqtt: str, coap: str, *more: str) -> tuple[subprocess.CompletedProcess[str], dict[str, object]]:
    """Run the small scenario; the process and its figures."""
    file, figures = tmp_path / "small.yaml", tmp_path / "figures.json"
    file.write_text(SCENARIO.format(mqtt=mqtt, coap=coap))
    process = subprocess.run(
        [*ORIOLE, "fleet", "run", file, "--json", figures, *more],
        capture_output=True,
        text=True,
        check=False,
        timeout=40,
    )
    return process, json.loads(figures.read_text()) if figures.exists() else {}


def test_every_message_is_accounted_for(broker: tuple[str, str], tmp_path: Path) -> None:
    report = tmp_path / "report.html"
    process, result = run(tmp_path, *broker, "--report", str(report), "--seed", "5")
    assert process.returncode == 0, process.stdout + process.stderr
    assert result["run"]["seed"] == 5  # type: ignore[index]
    accounts = result["accounts"]
    assert isinstance(accounts, dict)
    assert accounts["adds_up"]
    assert accounts["total"]["due"] > 100
    assert accounts["orders"] == accounts["orders_confirmed"] > 30
    assert result["devices"] == {"lamp": 4, "watch": 2, "thermostat": 2, "remote": 2}
    assert report.read_text().startswith("<!doctype html>")
    at = ["-p", broker[0].rpartition(":")[2], "-t"]
    subprocess.run([*ORIOLE, "pub", *at, "end", "-m", "here", "-r", "-q", "1"], check=True, timeout=10)
    left = [*ORIOLE, "sub", *at, "fleet/#", "-t", "end", "-C", "1", "-v"]  # what is kept comes filter by filter
    first = subprocess.run(left, capture_output=True, text=True, check=True, timeout=10).stdout
    assert first == "end here\n", "nothing retained"


class FaultyRelay:
    """Carries MQTT to `port`; of what comes back, every tenth PUBLISH is dropped, and here and there one doubled."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._seen = 0
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> int:
        self._thread.start()
        serving = asyncio.run_coroutine_threadsafe(asyncio.start_server(self._accept, "127.0.0.1", 0), self._loop)
        self._server = serving.result(5)
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(5)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._port)
        with contextlib.suppress(ConnectionError, asyncio.CancelledError):
            await asyncio.gather(self._up(reader, there_writer), self._down(there_reader, writer))
        writer.transport.abort()
        there_writer.transport.abort()

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
        writer.close()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        splitter = Splitter(1 << 20)
        while data := await reader.read(65536):
            for first, body in splitter.split(data):
                assert len(body) < 128 * 128
                length = bytes([len(body)]) if len(body) < 128 else bytes([len(body) % 128 | 128, len(body) // 128])
                self._seen += (first & 0xF0) == PUBLISH
                faulty = (first & 0xF0) == PUBLISH
                copies = 0 if faulty and self._seen % 10 == 0 else 2 if faulty and self._seen % 50 == 5 else 1
                writer.write((bytes([first]) + length + body) * copies)
        writer.close()


def test_a_relay_that_drops_and_doubles_turns_the_verdict_red(broker: tuple[str, str], tmp_path: Path) -> None:
    mqtt, coap = broker
    with FaultyRelay(int(mqtt.rpartition(":")[2])) as port:
        process, result = run(tmp_path, f"mqtt://127.0.0.1:{port}", coap)
    assert process.returncode == 1, process.stdout + process.stderr
    accounts = result["accounts"]
    assert isinstance(accounts, dict)
    assert accounts["adds_up"], "even then"
    for fault in ("lost", "doubled"):
        assert accounts["total"][fault] > 0
        assert any(text.startswith(f"{fault}: no.") for text in accounts["faults"]), accounts["total"]


def test_stopped_by_hand_it_still_reports(broker: tuple[str, str], tmp_path: Path) -> None:
    file, report = tmp_path / "small.yaml", tmp_path / "report.html"
    file.write_text(SCENARIO.format(mqtt=broker[0], coap=broker[1]))
    file.write_text(file.read_text().replace("length: 3s", "length: 60s"))
    command = [*ORIOLE, "fleet", "run", file, "--report", report]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    assert process.stdout is not None
    while "running" not in process.stdout.readline():
        assert process.poll() is None
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the network's process gets it, too
    output, _ = process.communicate(timeout=15)
    assert process.returncode == 130, output
    assert "stopped early" in output
    assert "0 lost" in output
    assert "unexpectedly" not in output
    assert report.exists()


DEAD = """
name: dead
length: 60s
settle: 0s
drain: 5m
nodes: {centre: {}}
profiles:
  wall: {kind: remote, every: 100ms}
populations:
  lamp: {profile: lamp, at: centre}
  phone: {profile: wall, at: centre, commands: [lamp]}
faults:
  - {at: 100ms, kill: lamp}
"""


def test_stopped_twice_it_does_not_wait_for_what_is_still_due(tmp_path: Path) -> None:
    file = tmp_path / "dead.yaml"
    file.write_text(DEAD)
    command = [*ORIOLE, "fleet", "run", file]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        while "running" not in process.stdout.readline():
            assert process.poll() is None
        time.sleep(1)  # by then there was an order that nobody took
        process.send_signal(signal.SIGINT)
        while "Ctrl-C again" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=15)
    assert process.returncode == 130, output
    assert "stopped early" in output
    assert " queued" in output
    assert "0 lost" in output


def test_a_broken_file_is_refused_by_line(tmp_path: Path) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(
        SCENARIO.format(mqtt="mqtt://127.0.0.1", coap="coap://127.0.0.1").replace("kind: watch", "kind: clock")
    )
    process = subprocess.run([*ORIOLE, "fleet", "run", file], capture_output=True, text=True, check=False, timeout=20)
    assert process.returncode == 2
    assert process.stderr.startswith("oriole fleet: ")
    assert "line 10: `profiles.wrist`: there is no kind `clock`" in process.stderr


def nobody_there(tmp_path: Path, ready: str) -> Path:
    """A scenario whose devices find nobody."""
    file = tmp_path / "nobody.yaml"
    nodes = "{b: {kind: foreign, addresses: ['mqtt://127.0.0.1:1', 'coap://127.0.0.1:1']}}"
    populations = "{lamp: {profile: lamp, at: b}, thermostat: {profile: thermostat, at: b}}"
    file.write_text(f"{{name: nobody, ready: {ready}, nodes: {nodes}, populations: {populations}}}")
    return file


def test_nobody_there_is_said_in_words(tmp_path: Path) -> None:
    command = [*ORIOLE, "fleet", "run", nobody_there(tmp_path, ready="1s")]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=20)
    assert process.returncode == 1
    assert re.search(
        r"waited 1s in vain for 2 of 2 devices, lamp-1 among them \(.*: Connection refused\)", process.stderr
    )


def test_stopped_before_anybody_was_ready_is_no_success(tmp_path: Path) -> None:
    command = [*ORIOLE, "fleet", "run", nobody_there(tmp_path, ready="60s")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    waiting = process.stderr.readline()
    assert re.match(r"connecting: waiting for 2 of 2 devices, lamp-1 among them \(.*: Connection refused\)", waiting)
    process.send_signal(signal.SIGINT)
    output, said = process.communicate(timeout=20)
    assert process.returncode == 1
    assert output == "", "no verdict"
    assert "stopped before anything began, while it waited for 2 of 2 devices" in said


REFUSED_PUTS = [
    f"unanswered: thermostat: PUT home/thermostat/{topic}: Connection refused"
    for topic in ("about", "online", "reading", "state")
]


TROUBLES = [
    ("relay", "serial:///nonexistent", ["disconnected: relay: cannot open /nonexistent: No such file or directory"]),
    ("relay", "serial:///dev/null", ["disconnected: relay: cannot open /dev/null: it is no serial line"]),
    (
        "thermostat",
        "coap://127.0.0.1:1",
        [*REFUSED_PUTS, "unanswered: thermostat: observing home/thermostat/set: Connection refused"],
    ),
]


def test_a_device_by_hand_says_its_trouble_once_and_in_words() -> None:
    devices = [
        subprocess.Popen([*ORIOLE, "fleet", "device", kind, address], stdout=subprocess.PIPE, text=True)
        for kind, address, _ in TROUBLES
    ]
    for device, (_, _, words) in zip(devices, TROUBLES, strict=True):
        assert device.stdout is not None
        lines: list[str] = []
        while len(lines) < len(words):
            line = device.stdout.readline()
            lines += [line] if line.startswith("!") else []
        assert sorted(lines) == [f"! {each}\n" for each in words]
    time.sleep(1.6)  # they try again meanwhile
    for device in devices:
        device.send_signal(signal.SIGINT)
        output, _ = device.communicate(timeout=20)
        assert "!" not in output


def test_a_lamp_by_hand(broker: tuple[str, str]) -> None:
    lamp = subprocess.Popen([*ORIOLE, "fleet", "device", "lamp", broker[0]], stdout=subprocess.PIPE, text=True)
    assert lamp.stdout is not None
    for leaf in ("about", "online", "state"):
        assert lamp.stdout.readline() == f"> home/lamp/{leaf} no. 1\n"
    order = '{"on": true, "brightness": 7}'
    subprocess.run([*ORIOLE, "pub", "--url", f"{broker[0]}/home/lamp/set", "-m", order], check=True, timeout=10)
    assert lamp.stdout.readline() == f"< home/lamp/set {order}\n"
    assert lamp.stdout.readline() == "> home/lamp/state no. 2\n"
    time.sleep(0.2)  # its acknowledgement
    lamp.send_signal(signal.SIGINT)
    output, _ = lamp.communicate(timeout=10)
    assert "lamp: sent 4, accepted 4, received 1" in output
    assert lamp.returncode == 0


def test_a_device_by_hand_ends_when_nobody_reads_what_it_says(broker: tuple[str, str]) -> None:
    command = [*ORIOLE, "fleet", "device", "lamp", broker[0], "--every=0.1"]
    lamp = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert lamp.stdout is not None
    assert lamp.stderr is not None
    lamp.stdout.readline()
    lamp.stdout.close()
    with lamp.stderr as errors:
        assert errors.read() == b""
    assert lamp.wait(timeout=10) == 0


FAN = """
import sys
from firmware_sim.cli import main_fleet
from firmware_sim.devices import kinds
from firmware_sim.devices.device import Device

class Fan(Device):
    kind = "fan"
    speaks = ("mqtt", "coap", "serial")

    @staticmethod
    def an_order(random):
        return {"speed": random.randint(1, 3)}

    def obey(self, order):
        self.speed = order["speed"] / 0

kinds.KINDS["fan"] = Fan
sys.exit(main_fleet(sys.argv[1:]))
"""


def test_a_device_by_hand_ends_with_what_its_code_raises(broker: tuple[str, str]) -> None:
    command = [sys.executable, "-c", FAN, "device", "fan", broker[0]]
    fan = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert fan.stdout is not None
    for _ in range(2):
        fan.stdout.readline()
    order = ("--url", f"{broker[0]}/home/fan/set", "-m", '{"speed": 1}')
    subprocess.run([*ORIOLE, "pub", *order], check=True, timeout=10)
    _, errors = fan.communicate(timeout=10)
    assert errors.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert fan.returncode == 1


@pytest.mark.parametrize("virtual", [False, True], ids=["real", "virtual"])
@pytest.mark.parametrize("over", ["mqtt", "coap", "serial"])
def test_there_is_no_verdict_where_the_code_of_a_device_raises(over: str, virtual: bool, tmp_path: Path) -> None:
    file = tmp_path / "fans.yaml"
    file.write_text(
        f"""
name: fans
length: 20s
nodes: {{house: {{kind: edge}}}}
profiles: {{fan: {{kind: fan, over: {over}}}, app: {{kind: remote, every: 1s}}}}
populations:
  fan: {{profile: fan, at: house, count: 3}}
  phone: {{profile: app, at: house, place: town, commands: [fan]}}
"""
    )
    command = [sys.executable, "-c", FAN, "run", str(file), *(["--virtual"] if virtual else [])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == "ZeroDivisionError: division by zero"
    assert "Task was destroyed" not in done.stderr


def test_who_stops_reading_a_run_still_has_its_files(tmp_path: Path) -> None:
    reads, writes = os.pipe()
    os.close(reads)
    file = tmp_path / "run.json"
    with os.fdopen(writes, "wb") as unread:
        command = [*ORIOLE, "fleet", "run", "three_houses", "--virtual", "--json", str(file)]
        done = subprocess.run(command, stdout=unread, stderr=subprocess.DEVNULL, timeout=60, check=False)
    assert done.returncode == 0
    assert json.loads(file.read_text())["run"]["virtual"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["toaster", "mqtt://127.0.0.1"], "there is no kind `toaster`"),
        (["lamp", "coap://127.0.0.1"], "a lamp speaks mqtt://, not coap://"),
        (["lamp", "127.0.0.1"], "no URL"),
    ],
)
def test_a_device_that_cannot_be_is_refused(arguments: list[str], message: str) -> None:
    process = subprocess.run([*ORIOLE, "fleet", "device", *arguments], capture_output=True, text=True, check=False)
    assert process.returncode == 2
    assert message in process.stderr
